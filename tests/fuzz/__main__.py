"""Damages files of every format and reads them by every command; counts what happens.

    python -m tests.fuzz --minutes=60
    python -m tests.fuzz --group=models --cases=500 --seed=3
    python -m tests.fuzz --group=models --case=3:17

A case is (group, seed, number): it always damages the same file in the same way. It
must end in a refusal, in the result of the whole file, or in a warning. Tracebacks,
crashes, hangs, large memory and results that are silently wrong are failures: their
files are kept under --output_dir/failures, each with the command that repeats it, as
the third one above. The exit status is 1 if there are any.

To add a format, write a whole file of it in `samples.py`, its reader in `readers.py` if
no command there reads it, and one row in `targets.py`.
"""

import argparse
import contextlib
import pathlib
import shutil
import sys
import tempfile
from collections.abc import Iterable

import tqdm

from tests.fuzz import outcomes
from tests.fuzz.children import Lab
from tests.fuzz.groups import list_groups
from tests.fuzz.outcomes import Outcome


def parse_arguments() -> argparse.Namespace:
    """Returns the options of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--minutes", type=float, default=5, help="for all groups together")
    add("--cases", type=int, help="of each group; if unset, what the time allows")
    add("--seed", type=int, default=0)
    add("--group", action="append", help="only this one; may be repeated")
    add("--case", metavar="SEED:N", help="only this one of --group; or SEED:FIRST-LAST")
    add("--output_dir", help="a new folder, or one of the same code; if unset, in /tmp")
    add("--hang_secs", type=float, default=60)
    add("--memory_mb", type=int, default=3072)
    return parser.parse_args()


def parse_case(text: str) -> tuple[int, int, int]:
    """Returns seed, number of the first case and count of SEED:N or SEED:FIRST-LAST."""
    seed, _, numbers = text.partition(":")
    first, _, last = numbers.partition("-")
    return int(seed), int(first), int(last or first) - int(first) + 1


def follow(
    cases: Iterable[Outcome], name: str, count: int | None, found: list[Outcome]
) -> None:
    """Adds the outcomes of a group to those found, and shows the progress."""
    failed = 0
    progress = tqdm.tqdm(cases, name, total=count, unit="case", disable=None)
    for outcome in progress:
        found.append(outcome)
        failed += outcome.is_failure
        progress.set_postfix(failures=failed, refresh=False)


def main() -> int:
    """Runs the groups and prints the outcomes; returns the exit status."""
    options = parse_arguments()
    folder = pathlib.Path(options.output_dir or tempfile.mkdtemp(prefix="fuzz-"))
    folder = folder.absolute()
    lab = Lab(str(folder), hang_secs=options.hang_secs, memory_mb=options.memory_mb)
    groups = list_groups(lab)
    names = options.group or list(groups)
    unknown = set(names) - set(groups)
    if unknown or (options.case and len(names) != 1):
        print(f"Give --group from {', '.join(groups)}.", file=sys.stderr)
        return 2
    seed, count, first = options.seed, options.cases, 0
    if options.case:
        seed, first, count = parse_case(options.case)
    found = []
    with contextlib.suppress(KeyboardInterrupt):
        for name in names:
            lab.make_samples()
            cases = groups[name](seed, count, options.minutes / len(names), first)
            follow(cases, name, count, found)
    if options.case:
        print(*found, sep="\n")
    (folder / "outcomes.json").write_text(outcomes.to_json(found))
    print(outcomes.format_table(found))
    for number, o in outcomes.list_causes(found):
        print(f"\n{number} x {o.kind}: {o.reader}: {o.damage}\n  {o.place} {o.detail}")
        print(f"  python -m tests.fuzz --group={o.group} --case={o.case}")
    print(f"\nOutcomes and failures: {folder}")
    if not options.output_dir:
        for name in ("samples", "expected", "cases"):
            shutil.rmtree(folder / name, ignore_errors=True)
    return int(any(o.is_failure for o in found))


if __name__ == "__main__":
    sys.exit(main())
