"""Kills, power cuts and full disks: what is kept when the file system fails.

    python -m tests.fuzz.fault_cases kills --count=1000   # before any file operation
    python -m tests.fuzz.fault_cases cuts --count=200     # power cuts
    python -m tests.fuzz.fault_cases disks --count=60     # disks that fill up
    python -m tests.fuzz.fault_cases kills --case=17      # one case again

Each case runs in a fork of a process that has imported everything once, with `faults.c`
preloaded. It needs a C compiler. The folders of cases that failed are kept; the last
line says how many of each outcome there were.
"""

import argparse
import functools
import json
import os
import pathlib
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent.parent)]

import faults  # noqa: E402
import tqdm  # noqa: E402

OK = "ok"
RESULTS = "results.txt"
# What a run may lose in a power cut: lines about the steps before it.
_ROWS = ("metrics.jsonl", "training.jsonl")


def run_kill(number: int, base: pathlib.Path, folder: pathlib.Path) -> str:
    """Kills a run before a file operation, and resumes it.

    Case by case, it is the next operation; in every second round through them, half of
    a write is done, and from the third on the resumed run is killed, too.
    """
    import faulty_runs

    expected = json.loads((base / "toy.json").read_text())
    rounds, operation = divmod(number, expected["operations"])
    kills = [operation + 1]
    if rounds >= 2:
        kills.append(random.Random(number).randint(1, expected["operations"]))
    run = folder / "run"
    for kill_at in kills:
        fault = faults.Fault(run, kill_at=kill_at, tear=rounds % 2 == 1)
        status = faults.fork(
            folder / "log", functools.partial(faulty_runs.train, run, fault)
        )
        if status not in (0, -9):
            return f"the run ended with status {status}"
    found = folder / "found.json"
    work = functools.partial(faulty_runs.train, run, report=found)
    if (status := faults.fork(folder / "log", work)) != 0:
        return f"the resumed run ended with status {status}"
    return _compare(json.loads(found.read_text()), expected)


def run_cut(number: int, base: pathlib.Path, folder: pathlib.Path) -> str:
    """Cuts the power during a run, reads what is left by commands, and resumes it."""
    import faulty_commands
    import power_cuts

    expected = json.loads((base / "train.json").read_text())
    for name in ("data", "images"):
        (folder / name).symlink_to(base / name)
    grave, journal, saved = (folder / name for name in ("grave", "journal", "saved"))
    grave.mkdir()
    fault = faults.Fault(
        folder / "run",
        kill_at=random.Random(number).randint(1, expected["operations"]),
        journal=journal,
        grave=grave,
    )
    train = functools.partial(faulty_commands.train_in_child, folder)
    status = faults.fork(folder / "log", functools.partial(train, fault, saved=saved))
    if status not in (0, -9):
        return f"the run ended with status {status}"
    operations = power_cuts.read_journal(journal)
    lost = power_cuts.cut_power(folder / "run", grave, operations, seed=number)
    (folder / "lost").write_text("\n".join(lost))
    if (folder / "run").exists():
        shutil.copytree(folder / "run", folder / "run_after_the_cut")
    steps = [int(line) for line in saved.read_text().split()] if saved.exists() else []
    for name, command in faulty_commands.READERS.items():
        work = functools.partial(
            faulty_commands.check_reader, command, folder, bool(steps)
        )
        if (status := faults.fork(folder / f"log_{name}", work)) != 0:
            return f"{name} ended with status {status}"
    found = folder / "found.json"
    if status := faults.fork(folder / "log", functools.partial(train, report=found)):
        return f"the resumed run ended with status {status}"
    result = json.loads(found.read_text())
    start = result["digest"]["starts"][-1]
    if start < max(steps, default=0):
        return f"it resumed at step {start}, but had saved {max(steps)}"
    return _compare(result, expected, may_lose=_ROWS)


def run_disk(number: int, base: pathlib.Path, folder: pathlib.Path) -> str:
    """Fills the disk during a command, and repeats the command with more space."""
    import faulty_commands

    names = list(faulty_commands.WRITERS)
    name = names[number % len(names)]
    expected = json.loads((base / f"{name}.json").read_text())
    budget = random.Random(number).randrange(expected["bytes"])
    found = folder / "found.json"
    run = functools.partial(faulty_commands.run_in_child, name, base, folder / "out")
    fault = faults.Fault(folder / "out", budget=budget)
    work = functools.partial(run, fault, report=found)
    if (status := faults.fork(folder / "log", work)) != 0:
        return f"{name} with {budget} bytes: its process ended with status {status}"
    result = json.loads(found.read_text())
    if result["status"] == 1:
        where = str(folder / "out")
        if where not in result["error"] and "./" not in result["error"]:
            return f"{name} with {budget} bytes: {result['error'] or 'no sentence'}"
        left = [n for n in result["files"] if "partial" in n or "tempstate" in n]
        if left:
            return f"{name} with {budget} bytes: {left[0]} is left behind"
    elif result["status"] != 0:
        return f"{name} with {budget} bytes: exit status {result['status']}"
    elif result["files"] != expected["files"]:
        return f"{name} with {budget} bytes: status 0, but files are missing"
    work = functools.partial(run, report=found)
    if (status := faults.fork(folder / "log", work)) != 0:
        return f"{name} after {budget} bytes: its process ended with status {status}"
    result = json.loads(found.read_text())
    if result["status"] != 0:
        return f"{name} after {budget} bytes fails, too: {result['error']}"
    return _compare(result, expected)


def _compare(found: dict, expected: dict, may_lose: Iterable[str] = ()) -> str:
    """Returns OK, or which part of the digests differs."""
    found, expected = found["digest"], expected["digest"]
    for name in sorted({*found, *expected} - {"starts"}):
        ours, theirs = found.get(name), expected.get(name)
        if name in may_lose and ours is not None:
            theirs = [row for row in theirs if row in ours]
        if ours != theirs:
            return f"{name} differs from that of an uninterrupted run"
    return OK


CASES: dict[str, Callable[[int, pathlib.Path, pathlib.Path], str]] = {
    "kills": run_kill,
    "cuts": run_cut,
    "disks": run_disk,
}


def prepare(kind: str, base: pathlib.Path) -> None:
    """Runs everything once without faults."""
    import faulty_commands
    import faulty_runs

    base.mkdir(parents=True, exist_ok=True)
    if kind == "kills":
        works = [
            functools.partial(
                faulty_runs.train,
                base / "toy",
                faults.Fault(base / "toy"),
                report=base / "toy.json",
            )
        ]
    else:
        faulty_commands.write_images(base / "images")
        # Each needs what those before it have written.
        works = [
            functools.partial(
                faulty_commands.run_in_child,
                name,
                base,
                base,
                faults.Fault(base),
                report=base / f"{name}.json",
            )
            for name in faulty_commands.WRITERS
        ]
    for work in works:
        if (status := faults.fork(base / "log", work)) != 0:
            sys.exit(f"Without faults it ends with status {status}: see {base / 'log'}")


def run_cases(
    kind: str, numbers: Iterable[int], base: pathlib.Path, end: float
) -> None:
    """Runs cases one after another until a time; adds each to the results."""
    for number in numbers:
        if time.time() > end:
            return
        folder = base / f"{kind}-{number}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            outcome = CASES[kind](number, base, folder)
        except Exception as error:  # Of what the case left.
            outcome = f"{type(error).__name__}: {error}"
        if outcome == OK:
            shutil.rmtree(folder)
        with (base / RESULTS).open("a") as file:
            file.write(f"{number}\t{' '.join(outcome.split())}\n")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=CASES)
    parser.add_argument("--count", type=int, default=10**6)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--stride", type=int, default=1, help="take every n-th case")
    parser.add_argument("--case", type=int, help="run this case alone")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--output", type=pathlib.Path, help="folder for the cases")
    options = parser.parse_args(arguments)
    if not faults.is_preloaded():
        given = sys.argv[1:] if arguments is None else arguments
        return faults.start_preloaded([__file__, *given])
    base = options.output or pathlib.Path(tempfile.mkdtemp(prefix="faults-"))
    prepare(options.kind, base)
    last = options.first + options.count * options.stride
    numbers = range(options.first, last, options.stride)
    if options.case is not None:
        numbers = [options.case]
    (base / RESULTS).write_text("")
    end, workers = time.time() + 60 * options.minutes, []
    for job in range(options.jobs):
        if (child := os.fork()) == 0:
            run_cases(options.kind, numbers[job :: options.jobs], base, end)
            os._exit(0)
        workers.append(child)
    return _report(workers, len(numbers), base)


def read_results(base: pathlib.Path) -> list[tuple[int, str]]:
    """Returns number and outcome of the cases that were run."""
    lines = (base / RESULTS).read_text().splitlines()
    return [
        (int(number), outcome) for number, outcome in (x.split("\t") for x in lines)
    ]


def _report(workers: list[int], total: int, base: pathlib.Path) -> int:
    started = time.time()
    with tqdm.tqdm(total=total, disable=not sys.stderr.isatty()) as bar:
        for worker in workers:
            while os.waitpid(worker, os.WNOHANG) == (0, 0):
                bar.update(len(read_results(base)) - bar.n)
                time.sleep(0.2)
    results = sorted(read_results(base))
    failed = [(number, outcome) for number, outcome in results if outcome != OK]
    for number, outcome in failed:
        print(f"case {number}: {outcome} (see {base})")
    secs = time.time() - started
    print(f"{len(results) - len(failed)} ok, {len(failed)} failed, in {secs:.0f} s")
    return int(bool(failed) or not results)


if __name__ == "__main__":
    sys.exit(main())
