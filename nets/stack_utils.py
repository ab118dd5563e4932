"""Networks that are one chain of layers, as tables: rows, the walk, heads, arg scope.

A table is as in `nets/inception_utils.py`, a dict from end point to row, with the rows
below beside `Conv`, `MaxPool` and `AvgPool`; it goes from the pictures to the features
that the logits are made of. `build_stack` is for VGG, AlexNet and OverFeat, whose dense
layers are convolutions, so that they run over larger pictures too. `define_stack` makes
a function of it, and `define_flat_network` one of a small network that flattens its
last map.
"""

import contextlib
import functools
from typing import NamedTuple

from nets.inception_utils import build_layers, make_ops
from nets.net_utils import collect_end_points, reduced_kernel_size
from nets.network_definitions import REQUIRED, define_network
from tf_slim_compat import slim, tf


class Dense(NamedTuple):
    """A dense layer; with `kernel`, a convolution over a map at least of that size."""

    depth: int
    kernel: int | None = None
    padding: str = "VALID"
    name: str | None = None


class Dropout(NamedTuple):
    """Drops, when training, with the probability that the network is built with."""

    name: str | None = None


class Flatten(NamedTuple):
    """Makes a vector of a map."""

    name: str | None = None


class LocalNorm(NamedTuple):
    """Local response normalisation; the defaults are those of AlexNet's paper."""

    depth_radius: int = 2
    bias: float = 2.0
    alpha: float = 1e-4
    beta: float = 0.75
    name: str | None = None


def _build_dense(net, depth, kernel, padding, scope, **kwargs):
    if kernel is None:
        return slim.fully_connected(net, depth, scope=scope, **kwargs)
    if padding == "VALID":
        kernel = reduced_kernel_size(net, [kernel, kernel])
    return slim.conv2d(net, depth, kernel, padding=padding, scope=scope, **kwargs)


def _build_local_norm(net, *parameters, scope):
    return tf.nn.lrn(net, *parameters, name=scope)


# What the dense layers of AlexNet v2 and OverFeat start from.
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


def build_stack(
    inputs,
    table,
    *,
    num_classes,
    is_training,
    dropout_keep_prob,
    spatial_squeeze,
    global_pool,
    scope,
    default_scope,
    reuse=None,
    ops=OPS,
    dense_init=None,
):
    """Builds a chain whose dense layers are convolutions.

    Args:
      inputs: float tensor [batch, height, width, channels].
      table: dict from end point to row.
      num_classes: int; 0 or None gives the features [batch, h, w, depth].
      is_training: bool, whether dropout drops.
      dropout_keep_prob: float in (0, 1].
      spatial_squeeze: logits [batch, classes] instead of [batch, h, w, classes].
      global_pool: average the features of larger pictures over all places.
      scope: name of the variable scope; None for `default_scope`, made unique.
      default_scope: str.
      reuse: whether the variables exist already.
      ops: builder of each kind of row.
      dense_init: dict of initialisers for `Dense` rows and the logits; the logits'
        biases always start from zero.

    Returns:
      `(net, end_points)`; the end points are called "scope/name".
    """
    dense_init = dense_init or {}

    def build_dense(*args, **kwargs):
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
            if spatial_squeeze:
                net = tf.squeeze(net, [1, 2], name="fc8/squeezed")
            end_points[f"{scope.name}/fc8"] = net
    return net, end_points


# The arguments in the order that all these networks have, and their defaults.
STACK_ARGUMENTS = {
    "num_classes": 1000,
    "is_training": True,
    "dropout_keep_prob": 0.5,
    "spatial_squeeze": True,
}


def define_stack(name, table, default_image_size, **options):
    """Returns a network function whose body is `build_stack`.

    Args:
      name: str, of the function and of its variable scope.
      table: dict from end point to row.
      default_image_size: int, pixels.
      **options: ops and dense_init of `build_stack`.
    """
    build = functools.partial(build_stack, table=table, default_scope=name, **options)
    return define_network(
        name,
        build,
        default_image_size,
        **STACK_ARGUMENTS,
        scope=name,
        global_pool=False,
    )


def define_flat_network(
    name,
    table,
    default_image_size,
    default_scope,
    *,
    hidden=(),
    last_dropout=None,
    logits_name="logits",
    predictions_within=True,
    **logits_options,
):
    """Returns the function of a network that ends in vectors.

    Args:
      name: str, of the function.
      table: dict from end point to row, a `Flatten` among them.
      default_image_size: int, pixels.
      default_scope: str, name of the variable scope.
      hidden: rows that are no end points.
      last_dropout: name of the dropout between the features and the logits, if any.
      logits_name: name of the layer of the logits.
      predictions_within: whether the predictions stand in the variable scope.
      **logits_options: further arguments of the layer of the logits.
    """

    def build_logits(images, num_classes):
        net, end_points = collect_end_points(build_layers(images, table, OPS))
        end_points = {key: end_points[key] for key in end_points if key not in hidden}
        if num_classes:
            if last_dropout:
                net = end_points[last_dropout] = slim.dropout(net, scope=last_dropout)
            net = end_points["Logits"] = slim.fully_connected(
                net,
                num_classes,
                activation_fn=None,
                scope=logits_name,
                **logits_options,
            )
        return net, end_points

    def build(
        images, num_classes, is_training, dropout_keep_prob, prediction_fn, scope
    ):
        with contextlib.ExitStack() as stack:
            stack.enter_context(tf.variable_scope(scope, default_scope, [images]))
            dropout = {"keep_prob": dropout_keep_prob, "is_training": is_training}
            with slim.arg_scope([slim.dropout], **dropout):
                net, end_points = build_logits(images, num_classes)
            if not predictions_within:
                stack.close()
            if num_classes:
                end_points["Predictions"] = prediction_fn(net, scope="Predictions")
        return net, end_points

    return define_network(
        name,
        build,
        default_image_size,
        images=REQUIRED,
        num_classes=10,
        is_training=False,
        dropout_keep_prob=0.5,
        prediction_fn=slim.softmax,
        scope=default_scope,
    )


def stack_arg_scope(weight_decay=0.0005, activation_fn=tf.nn.relu, **init):
    """Returns the arg scope that the chains share.

    Args:
      weight_decay: float, the factor of the weights' L2 loss.
      activation_fn: callable after each layer but the last.
      **init: weights_initializer, biases_initializer, where not slim's (Glorot, zero).
    """
    with slim.arg_scope(
        [slim.conv2d, slim.fully_connected],
        activation_fn=activation_fn,
        weights_regularizer=slim.l2_regularizer(weight_decay),
        **init,
    ) as scope:
        return scope
