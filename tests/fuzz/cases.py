"""Runs one case: copies samples, damages one file, reads it, and judges the result."""

import contextlib
import dataclasses
import fnmatch
import functools
import logging
import os
import pathlib
import pickle
import random
import re
import shutil
import time
import traceback
import warnings
from collections.abc import Iterator
from typing import Any

from tests.fuzz import outcomes
from tests.fuzz.damage import Damage, Damaged
from tests.fuzz.outcomes import Outcome
from tests.fuzz.readers import Fault, Reader, Wrong

ROOT = pathlib.Path(__file__).resolve().parents[2]
_RELATIVE_TOLERANCE = 1e-5
_OWN_FRAME = re.compile(r'File "([^"]+)", line (\d+),? in (\S+)')
_DETAIL_CHARS = 400


@dataclasses.dataclass(frozen=True)
class Target:
    """A reader and the files that it is given: one row of a group.

    Attributes:
      name: of the reader, unique in its group.
      files: patterns of the files to damage, relative to the samples.
      damages: damage functions, of which a case uses one.
      read: the reader.
      is_protected: whether the format has a checksum, so that another result needs a
        warning.
      weight: how often it is read, compared with the others of its group.
      writes: folders of the samples that the reader writes to.
      is_per_file: whether the result depends on which file is read.
    """

    name: str
    files: tuple[str, ...]
    damages: tuple[Damage, ...]
    read: Reader
    is_protected: bool = False
    weight: int = 1
    writes: tuple[str, ...] = ()
    is_per_file: bool = False


@dataclasses.dataclass(frozen=True)
class Description:
    """What a failure is reported by: the reader, the damage, and the damaged file."""

    reader: str
    damage: str
    file: str
    data: bytes | None


@dataclasses.dataclass(frozen=True)
class Case:
    """A damaged file; the same for the same group, seed and number."""

    target: Target
    file: str
    damaged: Damaged

    def describe(self) -> Description:
        """Returns what can be sent to another process."""
        reader = f"{self.target.name} {self.file}"
        return Description(reader, self.damaged.what, self.file, self.damaged.data)


def get_target(group: tuple[Target, ...], number: int) -> Target:
    """Returns the target of a case: each has one turn, then more by its weight."""
    turns = [*group, *(t for t in group for _ in range(t.weight - 1))]
    return turns[number % len(turns)]


def plan(
    group: tuple[Target, ...], name: str, seed: int, number: int, samples: str
) -> Case:
    """Returns the `Case` of a number."""
    target = get_target(group, number)
    rng = random.Random(f"{name}/{seed}/{number}")
    files = _list_files(samples, target.files)
    file = rng.choice(files)
    contents = pathlib.Path(samples, file).read_bytes()
    ending = os.path.splitext(file)[1]
    others = [other for other in files if other.endswith(ending)]
    other = pathlib.Path(samples, rng.choice(others)).read_bytes()
    return Case(target, file, rng.choice(target.damages)(contents, rng, other))


@functools.cache
def _list_files(samples, patterns):
    found = sorted(
        str(path.relative_to(samples))
        for path in pathlib.Path(samples).rglob("*")
        if path.is_file()
    )
    chosen = [f for f in found if any(fnmatch.fnmatch(f, p) for p in patterns)]
    for pattern in patterns:
        if not fnmatch.filter(found, pattern):
            raise ValueError(f"No sample is called {pattern!r}.")
    return chosen


def prepare(target: Target, samples: str, folder: str, file: str) -> None:
    """Makes the folder of a case the working directory, with all samples in it."""
    from tensorflow.python.framework import config

    config.disable_op_determinism()  # A run enables it for the process.
    os.chdir(samples)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(os.path.join(folder, "tmp"))
    copied = {file.split("/")[0], *target.writes}
    for name in os.listdir(samples):
        source, copy = os.path.join(samples, name), os.path.join(folder, name)
        if name not in copied:
            os.symlink(source, copy)
        elif os.path.isdir(source):
            shutil.copytree(source, copy)
        else:
            shutil.copy(source, copy)
    os.chdir(folder)


def read_undamaged(
    target: Target, group: str, samples: str, folder: str, file: str
) -> tuple[Any, set[str]]:
    """Returns result and warnings for the undamaged files, which are kept in a file.

    Raises:
      RuntimeError: if the reader refuses them: every outcome would be worthless.
    """
    name = f"{group}-{target.name}" + target.is_per_file * f"-{file.replace('/', '-')}"
    kept = pathlib.Path(samples).parent / "expected" / name
    if kept.exists():
        return pickle.loads(kept.read_bytes())
    prepare(target, samples, folder, file)
    try:
        with _collected_warnings() as said:
            result = target.read(file)
    except Exception as error:
        raise RuntimeError(f"{target.name} does not read a whole {file}") from error
    kept.parent.mkdir(exist_ok=True)
    kept.write_bytes(pickle.dumps((result, said)))
    return result, said


def run(case: Case, base: Outcome, samples: str, folder: str) -> Outcome:
    """Reads the damaged file of a case; returns `base` with what came of it."""
    expected = read_undamaged(case.target, base.group, samples, folder, case.file)
    prepare(case.target, samples, folder, case.file)
    if case.damaged.data is None:
        os.remove(case.file)
    else:
        pathlib.Path(case.file).write_bytes(case.damaged.data)
    start = time.monotonic()
    try:
        with _collected_warnings() as said:
            result = case.target.read(case.file)
        changes = _judge_result(case, (result, said), expected)
    except Exception as error:
        changes = _judge_error(error, case.file)
    secs = round(time.monotonic() - start, 3)
    return dataclasses.replace(base, secs=secs, **changes)


def _judge_result(case, found, expected):
    """Returns kind and detail of the outcome of a reader that gave a result."""
    (result, said), (expected_result, expected_said) = found, expected
    warned = sorted(said - expected_said)
    difference = find_difference(expected_result, result)
    if warned:
        kind = outcomes.WARNED if difference else outcomes.RECOVERED
        return {"kind": kind, "detail": warned[0][:_DETAIL_CHARS]}
    if not difference:
        return {"kind": outcomes.SAME}
    must_notice = case.damaged.must_notice
    if must_notice is None:
        must_notice = case.target.is_protected
    kind = outcomes.DIFFERENT if must_notice else outcomes.UNPROTECTED
    return {"kind": kind, "detail": difference[:_DETAIL_CHARS]}


def _judge_error(error, file):
    """Returns kind, detail and place of the outcome of a reader that raised."""
    from tf_slim_compat import tf

    message = str(error)
    text = f"{type(error).__name__}: {message}"[:_DETAIL_CHARS]
    if isinstance(error, Wrong):
        return {"kind": outcomes.DIFFERENT, "detail": text}
    if isinstance(error, MemoryError):
        return {"kind": outcomes.MEMORY, "detail": text, "place": find_place(error)}
    if isinstance(error, (ValueError, OSError, tf.errors.OpError)):
        # A checkpoint is named by its prefix, an export by its folder.
        stem = os.path.basename(file).split(".data-")[0].removesuffix(".index")
        names = (stem, os.path.basename(os.path.dirname(file)))
        is_clear = any(name in message for name in names) and "\n" not in message
        return {"kind": outcomes.REFUSED, "detail": text, "is_clear": is_clear}
    place = find_place(error)
    if isinstance(error, Fault):
        text = str(error).strip()[-_DETAIL_CHARS:]
        place = find_place(str(error)) or place
    return {"kind": outcomes.TRACEBACK, "detail": text, "place": place}


def find_place(error: Exception | str) -> str:
    """Returns the last line of the project, outside the tests, in a traceback."""
    if isinstance(error, Exception):
        error = "".join(traceback.format_exception(error, chain=False))
    frames = [
        (pathlib.Path(path), line, name)
        for path, line, name in _OWN_FRAME.findall(error)
    ]
    own = [
        f"{path.relative_to(ROOT)}:{line} {name}"
        for path, line, name in frames
        if path.is_relative_to(ROOT)
        and path.relative_to(ROOT).parts[0] not in ("tests", ".venv")
    ]
    return own[-1] if own else ""


def find_difference(expected: Any, found: Any, where: str = "") -> str:
    """Returns where two results differ, '' if they are the same but for rounding."""
    import numpy as np

    if isinstance(expected, np.ndarray) and isinstance(found, np.ndarray):
        if expected.shape != found.shape or expected.dtype != found.dtype:
            return f"{where}: {expected.shape} became {found.shape}"
        if expected.dtype.kind in "fc":
            is_same = np.allclose(
                expected, found, _RELATIVE_TOLERANCE, 1e-6, equal_nan=True
            )
        else:
            is_same = np.array_equal(expected, found)
        return "" if is_same else f"{where}: values differ"
    if type(expected) is not type(found):
        return f"{where}: {expected!r} became {found!r}"
    if isinstance(expected, dict):
        if list(expected) != list(found):
            return f"{where}: {list(expected)} became {list(found)}"
        pairs = ((key, expected[key], found[key]) for key in expected)
    elif isinstance(expected, (list, tuple)):
        if len(expected) != len(found):
            return f"{where}: {len(expected)} items became {len(found)}"
        pairs = zip(range(len(expected)), expected, found, strict=True)
    else:
        both_nan = expected != expected and found != found
        is_same = both_nan or expected == found
        return "" if is_same else f"{where}: {expected!r} became {found!r}"
    differences = (find_difference(a, b, f"{where}/{key}") for key, a, b in pairs)
    return next(filter(None, differences), "")


@contextlib.contextmanager
def _collected_warnings() -> Iterator[set[str]]:
    """Gives the set of warnings, logged or not, without their numbers."""
    said = set()

    def add(text):
        said.add(re.sub(r"\d+", "#", str(text)))

    class Handler(logging.Handler):
        def emit(self, record):
            if not record.name.startswith("tensorflow"):
                add(record.getMessage())

    handler = Handler(logging.WARNING)
    loggers = [logging.getLogger(), logging.getLogger("absl")]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        for logger in loggers:
            logger.addHandler(handler)
        try:
            yield said
        finally:
            for logger in loggers:
                logger.removeHandler(handler)
            for warning in caught:
                if issubclass(warning.category, UserWarning):
                    add(warning.message)
