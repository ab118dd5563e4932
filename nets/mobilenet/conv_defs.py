"""Tables of layers, `conv_defs`, that the networks of this folder are built from.

A table is a dict of
- "spec": list of rows made with `op(builder, **arguments)`; row N is layer_N,
- "defaults": dict from a tuple of builders to their arguments, set by arg scope,
- "overrides" (where needed): the same, set after the defaults.
To change a network, copy its table with `copy.deepcopy`, change the rows and pass it to
the network as `conv_defs`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from tf_slim_compat import slim


def make_divisible(depth, divisible_by=8, min_depth=None):
    """Rounds a depth to a multiple, and down by a tenth at most.

    Args:
      depth: float, number of channels.
      divisible_by: int, what the result is a multiple of.
      min_depth: int, the least result; None for `divisible_by`.
    """
    rounded = int(depth + divisible_by / 2) // divisible_by * divisible_by
    rounded = max(rounded, divisible_by if min_depth is None else min_depth)
    return rounded if rounded >= 0.9 * depth else rounded + divisible_by


@slim.add_arg_scope
def depth_multiplier(
    output_params, multiplier, divisible_by=8, min_depth=8, **unused_kwargs
):
    """Scales a row's "num_outputs", if it has one, in place.

    Args:
      output_params: dict, the row's arguments.
      multiplier: float > 0.
      divisible_by: int, what the depth is rounded to.
      min_depth: int, the least depth.
      **unused_kwargs: ignored, as other functions in its place may take more.
    """
    if "num_outputs" in output_params:
        depth = output_params["num_outputs"] * multiplier
        output_params["num_outputs"] = make_divisible(depth, divisible_by, min_depth)


class Op(NamedTuple):
    """A row of a table: a builder, its arguments, and what scales their depths."""

    op: Callable[..., Any]
    params: dict[str, Any]
    multiplier_func: Callable[..., None]


def op(opfunc, multiplier_func=depth_multiplier, **params):
    """Returns a row of a table.

    Args:
      opfunc: builder of (net, **params) that returns the layer's output. Where its
        signature has them it is handed `rate`, `use_explicit_padding` and `endpoints`.
      multiplier_func: function of (params, multiplier) that scales `params` in place.
      **params: arguments of the builder; `stride` and `kernel_size` are understood.
    """
    return Op(opfunc, params, multiplier_func)


def with_group_norm(conv_defs):
    """Returns the table with group normalisation in place of batch normalisation.

    The groups are 8, which divides the depths of all tables.
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


def with_unscaled_last_layer(conv_defs):
    """Returns the table whose last layer has its depth whatever the multiplier."""
    *rows, last = conv_defs["spec"]
    last = last._replace(multiplier_func=lambda params, multiplier: None)
    return {**conv_defs, "spec": [*rows, last]}


def safe_arg_scope(funcs, **kwargs):
    """Returns `slim.arg_scope` of the arguments that are not None.

    So None leaves an argument to the scopes around.
    """
    given = {key: value for key, value in kwargs.items() if value is not None}
    return slim.arg_scope(funcs, **given)
