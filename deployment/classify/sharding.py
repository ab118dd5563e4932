"""Classifies many images in parts, on many machines, into one output file per part.

    count = classify(config, parts, paths, shards, engine.distribute, on_error)

Each worker process opens the model once. A part is written under a temporary name, and
all parts get their final names at the end.
"""

import dataclasses
import functools
import itertools
import os
import re
import shutil
import threading
import uuid
from collections.abc import Callable, Sequence
from typing import NamedTuple

from deployment import files
from deployment.classify.classifier import Classifier, ClassifyConfig, Parts
from deployment.predict import output, running
from deployment.predict.predictor import FLOAT32

_IMAGES_PER_SHARD = 1000
_MOST_SHARDS = 1000

# A model takes much memory and all cores: one is open in a process, for one part at a
# time, under the name of its run.
_lock = threading.Lock()
_opened: dict[str, Classifier] = {}


@dataclasses.dataclass(frozen=True)
class ShardedOutput:
    """Files such as names-00003-of-00010.csv.

    Attributes:
      path: the path of a single file, such as "out/names.csv".
      format: a key of `output.SHARD_WRITERS`; None chooses by the ending of the path.
      num_shards: number of files, at most one per image; None for one per 1000 images,
        at most 1000.
    """

    path: str | None
    format: str | None = None
    num_shards: int | None = None

    def check(self) -> str:
        """Returns the format.

        Raises:
          ValueError: if there is no path or no such format.
        """
        if not self.path:
            raise ValueError(
                "Results of a --runner go into files: give --output_file=names.csv for "
                "names-00000-of-00010.csv and so on."
            )
        ending = os.path.splitext(self.path)[1].lower().lstrip(".")
        chosen = self.format or ending
        if chosen not in output.SHARD_WRITERS:
            raise ValueError(
                f"With --runner, --output_format must be one of "
                f"{', '.join(output.SHARD_WRITERS)}, or --output_file end in it, but "
                f"they are {self.format} and {self.path!r}."
            )
        output.check_packages(chosen)
        return chosen

    def count_shards(self, num_images: int) -> int:
        """Returns the number of files for so many images, 1 or more."""
        wanted = self.num_shards
        if wanted is None:
            wanted = min(_MOST_SHARDS, -(-num_images // _IMAGES_PER_SHARD))
        return min(wanted, num_images)

    def name(self, index: int, num_shards: int) -> str:
        """Returns the path of a file."""
        stem, ending = os.path.splitext(self.path)
        return f"{stem}-{index:05d}-of-{num_shards:05d}{ending}"


class _Shard(NamedTuple):
    """A part of the images, by path and by name, and the beginning of its path."""

    path: str
    images: list[str]
    names: list[str]


class _Written(NamedTuple):
    """A part that was written: its path, its readable images, and (name, reason)."""

    path: str
    count: int
    failures: list[tuple[str, str]]


def classify(
    config: ClassifyConfig,
    parts: Parts,
    paths: Sequence[str],
    target: ShardedOutput,
    distribute: Callable[..., list],
    on_error: Callable[[str, str], None],
) -> int:
    """Writes the predictions of each image; returns how many could be read.

    Files of an earlier run with the same path are replaced once all is done.

    Args:
      config: of the model. Its automatic precision is float32 here, as workers could
        choose differently.
      parts: see `Parts`.
      paths: image files, which workers see by the same absolute paths, as they do the
        model and the output.
      target: what to write.
      distribute: see `beam_tasks.BeamEngine`.
      on_error: called with each unreadable image and the reason.

    Raises:
      ValueError: if no image can be read; no file is written.
      OSError: if a file cannot be written.
    """
    chosen = target.check()
    num_shards = target.count_shards(len(paths))
    precision = FLOAT32 if config.precision == running.AUTO else config.precision
    config = dataclasses.replace(
        config, path=_to_absolute(config.path), precision=precision
    )
    folder = os.path.abspath(files.partial_path(target.path))
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    try:
        shards = _plan(paths, num_shards, folder)
        run = uuid.uuid4().hex
        function = functools.partial(
            _classify_some, run, config, parts, chosen, len(paths)
        )
        written = distribute(function, shards, folder)
        for name, reason in (pair for part in written for pair in part.failures):
            on_error(name, reason)
        count = sum(part.count for part in written)
        if not count:
            raise ValueError(f"None of {len(paths)} images could be read.")
        _publish(target, [part.path for part in written])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return count


def _plan(paths: Sequence[str], num_shards: int, folder: str) -> list[_Shard]:
    """Returns parts of about the same size, in order."""
    ends = [len(paths) * i // num_shards for i in range(num_shards + 1)]
    return [
        _Shard(
            os.path.join(folder, str(index)),
            [_to_absolute(path) for path in paths[start:end]],
            list(paths[start:end]),
        )
        for index, (start, end) in enumerate(itertools.pairwise(ends))
    ]


def _classify_some(
    run: str,
    config: ClassifyConfig,
    parts: Parts,
    output_format: str,
    num_images: int,
    shard: _Shard,
) -> _Written:
    """Classifies a part of the images; runs on a worker."""
    path = f"{shard.path}.{uuid.uuid4().hex}"
    failures = []
    with _lock:
        model = _open(run, config, parts)
        writer_class = output.SHARD_WRITERS[output_format]
        with output.open_file(path, model.task, writer_class) as writer:
            count = model.classify(
                shard.images,
                writer,
                lambda name, reason: failures.append((name, reason)),
                shard.names,
                num_images,
            )
    return _Written(path, count, failures)


def _open(run: str, config: ClassifyConfig, parts: Parts) -> Classifier:
    """Returns the model of a run, open in this process; closes that of another run."""
    if run not in _opened:
        while _opened:
            _opened.popitem()[1].close()
        _opened[run] = Classifier(config, parts)
    return _opened[run]


def _publish(target: ShardedOutput, paths: Sequence[str]) -> None:
    """Gives the files their final names; removes those of an earlier run."""
    folder = os.path.dirname(target.path)
    finals = [target.name(index, len(paths)) for index in range(len(paths))]
    pattern = re.escape(target.name(0, 0)).replace("00000", r"\d{5,}")
    for name in os.listdir(folder or "."):
        path = os.path.join(folder, name)
        if re.fullmatch(pattern, path) and path not in finals:
            os.remove(path)
    for path, final in zip(paths, finals, strict=True):
        os.replace(path, final)


def _to_absolute(path: str) -> str:
    return os.path.abspath(path) if files.is_local(path) else path
