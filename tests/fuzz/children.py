"""Runs the cases of a group in a child process, which may crash, hang or grow."""

import contextlib
import dataclasses
import itertools
import multiprocessing
import multiprocessing.connection
import multiprocessing.forkserver
import os
import pathlib
import re
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from unittest import mock

from tests.fuzz import outcomes, worker
from tests.fuzz.cases import Description
from tests.fuzz.outcomes import Outcome

ROOT = pathlib.Path(__file__).resolve().parents[2]
_POLL_SECS = 0.02
# To write the traceback of a hang, and to die.
_DEATH_SECS = 10
# TensorFlow keeps some memory of every graph, so children are replaced.
_CASES_PER_CHILD = 400
_FRAME = re.compile(r'  File "([^"]+)", line (\d+) in (\S+)')


@dataclasses.dataclass(frozen=True)
class Lab:
    """Where cases run, and what they may use.

    Attributes:
      folder: for samples, cases and failures.
      module: with `GROUPS`, name to targets.
      hang_secs: time after which a case is a hang.
      memory_mb: resident memory beyond which a case is a failure.
    """

    folder: str
    module: str = "tests.fuzz.targets"
    hang_secs: float = 60
    memory_mb: int = 2048

    def make_samples(self) -> None:
        """Makes the whole files that cases damage, unless the folder has them.

        Raises:
          RuntimeError: if that fails; the message has the output.
        """
        folder = os.path.join(self.folder, "samples")
        if os.path.isdir(folder):
            return
        os.makedirs(self.folder, exist_ok=True)
        log = os.path.join(self.folder, "samples.log")
        process = _get_context().Process(
            target=worker.make_samples, args=(folder + ".new", log)
        )
        process.start()
        process.join()
        if process.exitcode:
            raise RuntimeError(pathlib.Path(log).read_text()[-5000:])
        os.rename(folder + ".new", folder)

    def run(
        self, group: str, seed: int, count: int | None, minutes: float, first: int = 0
    ) -> Iterator[Outcome]:
        """Generates the outcomes of a group's cases.

        Args:
          group: its name.
          seed: of the cases.
          count: number of cases; None: as many as the time allows.
          minutes: when to stop.
          first: number of the first case.
        """
        end = time.monotonic() + 60 * minutes
        numbers = itertools.count(first)
        if count is not None:
            numbers = range(first, first + count)
        in_time = itertools.takewhile(lambda _: time.monotonic() < end, numbers)
        yield from self.run_numbers(group, seed, in_time)

    def run_numbers(
        self, group: str, seed: int, numbers: Iterable[int]
    ) -> Iterator[Outcome]:
        """Generates the outcomes of chosen cases of a group."""
        child = None
        try:
            for number in numbers:
                if child is not None and child.is_worn_out():
                    child.close()
                    child = None
                child = child or _Child(self, group, seed, number)
                outcome = child.run(number)
                if outcome.kind == outcomes.CRASH and child.first != number:
                    outcome = self._repeat(outcome, child.first)
                yield outcome
        finally:
            if child is not None:
                child.close()

    def _repeat(self, crash, first):
        """Says of a crash whether the case crashes alone, without those before it."""
        child = _Child(self, crash.group, crash.seed, crash.number)
        try:
            alone = child.run(crash.number).kind
        finally:
            child.close()
        if alone == outcomes.CRASH:
            return crash
        detail = f"{crash.detail} (alone: {alone}; --case={crash.seed}:{first}-"
        return dataclasses.replace(crash, detail=f"{detail}{crash.number} repeats it)")


class _Child:
    """A child process, which runs cases from the number `first` on until it dies."""

    def __init__(self, lab, group, seed, first):
        self._lab, self._group, self._seed, self.first = lab, group, seed, first
        self._connection, other = multiprocessing.Pipe()
        self._num_cases = 0
        self._process = _get_context().Process(
            target=worker.serve,
            args=(other, lab.module, group, seed, lab.folder),
        )
        self._process.start()
        other.close()

    def is_worn_out(self):
        if not self._process.is_alive() or self._num_cases >= _CASES_PER_CHILD:
            return True
        return self._read_memory("VmRSS") > self._lab.memory_mb / 2

    def close(self):
        self._connection.close()
        self._process.kill()
        self._process.join()

    def run(self, number: int) -> Outcome:
        """Runs one case; the process may be dead afterwards."""
        self._num_cases += 1
        self._connection.send(number)
        start, case = time.monotonic(), None
        while True:
            waiting = (self._connection, self._process.sentinel)
            ready = multiprocessing.connection.wait(waiting, _POLL_SECS)
            kind = ""
            if self._connection in ready:
                with contextlib.suppress(EOFError, ConnectionError):
                    answer = self._connection.recv()
                    if isinstance(answer, str):
                        raise RuntimeError(answer)
                    if isinstance(answer, Description):
                        case, start = answer, time.monotonic()
                        continue
                    return self._finish(answer, case)
                kind = outcomes.CRASH
            elif ready:
                kind = outcomes.CRASH
            elif self._read_memory("VmHWM") > self._lab.memory_mb:
                kind = outcomes.MEMORY
            elif time.monotonic() - start > self._lab.hang_secs:
                kind = outcomes.HANG
            if kind == outcomes.CRASH and case is None and number == self.first:
                raise RuntimeError("The child process ends before it reads a file.")
            if kind:
                base = Outcome(self._group, self._seed, number, kind)
                return self._finish(self._describe_death(base, start), case)

    def _describe_death(self, base, start):
        """Ends the process; returns the outcome with what it has left behind."""
        if base.kind != outcomes.CRASH:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGABRT)  # Writes the traceback.
        self._process.join(_DEATH_SECS)
        self._process.kill()
        self._process.join()
        log = pathlib.Path(self._lab.folder, "cases", self._group, worker.LOG_FILE)
        text = log.read_text(errors="replace")
        code = self._process.exitcode
        name = signal.Signals(-code).name if code < 0 else f"status {code}"
        fatal = [line for line in text.splitlines() if line.startswith("F0000")]
        detail = {
            outcomes.CRASH: f"{name}: {fatal[-1] if fatal else ''}",
            outcomes.HANG: f"still running after {self._lab.hang_secs} seconds",
            outcomes.MEMORY: f"more than {self._lab.memory_mb} MB",
        }[base.kind]
        secs = round(time.monotonic() - start, 3)
        place = _find_own_frame(text)
        return dataclasses.replace(base, detail=detail, place=place, secs=secs)

    def _finish(self, outcome, case):
        """Adds what was damaged, and keeps the damaged file of a failure."""
        if case is None:
            return outcome
        outcome = dataclasses.replace(outcome, reader=case.reader, damage=case.damage)
        if outcome.kind not in outcomes.FAILURES and self._process.is_alive():
            peak = self._read_memory("VmHWM")
            if peak > self._lab.memory_mb:
                detail = f"{peak:.0f} MB"
                changes = {"kind": outcomes.MEMORY, "detail": detail}
                outcome = dataclasses.replace(outcome, **changes)
                self._process.kill()  # The peak would count for the next case, too.
                self._process.join()
        if outcome.is_failure:
            keep_failure(self._lab.folder, outcome, case)
        return outcome

    def _read_memory(self, key):
        """Returns resident memory or its peak in MB; 0 of a process that has ended."""
        with contextlib.suppress(OSError):
            status = pathlib.Path(f"/proc/{self._process.pid}/status").read_text()
            found = re.search(rf"^{key}:\s+(\d+) kB", status, re.M)
            return int(found[1]) / 1024 if found else 0
        return 0


def keep_failure(folder: str, outcome: Outcome, case: Description) -> None:
    """Writes the damaged file of a failure, and how to repeat it."""
    name = f"{outcome.group}-{outcome.seed}-{outcome.number}"
    kept = pathlib.Path(folder, "failures", name)
    kept.mkdir(parents=True, exist_ok=True)
    if case.data is not None:
        (kept / os.path.basename(case.file)).write_bytes(case.data)
    lines = [f"{k}: {v}" for k, v in dataclasses.asdict(outcome).items()]
    lines += ["", f"python -m tests.fuzz --group={outcome.group} --case={outcome.case}"]
    (kept / "case.txt").write_text("\n".join(lines) + "\n", errors="backslashreplace")


def _find_own_frame(text):
    """Returns the last call of the project in a traceback of `faulthandler`."""
    # The newest call comes first, of the thread that crashed or hangs.
    _, _, stack = text.partition("Current thread")
    for path, line, name in _FRAME.findall(stack or text):
        found = pathlib.Path(path)
        if found.is_relative_to(ROOT):
            relative = found.relative_to(ROOT)
            if relative.parts[0] not in ("tests", ".venv"):
                return f"{relative}:{line} {name}"
    return ""


def _get_context():
    """Returns a fork server that has imported TensorFlow and everything else."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.fuzz.worker", "tests.fuzz.targets"])
    places = [str(ROOT), str(ROOT / "tests")]
    sys.path += [place for place in places if place not in sys.path]  # For children.
    known = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    environment = {
        "PYTHONPATH": os.pathsep.join(filter(None, [*places, *known])),
        "CUDA_VISIBLE_DEVICES": "-1",
        "FUZZ_PRELOAD": "1",
    }
    with mock.patch.dict(os.environ, environment):
        multiprocessing.forkserver.ensure_running()
    return context
