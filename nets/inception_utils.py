"""Inception networks as tables: row types, builders, heads and the arg scope.

A table is a dict from end point to layer. A layer is a single step, or a tuple of
branches whose outputs are concatenated. A branch is a tuple of steps. A step is a
`Conv`, `MaxPool` or `AvgPool`, or a `Split` into parallel steps whose outputs are
concatenated.

    LAYERS = {
        "Conv2d_1a_3x3": Conv(32, 3, 2, "VALID"),
        "Mixed_5b": (
            (Conv(64),),
            (Conv(48), Conv(64, 5)),
            (AvgPool(), Conv(32)),
        ),
    }

Variable scopes are like Mixed_5b/Branch_1/Conv2d_0b_5x5: the letter counts the steps of
the branch; the digit is 1 if the step strides. A step's `name` overrides this.
"""

import functools
import itertools
import string
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from nets.net_utils import EndPoints, Layers, reduced_kernel_size
from tf_slim_compat import slim, tf


class Conv(NamedTuple):
    """A convolution; the fields are in the order of the arguments of slim.conv2d."""

    depth: int
    kernel: int | tuple[int, ...] = 1
    stride: int | tuple[int, ...] = 1
    padding: str = "SAME"
    name: str | None = None


class MaxPool(NamedTuple):
    """A max pool; the fields are in the order of the arguments of slim.max_pool2d."""

    kernel: int | tuple[int, ...] = 3
    stride: int | tuple[int, ...] = 1
    padding: str = "SAME"
    name: str | None = None


class AvgPool(NamedTuple):
    """An average pool; see `MaxPool`."""

    kernel: int | tuple[int, ...] = 3
    stride: int | tuple[int, ...] = 1
    padding: str = "SAME"
    name: str | None = None


class Split(tuple):
    """Steps that take the same input; their outputs are concatenated."""


# A step or a tuple of branches; and the builder of each kind of step.
Layer = Any
Ops = Mapping[Any, Callable[..., tf.Tensor]]


def make_ops(
    conv: Callable[..., tf.Tensor] | None = None,
    max_pool: Callable[..., tf.Tensor] | None = None,
    avg_pool: Callable[..., tf.Tensor] | None = None,
    channel_axis: int = -1,
) -> dict[Any, Callable[..., tf.Tensor]]:
    """Returns the function that builds each kind of step; "concat" joins branches.

    The defaults are slim's 2D layers. A network can add row types of its own, as
    subclasses of `Conv`.

    Args:
      conv: function of (net, depth, kernel, stride=..., padding=..., scope=...).
      max_pool: function of (net, kernel, stride=..., padding=..., scope=...).
      avg_pool: function of (net, kernel, stride=..., padding=..., scope=...).
      channel_axis: axis along which branches are concatenated.
    """
    return {
        Conv: conv or slim.conv2d,
        MaxPool: max_pool or slim.max_pool2d,
        AvgPool: avg_pool or slim.avg_pool2d,
        "concat": functools.partial(tf.concat, axis=channel_axis),
    }


def scaled_ops(
    depth: Callable[[float], int], channel_axis: int = -1
) -> dict[Any, Callable[..., tf.Tensor]]:
    """Returns `make_ops` with `depth` applied to the depth of every convolution."""

    def conv(net: tf.Tensor, table_depth: int, *args: Any, **kwargs: Any) -> tf.Tensor:
        return slim.conv2d(net, depth(table_depth), *args, **kwargs)

    return make_ops(conv, channel_axis=channel_axis)


def layers_from(table: Mapping[str, Layer], name: str) -> dict[str, Layer]:
    """Returns the table from the layer `name` on."""
    return dict(itertools.dropwhile(lambda item: item[0] != name, table.items()))


def build_layers(net: tf.Tensor, table: Mapping[str, Layer], ops: Ops) -> Layers:
    """Yields (end point, tensor) of each layer of a table as it is built.

    Args:
      net: float tensor, the input.
      table: dict from end point to layer; see the module docstring.
      ops: result of `make_ops`.
    """
    for name, layer in table.items():
        net = build_layer(net, name, layer, ops)
        yield name, net


def build_layer(net: tf.Tensor, name: str, layer: Layer, ops: Ops) -> tf.Tensor:
    """Builds one layer of a table in the scope `name`."""
    if type(layer) in ops:
        return _build_step(net, layer, name, ops)
    with tf.variable_scope(name):
        return build_branches(net, layer, ops)


def build_branches(
    net: tf.Tensor, branches: tuple[tuple[Any, ...], ...], ops: Ops
) -> tf.Tensor:
    """Builds branches in the scopes Branch_0, Branch_1, ..., and concatenates them."""
    outputs = []
    for number, steps in enumerate(branches):
        with tf.variable_scope(f"Branch_{number}"):
            outputs.append(_build_branch(net, steps, ops))
    return ops["concat"](outputs)


def _build_branch(net: tf.Tensor, steps: tuple[Any, ...], ops: Ops) -> tf.Tensor:
    letters = iter(string.ascii_lowercase)
    for step in steps:
        if isinstance(step, Split):
            parts = [
                _build_step(net, part, _step_name(part, next(letters)), ops)
                for part in step
            ]
            net = ops["concat"](parts)
        else:
            net = _build_step(net, step, _step_name(step, next(letters)), ops)
    return net


def _build_step(net: tf.Tensor, step: Any, name: str, ops: Ops) -> tf.Tensor:
    fields = step._asdict()
    del fields["name"]
    # By name, so that the row overrides what a user's arg scope sets.
    named = {key: fields.pop(key) for key in ("stride", "padding") if key in fields}
    return ops[type(step)](net, *fields.values(), **named, scope=name)


def _step_name(step: Any, letter: str) -> str:
    if step.name:
        return step.name
    kind = "Conv2d" if isinstance(step, Conv) else type(step).__name__
    kernel = step.kernel
    height, width = (kernel, kernel) if isinstance(kernel, int) else kernel[-2:]
    digit_and_letter = f"0{letter}" if step.stride == 1 else "1a"
    return f"{kind}_{digit_and_letter}_{height}x{width}"


def build_flat_aux_logits(
    net: tf.Tensor,
    num_classes: int,
    conv_name: str,
    logits_name: str,
    pool_name: str = "AvgPool_1a_5x5",
) -> tf.Tensor:
    """Returns the auxiliary logits [batch, classes] of v4 and Inception-ResNet v2.

    Args:
      net: float tensor [batch, height, width, channels] of known height and width.
      num_classes: number of classes.
      conv_name: scope of the convolution over the whole feature map.
      logits_name: scope of the dense layer.
      pool_name: scope of the pool.

    Raises:
      ValueError: height or width is unknown, which leaves weight shapes undefined.
    """
    if not net.shape[1:3].is_fully_defined():
        raise ValueError(
            "The auxiliary classifier requires images of known size, but its input "
            f"has the shape {net.shape}; pass create_aux_logits=False."
        )
    with tf.variable_scope("AuxLogits"):
        kernel = reduced_kernel_size(net, [5, 5])
        net = slim.avg_pool2d(net, kernel, stride=3, padding="VALID", scope=pool_name)
        net = slim.conv2d(net, 128, 1, scope="Conv2d_1b_1x1")
        kernel = net.shape.as_list()[1:3]
        net = slim.conv2d(net, 768, kernel, padding="VALID", scope=conv_name)
        return slim.fully_connected(
            slim.flatten(net), num_classes, activation_fn=None, scope=logits_name
        )


def build_flat_head(
    net: tf.Tensor,
    end_points: EndPoints,
    num_classes: int | None,
    dropout_keep_prob: float,
    pool_scope: str,
    flattens_first: bool = False,
) -> tf.Tensor:
    """Builds the head of v4 and Inception-ResNet v2: global pool, dropout, dense layer.

    Adds "global_pool", "PreLogitsFlatten", "Logits" and "Predictions" to `end_points`.

    Args:
      net: float tensor [batch, height, width, channels].
      end_points: dict to add to.
      num_classes: number of classes; 0 or None stops after the pool.
      dropout_keep_prob: probability in (0, 1] of keeping an activation.
      pool_scope: name of the pool's node, if the size of the feature map is known.
      flattens_first: whether to flatten before the dropout, as Inception-ResNet v2
        does, not after it; this determines their names.

    Returns:
      The logits [batch, classes], or the features [batch, 1, 1, channels].
    """
    with tf.variable_scope("Logits"):
        kernel = net.shape[1:3]
        if kernel.is_fully_defined():
            net = slim.avg_pool2d(
                net, kernel.as_list(), stride=1, padding="VALID", scope=pool_scope
            )
        else:
            net = tf.reduce_mean(net, [1, 2], keepdims=True, name="global_pool")
        end_points["global_pool"] = net
        if not num_classes:
            return net
        if flattens_first:
            net = slim.flatten(net)
            net = slim.dropout(net, keep_prob=dropout_keep_prob, scope="Dropout")
        else:
            net = slim.dropout(net, keep_prob=dropout_keep_prob, scope="Dropout_1b")
            net = slim.flatten(net, scope="PreLogitsFlatten")
        end_points["PreLogitsFlatten"] = net
        logits = slim.fully_connected(
            net, num_classes, activation_fn=None, scope="Logits"
        )
        end_points["Logits"] = logits
        end_points["Predictions"] = tf.nn.softmax(logits, name="Predictions")
    return logits


def inception_arg_scope(
    weight_decay: float = 0.00004,
    use_batch_norm: bool = True,
    batch_norm_decay: float = 0.9997,
    batch_norm_epsilon: float = 0.001,
    activation_fn: Callable[[tf.Tensor], tf.Tensor] = tf.nn.relu,
    batch_norm_updates_collections: str | None = tf.GraphKeys.UPDATE_OPS,
    batch_norm_scale: bool = False,
) -> dict[str, Any]:
    """Returns the arg scope shared by the Inception networks.

    Args:
      weight_decay: L2 regularization factor of the weights.
      use_batch_norm: whether convolutions have batch normalization instead of biases.
      batch_norm_decay: decay of the moving averages.
      batch_norm_epsilon: constant added to the variance.
      activation_fn: activation of each convolution.
      batch_norm_updates_collections: collection of the update ops; None updates in
        place.
      batch_norm_scale: whether batch normalization has a gamma, which is redundant
        between a ReLU and a convolution.
    """
    norm = {
        "decay": batch_norm_decay,
        "epsilon": batch_norm_epsilon,
        "updates_collections": batch_norm_updates_collections,
        "scale": batch_norm_scale,
    }
    with (
        slim.arg_scope(
            [slim.conv2d, slim.fully_connected],
            weights_regularizer=slim.l2_regularizer(weight_decay),
        ),
        slim.arg_scope(
            [slim.conv2d],
            weights_initializer=slim.variance_scaling_initializer(),
            activation_fn=activation_fn,
            normalizer_fn=slim.batch_norm if use_batch_norm else None,
            normalizer_params=norm if use_batch_norm else {},
        ) as scope,
    ):
        return scope
