"""Compares two checkpoints, or a network with a checkpoint."""

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from deployment.models import restoring, variable_kinds
from deployment.models.checkpoint import Checkpoint
from deployment.text import format_count, format_shape, format_table, shorten

_MAX_LINES = 20  # Of each list of variables.


@dataclasses.dataclass(frozen=True)
class Difference:
    """The differences between two checkpoints, or between a network and a checkpoint.

    Attributes:
      only_here: names that only the first has.
      only_there: names that only the second has.
      misshapen: (name, shape in the first, shape in the second) of variables whose
        shapes differ.
      changed: (name, largest absolute difference) of variables whose values differ,
        largest first; NaN where only one has a NaN, or strings differ.
      equal: names of variables with equal values; with equal shapes, if values were
        not compared.
    """

    only_here: tuple[str, ...]
    only_there: tuple[str, ...]
    misshapen: tuple[tuple[str, tuple, tuple], ...]
    changed: tuple[tuple[str, float], ...]
    equal: tuple[str, ...]


def compare_shapes(here: Mapping[str, tuple], there: Mapping[str, tuple]) -> Difference:
    """Compares variables without their values.

    Args:
      here: shapes by the variables' names.
      there: the same of the second.
    """
    both = [name for name in here if name in there]
    misshapen = tuple(
        (name, tuple(here[name]), tuple(there[name]))
        for name in both
        if tuple(here[name]) != tuple(there[name])
    )
    bad = {name for name, _, _ in misshapen}
    return Difference(
        tuple(name for name in here if name not in there),
        tuple(name for name in there if name not in here),
        misshapen,
        (),
        tuple(name for name in both if name not in bad),
    )


def compare_checkpoints(here: Checkpoint, there: Checkpoint) -> Difference:
    """Compares two checkpoints with their values.

    Raises:
      ValueError: if values are damaged.
    """
    shapes = compare_shapes(
        {variable.name: variable.shape for variable in here.variables.values()},
        {variable.name: variable.shape for variable in there.variables.values()},
    )
    changed, equal = [], []
    for name in shapes.equal:
        difference = _find_largest_difference(here, there, name)
        if difference == 0:
            equal.append(name)
        else:
            changed.append((name, difference))
    changed.sort(key=lambda item: -math.inf if math.isnan(item[1]) else -item[1])
    return dataclasses.replace(shapes, changed=tuple(changed), equal=tuple(equal))


def _find_largest_difference(here: Checkpoint, there: Checkpoint, name: str) -> float:
    dtypes = {here.variables[name].dtype, there.variables[name].dtype}
    if "string" in dtypes:
        same = len(dtypes) == 1 and (here.read(name) == there.read(name)).all()
        return 0.0 if same else math.nan
    largest = 0.0
    for a, b in zip(here.chunks(name), there.chunks(name), strict=True):
        wide = np.result_type(a, b, np.float64)
        a, b = a.astype(wide), b.astype(wide)
        unequal = (a != b) & ~(np.isnan(a) & np.isnan(b))
        if unequal.any():
            largest = np.maximum(largest, np.abs(a[unequal] - b[unequal]).max())
    return float(largest)


def describe_difference(difference: Difference, here: str, there: str) -> Iterator[str]:
    """Generates a report on a comparison.

    Args:
      difference: the result of a comparison.
      here: what to call the first, such as its path.
      there: what to call the second.
    """
    names = {*difference.only_here, *difference.only_there, *difference.equal}
    names |= {name for name, *_ in (*difference.misshapen, *difference.changed)}
    for place, only in ((here, difference.only_here), (there, difference.only_there)):
        if only:
            yield f"{format_count(len(only), 'variable')} only in {place}:"
            yield from _list_variables(only, names)
    if difference.misshapen:
        count = len(difference.misshapen)
        yield f"{format_count(count, 'variable')} with different shapes:"
        rows = [
            [name, format_shape(ours), format_shape(theirs)]
            for name, ours, theirs in difference.misshapen[:_MAX_LINES]
        ]
        yield format_table(["variable", here, there], rows)
        yield from _count_rest(difference.misshapen)
    if difference.changed:
        count = len(difference.changed)
        yield f"{format_count(count, 'variable')} with different values:"
        rows = [[name, f"{gap:.4g}"] for name, gap in difference.changed[:_MAX_LINES]]
        yield format_table(["variable", "largest difference"], rows, {1})
        yield from _count_rest(difference.changed)
    yield f"Equal in both: {format_count(len(difference.equal), 'variable')}."


def _list_variables(only: Iterable[str], names: Iterable[str]) -> Iterator[str]:
    """Lists variables of the model one per line, and sums up the other kinds."""
    by_kind = {}
    for name in only:
        by_kind.setdefault(variable_kinds.get_kind(name, names), []).append(name)
    model = by_kind.pop("model", [])
    yield from (f"  {name}" for name in model[:_MAX_LINES])
    yield from _count_rest(model)
    for kind, those in by_kind.items():
        yield f"  {variable_kinds.KINDS[kind]} ({len(those)}): {shorten(those, 2)}"


def _count_rest(items: list) -> Iterator[str]:
    if len(items) > _MAX_LINES:
        yield f"  and {len(items) - _MAX_LINES} more"


def describe_warm_start(difference: Difference, path: str) -> str:
    """Returns the training flags that start from the second checkpoint.

    Args:
      difference: the comparison of the network to train, or a checkpoint of it, with
        the checkpoint to start from.
      path: the checkpoint to start from.
    """
    fitting = [*difference.equal, *(name for name, _ in difference.changed)]
    bad = [name for name, _, _ in difference.misshapen] + list(difference.only_here)
    names = {*fitting, *bad}
    bad = [name for name in bad if variable_kinds.get_kind(name, names) == "model"]
    fitting = [n for n in fitting if variable_kinds.get_kind(n, names) == "model"]
    if not fitting:
        return f"{path} belongs to another network: none of its variables fit."
    if not bad:
        return f"All variables fit. To start training from it: --checkpoint_path={path}"
    scopes = ",".join(restoring.shorten_scopes(bad, fitting))
    return (
        "To start training from it, with new values where it does not fit:\n"
        f"  --checkpoint_path={path} --checkpoint_exclude_scopes={scopes}"
    )
