"""Outcomes of damaged files, and the tables that count them."""

import collections
import dataclasses
import json
import re
from collections.abc import Iterable, Sequence

# What a damaged file may lead to, best first.
REFUSED = "refused"  # Exit status other than 0 and one sentence.
SAME = "same"  # The result of the undamaged file, without a word.
RECOVERED = "recovered"  # The result of the undamaged file, with a warning.
WARNED = "warned"  # Another result, with a warning.
UNPROTECTED = "unprotected"  # Another result, in a format that has no checksum.
DIFFERENT = "different"  # Another result, without a word: silently wrong.
TRACEBACK = "traceback"
MEMORY = "memory"
HANG = "hang"
CRASH = "crash"
FAILURES = (DIFFERENT, TRACEBACK, MEMORY, HANG, CRASH)
ALL = (REFUSED, SAME, RECOVERED, WARNED, UNPROTECTED, *FAILURES)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of one damaged file.

    Attributes:
      group: the group's name.
      seed: of the group's cases.
      number: of the case.
      kind: one of `ALL`.
      reader: who read the file, and which file.
      damage: what was done to it.
      detail: the message, or the difference.
      place: the last line of the project that a traceback names, if there is one.
      is_clear: whether a refusal is one line and names the damaged file or its folder.
      secs: duration.
    """

    group: str
    seed: int
    number: int
    kind: str
    reader: str = ""
    damage: str = ""
    detail: str = ""
    place: str = ""
    is_clear: bool = True
    secs: float = 0.0

    @property
    def case(self) -> str:
        """The argument of --case that repeats it."""
        return f"{self.seed}:{self.number}"

    @property
    def is_failure(self) -> bool:
        """Whether it must not happen."""
        return self.kind in FAILURES

    @property
    def cause(self) -> tuple[str, str, str]:
        """What failures with the same cause have in common."""
        if self.place:
            return self.kind, self.place, self.detail.split(":")[0][:60]
        # Silent changes by the reader and, in JSON, the field.
        field = re.search(r"'\w+'", self.damage)
        return self.kind, self.reader, field[0] if field else ""


def count(outcomes: Iterable[Outcome]) -> dict[str, collections.Counter]:
    """Returns group to the number of outcomes of each kind."""
    counts = {}
    for outcome in outcomes:
        counts.setdefault(outcome.group, collections.Counter())[outcome.kind] += 1
    return counts


def format_table(outcomes: Sequence[Outcome]) -> str:
    """Returns a table of the groups and their outcomes, with a line of sums."""
    counts = count(outcomes)
    counts["all"] = sum(counts.values(), collections.Counter())
    kinds = [kind for kind in ALL if counts["all"][kind]]
    rows = [["group", "cases", *kinds]]
    rows += [
        [name, str(found.total()), *(str(found[kind]) for kind in kinds)]
        for name, found in counts.items()
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    unclear = sum(o.kind == REFUSED and not o.is_clear for o in outcomes)
    if unclear:
        lines.append(
            f"{unclear} refusals have several lines or name neither file nor folder."
        )
    return "\n".join(lines)


def list_causes(outcomes: Iterable[Outcome]) -> list[tuple[int, Outcome]]:
    """Returns how often each cause of failure was met and the first case of it."""
    causes = {}
    for outcome in outcomes:
        if outcome.is_failure:
            causes.setdefault((outcome.group, *outcome.cause), []).append(outcome)
    found = [(len(failures), failures[0]) for failures in causes.values()]
    return sorted(found, key=lambda item: (ALL.index(item[1].kind), -item[0]))


def to_json(outcomes: Sequence[Outcome]) -> str:
    """Returns the counts, the causes of failures and all outcomes that matter."""
    record = {
        "counts": {name: dict(found) for name, found in count(outcomes).items()},
        "causes": [
            {"count": number, **dataclasses.asdict(first)}
            for number, first in list_causes(outcomes)
        ],
        "failures": [dataclasses.asdict(o) for o in outcomes if o.is_failure],
        "unclear": [
            dataclasses.asdict(o)
            for o in outcomes
            if o.kind == REFUSED and not o.is_clear
        ],
    }
    return json.dumps(record, indent=1) + "\n"
