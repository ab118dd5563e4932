"""Networks that are a single chain of layers, as tables.

A table maps each end point to its row, as in `nets/inception_utils.py`, with the rows
below beside `Conv`, `MaxPool` and `AvgPool`. It ends with the features that the logits
are computed from.

`build_stack` builds VGG, AlexNet and OverFeat, whose dense layers are convolutions and
therefore also accept larger images. `build_flat_network` builds small networks that
flatten their last feature map.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from nets.inception_utils import build_layers, make_ops
from nets.net_utils import NetOutputs, collect_end_points, reduced_kernel_size
from tf_slim_compat import slim, tf


class Dense(NamedTuple):
    """A dense layer; with `kernel`, a convolution with a kernel of that size."""

    depth: int
    kernel: int | None = None
    padding: str = "VALID"
    name: str | None = None


class Dropout(NamedTuple):
    """Dropout with the network's `dropout_keep_prob`, in training only."""

    name: str | None = None


class Flatten(NamedTuple):
    """Flattens a feature map to a vector."""

    name: str | None = None


class LocalNorm(NamedTuple):
    """Local response normalization; the defaults are those of the AlexNet paper."""

    depth_radius: int = 2
    bias: float = 2.0
    alpha: float = 1e-4
    beta: float = 0.75
    name: str | None = None


def _build_dense(
    net: tf.Tensor,
    depth: int,
    kernel: int | None,
    padding: str,
    scope: str,
    **kwargs: Any,
) -> tf.Tensor:
    if kernel is None:
        return slim.fully_connected(net, depth, scope=scope, **kwargs)
    if padding == "VALID":
        kernel = reduced_kernel_size(net, [kernel, kernel])
    return slim.conv2d(net, depth, kernel, padding=padding, scope=scope, **kwargs)


def _build_local_norm(net: tf.Tensor, *parameters: float, scope: str) -> tf.Tensor:
    return tf.nn.lrn(net, *parameters, name=scope)


# Initializers of the dense layers of AlexNet v2 and OverFeat.
SMALL_DENSE_INIT = {
    "weights_initializer": tf.truncated_normal_initializer(stddev=0.005),
    "biases_initializer": tf.constant_initializer(0.1),
}

OPS = {
    **make_ops(),
    Dense: _build_dense,
    Dropout: slim.dropout,
    Flatten: slim.flatten,
    LocalNorm: _build_local_norm,
}


def _build_conv_logits(
    net: tf.Tensor,
    num_classes: int,
    spatial_squeeze: bool,
    dense_init: Mapping[str, Any],
) -> tf.Tensor:
    net = slim.dropout(net, scope="dropout7")
    logits_init = {**dense_init, "biases_initializer": tf.zeros_initializer()}
    net = slim.conv2d(
        net,
        num_classes,
        1,
        activation_fn=None,
        normalizer_fn=None,
        scope="fc8",
        **logits_init,
    )
    return tf.squeeze(net, [1, 2], name="fc8/squeezed") if spatial_squeeze else net


def build_stack(
    table: Mapping[str, Any],
    default_scope: str,
    *,
    inputs: tf.Tensor,
    num_classes: int | None,
    is_training: bool,
    dropout_keep_prob: float,
    spatial_squeeze: bool,
    global_pool: bool,
    scope: str | None,
    reuse: bool | None = None,
    ops: Mapping[Any, Callable[..., tf.Tensor]] = OPS,
    dense_init: Mapping[str, Any] | None = None,
) -> NetOutputs:
    """Builds a chain of layers whose dense layers are convolutions.

    Args:
      table: dict from end point to row.
      default_scope: name of the variable scope if `scope` is None.
      inputs: float tensor [batch, height, width, channels].
      num_classes: number of classes; 0 or None returns the features [batch, h, w,
        depth].
      is_training: whether dropout is active.
      dropout_keep_prob: probability in (0, 1] of keeping an activation.
      spatial_squeeze: whether logits are [batch, classes], not [batch, h, w, classes].
      global_pool: whether to average the features over all locations.
      scope: name of the variable scope.
      reuse: whether to reuse existing variables.
      ops: function that builds each kind of row.
      dense_init: initializers of the `Dense` rows and the logits, as arguments of
        `slim.conv2d`; the biases of the logits always start at zero.

    Returns:
      `(net, end_points)`: logits or features, and the layers as "scope/name".
    """
    dense_init = dense_init or {}

    def build_dense(*args: Any, **kwargs: Any) -> tf.Tensor:
        return ops[Dense](*args, **kwargs, **dense_init)

    with (
        tf.variable_scope(scope, default_scope, [inputs], reuse=reuse) as scope,
        slim.arg_scope(
            [slim.dropout], keep_prob=dropout_keep_prob, is_training=is_training
        ),
    ):
        layers = build_layers(inputs, table, {**ops, Dense: build_dense})
        net, layers = collect_end_points(layers)
        end_points = {
            f"{scope.name}/{name}": layer
            for name, layer in layers.items()
            if not isinstance(table[name], Dropout)
        }
        if global_pool:
            net = tf.reduce_mean(net, [1, 2], keepdims=True, name="global_pool")
            end_points["global_pool"] = net
        if num_classes:
            net = _build_conv_logits(net, num_classes, spatial_squeeze, dense_init)
            end_points[f"{scope.name}/fc8"] = net
    return net, end_points


def build_dense_logits(
    net: tf.Tensor, num_classes: int, scope: str = "logits", **options: Any
) -> tf.Tensor:
    """Returns logits [batch, num_classes] of a linear layer.

    Args:
      net: float tensor [batch, features].
      num_classes: number of classes.
      scope: name of the variable scope.
      **options: further arguments of `slim.fully_connected`.
    """
    return slim.fully_connected(
        net, num_classes, activation_fn=None, scope=scope, **options
    )


def build_flat_network(
    table: Mapping[str, Any],
    default_scope: str,
    *,
    images: tf.Tensor,
    num_classes: int | None,
    is_training: bool,
    scope: str | None,
    dropout_keep_prob: float = 0.5,
    prediction_fn: Callable[..., tf.Tensor] | None = slim.softmax,
    hidden: Sequence[str] = (),
    last_dropout: str | None = None,
    build_logits: Callable[[tf.Tensor, int], tf.Tensor] = build_dense_logits,
    predictions_within: bool = True,
) -> NetOutputs:
    """Builds a network that flattens its last feature map.

    Args:
      table: dict from end point to row, including a `Flatten`.
      default_scope: name of the variable scope if `scope` is None.
      images: float tensor [batch, height, width, channels], only the batch unknown.
      num_classes: number of classes; 0 or None returns the features [batch, depth].
      is_training: whether dropout is active.
      scope: name of the variable scope.
      dropout_keep_prob: probability in (0, 1] of keeping an activation.
      prediction_fn: function of (logits, scope=...); None builds no predictions.
      hidden: rows that are not end points.
      last_dropout: name of the dropout layer before the logits, if there is one.
      build_logits: function of (features, num_classes) that returns the logits.
      predictions_within: whether predictions are inside the variable scope.

    Returns:
      `(net, end_points)`: logits or features, and the layers by name.
    """
    dropout = {"keep_prob": dropout_keep_prob, "is_training": is_training}
    with contextlib.ExitStack() as stack:
        stack.enter_context(tf.variable_scope(scope, default_scope, [images]))
        with slim.arg_scope([slim.dropout], **dropout):
            net, end_points = collect_end_points(build_layers(images, table, OPS))
            end_points = {
                name: layer for name, layer in end_points.items() if name not in hidden
            }
            if not num_classes:
                return net, end_points
            if last_dropout:
                net = end_points[last_dropout] = slim.dropout(net, scope=last_dropout)
            logits = end_points["Logits"] = build_logits(net, num_classes)
        if not predictions_within:
            stack.close()
        if prediction_fn:
            end_points["Predictions"] = prediction_fn(logits, scope="Predictions")
    return logits, end_points


def stack_arg_scope(
    weight_decay: float = 0.0005,
    activation_fn: Callable[[tf.Tensor], tf.Tensor] = tf.nn.relu,
    **init: Any,
) -> dict[str, Any]:
    """Returns the arg scope shared by these networks.

    Args:
      weight_decay: L2 regularization factor of the weights.
      activation_fn: activation of every layer but the last.
      **init: weights_initializer and biases_initializer, if not tf_slim's defaults
        (Glorot and zero).
    """
    with slim.arg_scope(
        [slim.conv2d, slim.fully_connected],
        activation_fn=activation_fn,
        weights_regularizer=slim.l2_regularizer(weight_decay),
        **init,
    ) as scope:
        return scope
