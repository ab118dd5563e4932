"""The table of groups: what `--group` chooses among."""

import functools
import pathlib
import sys
from collections.abc import Callable, Iterator

from tests.fuzz import fault_cases, outcomes, targets
from tests.fuzz.children import Lab
from tests.fuzz.outcomes import Outcome

# (seed, count or None, minutes, number of the first case) -> outcomes.
Group = Callable[[int, int | None, float, int], Iterator[Outcome]]


def list_groups(lab: Lab) -> dict[str, Group]:
    """Returns name to group; those of damaged files run in the `Lab`."""
    damages = {name: functools.partial(lab.run, name) for name in targets.GROUPS}
    faults = {
        kind: functools.partial(_run_faults, kind, lab) for kind in fault_cases.CASES
    }
    return damages | faults


def _run_faults(
    kind: str, lab: Lab, seed: int, count: int | None, minutes: float, first: int
) -> Iterator[Outcome]:
    """Runs cases of `fault_cases`, which has no seeds: their numbers tell all."""
    folder = pathlib.Path(lab.folder) / kind
    options = [f"--first={first}", f"--minutes={minutes}", f"--output={folder}"]
    if count is not None:
        options.append(f"--count={count}")
    sys.stderr.flush()
    fault_cases.main([kind, *options])
    for number, outcome in fault_cases.read_results(folder):
        is_ok = outcome == fault_cases.OK
        yield Outcome(
            group=kind,
            seed=seed,
            number=number,
            kind=outcomes.RECOVERED if is_ok else outcomes.DIFFERENT,
            reader=f"a run in {folder}",
            damage=kind,
            detail=outcome,
        )
