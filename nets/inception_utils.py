"""Inception blocks as tables: their rows, the walk over them, and the arg scope.

A network's table is a dict from end point to layer. A layer is one step, or a tuple of
branches whose outputs are concatenated. A branch is a tuple of steps. A step is a
`Conv`, `MaxPool` or `AvgPool`, or a `Split` into parallel steps that are concatenated.

    LAYERS = {
        "Conv2d_1a_3x3": Conv(32, 3, 2, "VALID"),
        "Mixed_5b": (
            (Conv(64),),
            (Conv(48), Conv(64, 5)),
            (AvgPool(), Conv(32)),
        ),
    }

Variables are scoped Mixed_5b/Branch_1/Conv2d_0b_5x5: the letter counts the steps of the
branch, the digit is 1 where the step strides. A step of another name carries it.
"""

import functools
import itertools
import string
from typing import NamedTuple

from nets.net_utils import reduced_kernel_size
from tf_slim_compat import slim, tf


class Conv(NamedTuple):
    """A convolution; the fields stand in the order of slim.conv2d's arguments."""

    depth: int
    kernel: int | tuple[int, ...] = 1
    stride: int | tuple[int, ...] = 1
    padding: str = "SAME"
    name: str | None = None


class MaxPool(NamedTuple):
    """A pool; the fields stand in the order of slim.max_pool2d's arguments."""

    kernel: int | tuple[int, ...] = 3
    stride: int | tuple[int, ...] = 1
    padding: str = "SAME"
    name: str | None = None


class AvgPool(NamedTuple):
    """As `MaxPool`, with the mean."""

    kernel: int | tuple[int, ...] = 3
    stride: int | tuple[int, ...] = 1
    padding: str = "SAME"
    name: str | None = None


class Split(tuple):
    """Steps that all take the same input, and whose outputs are concatenated."""


def make_ops(conv=None, max_pool=None, avg_pool=None, channel_axis=-1):
    """Returns what builds each kind of step, and what joins branches, as "concat".

    The defaults are slim's in two dimensions. A network may add kinds of its own, as
    subclasses of `Conv`.

    Args:
      conv: callable of (net, depth, kernel, stride, padding, scope=...).
      max_pool, avg_pool: callables of (net, kernel, stride, padding, scope=...).
      channel_axis: int, the axis that branches are concatenated along.
    """
    return {
        Conv: conv or slim.conv2d,
        MaxPool: max_pool or slim.max_pool2d,
        AvgPool: avg_pool or slim.avg_pool2d,
        "concat": functools.partial(tf.concat, axis=channel_axis),
    }


def scaled_ops(depth, channel_axis=-1):
    """Returns `make_ops` with every convolution's depth passed through `depth`."""

    def conv(net, tabled_depth, *args, **kwargs):
        return slim.conv2d(net, depth(tabled_depth), *args, **kwargs)

    return make_ops(conv, channel_axis=channel_axis)


def layers_from(table, name):
    """Returns the table without what stands before the layer `name`."""
    return dict(itertools.dropwhile(lambda item: item[0] != name, table.items()))


def build_layers(net, table, ops):
    """Builds a table's layers one after another; yields (end point, tensor).

    Args:
      net: float tensor, the input.
      table: dict from end point to layer, see the module's docstring.
      ops: what `make_ops` returns.
    """
    for name, layer in table.items():
        net = build_layer(net, name, layer, ops)
        yield name, net


def build_layer(net, name, layer, ops):
    """Returns one layer of a table, built in the scope `name`."""
    if type(layer) in ops:
        return _build_step(net, layer, name, ops)
    with tf.variable_scope(name):
        return build_branches(net, layer, ops)


def build_branches(net, branches, ops):
    """Returns the branches' outputs, concatenated; in scopes Branch_0, Branch_1, ..."""
    outputs = []
    for number, steps in enumerate(branches):
        with tf.variable_scope(f"Branch_{number}"):
            outputs.append(_build_branch(net, steps, ops))
    return ops["concat"](outputs)


def _build_branch(net, steps, ops):
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


def _build_step(net, step, name, ops):
    *arguments, _ = step
    return ops[type(step)](net, *arguments, scope=name)


def _step_name(step, letter):
    if step.name:
        return step.name
    kind = "Conv2d" if isinstance(step, Conv) else type(step).__name__
    kernel = step.kernel
    height, width = (kernel, kernel) if isinstance(kernel, int) else kernel[-2:]
    digit_and_letter = f"0{letter}" if step.stride == 1 else "1a"
    return f"{kind}_{digit_and_letter}_{height}x{width}"


def build_flat_aux_logits(net, num_classes, conv_name, logits_name):
    """Returns the auxiliary logits [batch, classes] of v4 and Inception-ResNet v2.

    Args:
      net: float tensor [batch, height, width, channels] of known height and width.
      num_classes: int.
      conv_name: scope of the convolution over the whole map.
      logits_name: scope of the dense layer.

    Raises:
      ValueError: height or width is unknown, and so are the shapes of the weights.
    """
    if not net.shape[1:3].is_fully_defined():
        raise ValueError(
            "The auxiliary classifier needs pictures of known size, but its map has "
            f"the shape {net.shape}; pass create_aux_logits=False."
        )
    with tf.variable_scope("AuxLogits"):
        kernel = reduced_kernel_size(net, [5, 5])
        net = slim.avg_pool2d(net, kernel, 3, "VALID", scope="AvgPool_1a_5x5")
        net = slim.conv2d(net, 128, 1, scope="Conv2d_1b_1x1")
        kernel = net.shape.as_list()[1:3]
        net = slim.conv2d(net, 768, kernel, padding="VALID", scope=conv_name)
        return slim.fully_connected(
            slim.flatten(net), num_classes, activation_fn=None, scope=logits_name
        )


def build_flat_head(net, end_points, num_classes, dropout_keep_prob):
    """Global pool, dropout and a dense layer: the head of v4 and Inception-ResNet v2.

    Adds "global_pool", "PreLogitsFlatten", "Logits" and "Predictions" to `end_points`.

    Args:
      net: float tensor [batch, height, width, channels].
      end_points: dict that is added to.
      num_classes: int; 0 or None stops after the pool.
      dropout_keep_prob: float in (0, 1].

    Returns:
      The logits [batch, classes], or the features [batch, 1, 1, channels].
    """
    with tf.variable_scope("Logits"):
        net = tf.reduce_mean(net, [1, 2], keepdims=True, name="global_pool")
        end_points["global_pool"] = net
        if not num_classes:
            return net
        net = slim.dropout(net, dropout_keep_prob, scope="Dropout_1b")
        net = slim.flatten(net, scope="PreLogitsFlatten")
        end_points["PreLogitsFlatten"] = net
        logits = slim.fully_connected(
            net, num_classes, activation_fn=None, scope="Logits"
        )
        end_points["Logits"] = logits
        end_points["Predictions"] = tf.nn.softmax(logits, name="Predictions")
    return logits


def inception_arg_scope(
    weight_decay=0.00004,
    use_batch_norm=True,
    batch_norm_decay=0.9997,
    batch_norm_epsilon=0.001,
    activation_fn=tf.nn.relu,
    batch_norm_updates_collections=tf.GraphKeys.UPDATE_OPS,
    batch_norm_scale=False,
):
    """Returns the arg scope that the Inception networks share.

    Args:
      weight_decay: float, the factor of the weights' L2 loss.
      use_batch_norm: batch normalisation after each convolution, or else biases.
      batch_norm_decay: float, of the moving averages.
      batch_norm_epsilon: float, added to the variance.
      activation_fn: callable after each convolution.
      batch_norm_updates_collections: collection of the update operations, or None to
        update in place.
      batch_norm_scale: whether batch normalisation has a gamma; a rectifier followed
        by a convolution does not need it.
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
