"""How two checkpoints, or a network and a checkpoint, differ."""

import dataclasses
import math

import numpy as np

from deployment.models import variable_kinds
from deployment.text import (
    format_count,
    format_shape,
    format_table,
    shorten,
)

_LONGEST = 20  # Lines of a list of variables.


@dataclasses.dataclass(frozen=True)
class Difference:
    """How two checkpoints, or a network and a checkpoint, differ.

    Attributes:
      only_here: names that the first has alone.
      only_there: names that the second has alone.
      misshapen: list of (name, shape here, shape there).
      changed: list of (name, largest absolute difference), largest first; NaN
        where one has a NaN and the other none, or the type is another.
      equal: names of variables with the same values (or not compared ones).
    """

    only_here: tuple
    only_there: tuple
    misshapen: tuple
    changed: tuple
    equal: tuple


def compare_shapes(here, there):
    """The `Difference` of two dicts from name to shape, values not compared."""
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


def compare_checkpoints(here, there):
    """The `Difference` of two checkpoints, given their readers, values compared.

    Raises:
      ValueError: if values are damaged.
    """
    shapes = compare_shapes(
        {variable.name: variable.shape for variable in here.variables.values()},
        {variable.name: variable.shape for variable in there.variables.values()},
    )
    changed, equal = [], []
    for name in shapes.equal:
        difference = _largest_difference(here, there, name)
        if difference == 0:
            equal.append(name)
        else:
            changed.append((name, difference))
    changed.sort(key=lambda item: -math.inf if math.isnan(item[1]) else -item[1])
    return dataclasses.replace(shapes, changed=tuple(changed), equal=tuple(equal))


def _largest_difference(here, there, name):
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


def describe_difference(difference, here, there):
    """Generates lines on a `Difference`.

    Args:
      difference: a `Difference`.
      here: what the first is called, such as a path.
      there: what the second is called.
    """
    names = {*difference.only_here, *difference.only_there, *difference.equal}
    names |= {name for name, *_ in (*difference.misshapen, *difference.changed)}
    for place, only in ((here, difference.only_here), (there, difference.only_there)):
        if only:
            yield f"{format_count(len(only), 'variable')} only in {place}:"
            yield from _list_variables(only, names)
    if difference.misshapen:
        yield f"{format_count(len(difference.misshapen), 'variable')} of another shape:"
        rows = [
            [name, format_shape(ours), format_shape(theirs)]
            for name, ours, theirs in difference.misshapen[:_LONGEST]
        ]
        yield format_table(["variable", here, there], rows)
        yield from _say_more(difference.misshapen)
    if difference.changed:
        yield f"{format_count(len(difference.changed), 'variable')} of other values:"
        rows = [[name, f"{gap:.4g}"] for name, gap in difference.changed[:_LONGEST]]
        yield format_table(["variable", "largest difference"], rows, {1})
        yield from _say_more(difference.changed)
    yield f"The same in both: {format_count(len(difference.equal), 'variable')}."


def _list_variables(only, names):
    """Those of the model one by one, the rest by what they are for."""
    by_kind = {}
    for name in only:
        by_kind.setdefault(variable_kinds.get_kind(name, names), []).append(name)
    model = by_kind.pop("model", [])
    yield from (f"  {name}" for name in model[:_LONGEST])
    yield from _say_more(model)
    for kind, those in by_kind.items():
        yield f"  {len(those)} of {variable_kinds.KINDS[kind]}: {shorten(those, 2)}"


def _say_more(items):
    if len(items) > _LONGEST:
        yield f"  and {len(items) - _LONGEST} more"


def describe_warm_start(difference, path):
    """What to give a training script to start the first from the checkpoint `path`.

    Args:
      difference: a `Difference` of the network to train (or a checkpoint of it) to
        the checkpoint `path`.
      path: the checkpoint to start from.

    Returns:
      A line of text.
    """
    # Imports TensorFlow.
    from deployment.models import checkpoints

    fitting = [*difference.equal, *(name for name, _ in difference.changed)]
    bad = [name for name, _, _ in difference.misshapen] + list(difference.only_here)
    names = {*fitting, *bad}
    bad = [name for name in bad if variable_kinds.get_kind(name, names) == "model"]
    fitting = [n for n in fitting if variable_kinds.get_kind(n, names) == "model"]
    if not fitting:
        return f"No variable of {path} fits: it is of another network."
    if not bad:
        return f"All variables fit; start from it with: --checkpoint_path={path}"
    scopes = ",".join(checkpoints.shorten_scopes(bad, fitting))
    return (
        "To start from it, freshly initialising what does not fit:\n"
        f"  --checkpoint_path={path} --checkpoint_exclude_scopes={scopes}"
    )
