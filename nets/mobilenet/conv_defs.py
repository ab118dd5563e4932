"""Tables of layers (`conv_defs`) that define the networks of this package.

A table is a dict with the entries
- "spec": list of rows made by `op(builder, **arguments)`; row N builds layer_N;
- "defaults": dict from a tuple of builders to their default arguments;
- "overrides" (optional): the same, taking precedence over "defaults".

To modify a network, copy its table with `copy.deepcopy`, change the rows, and pass it
to the network as `conv_defs`.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from tf_slim_compat import slim

ConvDefs = dict[str, Any]


def make_divisible(
    depth: float, divisible_by: int = 8, min_depth: int | None = None
) -> int:
    """Rounds a depth to a multiple of `divisible_by`, down by at most 10 %.

    Args:
      depth: number of channels.
      divisible_by: divisor of the result.
      min_depth: minimum result; None for `divisible_by`.
    """
    rounded = int(depth + divisible_by / 2) // divisible_by * divisible_by
    rounded = max(rounded, divisible_by if min_depth is None else min_depth)
    return rounded if rounded >= 0.9 * depth else rounded + divisible_by


@slim.add_arg_scope
def depth_multiplier(
    output_params: dict[str, Any],
    multiplier: float,
    divisible_by: int = 8,
    min_depth: int = 8,
    **unused_kwargs: Any,
) -> None:
    """Scales "num_outputs" of a row in place, if it has one.

    Args:
      output_params: the arguments of the row.
      multiplier: positive factor.
      divisible_by: divisor that the depth is rounded to.
      min_depth: minimum depth.
      **unused_kwargs: ignored; other scaling functions may use them.
    """
    if "num_outputs" in output_params:
        depth = output_params["num_outputs"] * multiplier
        output_params["num_outputs"] = make_divisible(depth, divisible_by, min_depth)


class Op(NamedTuple):
    """A row of a table: a builder, its arguments, and the function that scales them."""

    op: Callable[..., Any]
    params: dict[str, Any]
    multiplier_func: Callable[..., None]


def op(
    opfunc: Callable[..., Any],
    multiplier_func: Callable[..., None] = depth_multiplier,
    **params: Any,
) -> Op:
    """Returns a row of a table.

    Args:
      opfunc: function of (net, **params) that builds the layer. It also receives
        `rate`, `use_explicit_padding` and `endpoints` if its signature has them.
      multiplier_func: function of (params, multiplier) that scales `params` in place.
      **params: arguments of `opfunc`; `stride` and `kernel_size` determine output
        stride and padding.
    """
    return Op(opfunc, params, multiplier_func)


def with_group_norm(conv_defs: ConvDefs) -> ConvDefs:
    """Returns the table with group normalization instead of batch normalization.

    There are 8 groups, which divides the depths of all tables.
    """
    defaults = {
        builders: {
            name: slim.group_norm if value is slim.batch_norm else value
            for name, value in arguments.items()
        }
        for builders, arguments in conv_defs["defaults"].items()
    }
    defaults[(slim.group_norm,)] = {"groups": 8}
    return {**conv_defs, "defaults": defaults}


def with_unscaled_last_layer(conv_defs: ConvDefs) -> ConvDefs:
    """Returns the table with a last layer that depth multipliers do not scale."""
    *rows, last = conv_defs["spec"]
    last = last._replace(multiplier_func=lambda params, multiplier: None)
    return {**conv_defs, "spec": [*rows, last]}


def safe_arg_scope(funcs: Sequence[Callable[..., Any]], **kwargs: Any) -> Any:
    """Returns `slim.arg_scope` of the arguments that are not None.

    An argument that is None keeps its value from the enclosing scopes.
    """
    given = {key: value for key, value in kwargs.items() if value is not None}
    return slim.arg_scope(funcs, **given)
