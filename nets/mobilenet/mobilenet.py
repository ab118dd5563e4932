"""What MobileNet v2, v3 and EdgeTPU share: the walk over a table, the head, training.

Detectors and segmenters build on `mobilenet_base`. For its tables see `conv_defs.py`.

Input: float [batch, height, width, 3] in [-1, 1]. Output: logits [batch, classes].
Papers, sizes and accuracies stand in `mobilenet_v2.py` and `mobilenet_v3.py`.
"""

import contextlib
import inspect

from nets.mobilenet.conv_defs import depth_multiplier, op, safe_arg_scope
from nets.net_utils import StrideBudget, check_images, collect_end_points, fixed_padding
from tf_slim_compat import slim, tf

__all__ = [
    "define_base",
    "depth_multiplier",
    "global_pool",
    "mobilenet",
    "mobilenet_base",
    "op",
    "safe_arg_scope",
    "training_scope",
]


@contextlib.contextmanager
def _arg_scopes(table):
    with contextlib.ExitStack() as stack:
        for builders, arguments in table.items():
            stack.enter_context(slim.arg_scope(builders, **arguments))
        yield


def _layers(net, spec, multiplier, budget, use_explicit_padding):
    """Builds the rows one after another; yields (name, tensor), inner tensors first."""
    for number, row in enumerate(spec, start=1):
        params = dict(row.params)
        row.multiplier_func(params, multiplier)
        parameters = inspect.signature(row.op).parameters
        kernel_size = params.get("kernel_size")
        stride, rate = budget.spend(params.get("stride", 1))
        if params.get("stride", 1) > 1:
            params["stride"] = stride
            if "residual" in parameters:
                # Dilated it would have one, which the weights were not trained with.
                params.setdefault("residual", False)
        if rate > 1 and "rate" in parameters and kernel_size not in (1, [1, 1], (1, 1)):
            params["rate"] = rate
        if use_explicit_padding and "use_explicit_padding" in parameters:
            params["use_explicit_padding"] = True
        elif use_explicit_padding and kernel_size is not None:
            net = fixed_padding(net, kernel_size, params.get("rate", 1))
            params["padding"] = "VALID"
        inner = {}
        if "endpoints" in parameters:
            params["endpoints"] = inner
        net = row.op(net, **params)
        for name, tensor in inner.items():
            yield f"layer_{number}/{name}", tensor
        yield f"layer_{number}", net


@slim.add_arg_scope
def mobilenet_base(
    inputs,
    conv_defs,
    multiplier=1.0,
    final_endpoint=None,
    output_stride=None,
    use_explicit_padding=False,
    scope=None,
    is_training=False,
):
    """Builds the layers of a table, up to `final_endpoint`.

    Args:
      inputs: float tensor [batch, height, width, channels]; height and width may be
        unknown.
      conv_defs: the table, see `conv_defs.py`.
      multiplier: float > 0, the factor of all depths.
      final_endpoint: name of the last layer, layer_N; None for all of them.
      output_stride: power of 2, how many times smaller the last map may become; what
        striding would lose is dilated instead. None for the strides of the table.
      use_explicit_padding: pads by the kernel's size alone, whatever the input's size.
      scope: name of the variable scope, or the scope itself.
      is_training: bool for batch normalisation; None leaves it to the scopes around.

    Returns:
      `(net, end_points)`: the last tensor, and a dict of all layers, with
      layer_N/expansion_output, /depthwise_output and /output of blocks.

    Raises:
      ValueError: `multiplier` is not positive, `final_endpoint` is not in the table, or
        `output_stride` cannot be reached.
    """
    if multiplier <= 0:
        raise ValueError(
            f"The depth multiplier must be greater than 0, got {multiplier}; 1.0 gives "
            "the depths of the paper."
        )
    with (
        tf.variable_scope(scope, "Mobilenet") as scope,
        tf.name_scope(scope.original_name_scope),
        safe_arg_scope([slim.batch_norm], is_training=is_training),
        _arg_scopes(conv_defs.get("defaults", {})),
        _arg_scopes(conv_defs.get("overrides", {})),
    ):
        budget = StrideBudget(output_stride)
        layers = _layers(
            inputs, conv_defs["spec"], multiplier, budget, use_explicit_padding
        )
        return collect_end_points(layers, final_endpoint)


def global_pool(
    input_tensor, use_reduce_mean_for_pooling=False, pool_op=tf.nn.avg_pool2d
):
    """Pools each map to one place.

    Args:
      input_tensor: float tensor [batch, height, width, channels].
      use_reduce_mean_for_pooling: average by `tf.reduce_mean`, as is always done where
        height or width are unknown.
      pool_op: function with the arguments of `tf.nn.avg_pool2d`.

    Returns:
      float tensor [batch, 1, 1, channels].
    """
    size = input_tensor.shape.as_list()[1:3]
    if size == [1, 1]:
        return input_tensor
    if use_reduce_mean_for_pooling or None in size:
        return tf.reduce_mean(input_tensor, [1, 2], keepdims=True, name="ReduceMean")
    return pool_op(input_tensor, [1, *size, 1], strides=[1, 1, 1, 1], padding="VALID")


@slim.add_arg_scope
def mobilenet(
    inputs,
    num_classes=1001,
    prediction_fn=slim.softmax,
    reuse=None,
    scope="Mobilenet",
    base_only=False,
    use_reduce_mean_for_pooling=False,
    **mobilenet_args,
):
    """Builds the layers of a table, and a classifier on them.

    Args:
      inputs: float tensor [batch, height, width, channels].
      num_classes: int; 0 or None gives the pooled features [batch, 1, 1, channels].
      prediction_fn: callable of (logits, scope), or None for no predictions.
      reuse: whether the variables exist already.
      scope: name of the variable scope.
      base_only: whether to stop after the table.
      use_reduce_mean_for_pooling: see `global_pool`.
      **mobilenet_args: for `mobilenet_base`; `conv_defs` is required. `is_training` is
        for dropout too, and False unless given here or by `training_scope`.

    Returns:
      `(logits, end_points)`.

    Raises:
      ValueError: `inputs` is not of rank 4; see also `mobilenet_base`.
    """
    check_images(inputs)
    with tf.variable_scope(scope, "Mobilenet", reuse=reuse) as scope:
        net, end_points = mobilenet_base(inputs, scope=scope, **mobilenet_args)
        if base_only:
            return net, end_points
        with tf.variable_scope("Logits"):
            net = global_pool(net, use_reduce_mean_for_pooling)
            end_points["global_pool"] = net
            if not num_classes:
                return net, end_points
            is_training = mobilenet_args.get("is_training", False)
            with safe_arg_scope([slim.dropout], is_training=is_training):
                net = slim.dropout(net, scope="Dropout")
            logits = slim.conv2d(
                net,
                num_classes,
                1,
                activation_fn=None,
                normalizer_fn=None,
                scope="Conv2d_1c_1x1",
            )
            logits = tf.squeeze(logits, [1, 2], name="output")
        end_points["Logits"] = logits
        if prediction_fn is not None:
            end_points["Predictions"] = prediction_fn(logits, "Predictions")
    return logits, end_points


def define_base(network):
    """Returns the function that builds `network` without pool and logits."""

    @slim.add_arg_scope
    def mobilenet_base(input_tensor, depth_multiplier=1.0, **kwargs):
        """Builds the layers; `kwargs` are those of `mobilenet` in the same module.

        Returns:
          `(net, end_points)`: the last tensor, and a dict of all layers.
        """
        return network(
            input_tensor, depth_multiplier=depth_multiplier, base_only=True, **kwargs
        )

    return mobilenet_base


def training_scope(
    is_training=True,
    weight_decay=0.00004,
    stddev=0.09,
    dropout_keep_prob=0.8,
    bn_decay=0.997,
):
    """Returns the arg scope of training; what computes the network is in the tables.

    Args:
      is_training: bool for dropout and batch normalisation; None leaves it to the
        scopes around.
      weight_decay: float, the factor of the L2 loss on all but depthwise weights.
      stddev: float, of the truncated normal distribution that weights start from;
        negative for Xavier's initialisation.
      dropout_keep_prob: float in (0, 1], or None to leave it to the scopes around.
      bn_decay: float, of the moving averages, or None to leave it to the scopes around.
    """
    if stddev < 0:
        initializer = slim.initializers.xavier_initializer()
    else:
        initializer = tf.truncated_normal_initializer(stddev=stddev)
    with (
        slim.arg_scope(
            [slim.conv2d, slim.fully_connected, slim.separable_conv2d],
            weights_initializer=initializer,
            normalizer_fn=slim.batch_norm,
        ),
        slim.arg_scope([mobilenet_base, mobilenet], is_training=is_training),
        safe_arg_scope([slim.batch_norm], is_training=is_training, decay=bn_decay),
        safe_arg_scope(
            [slim.dropout], is_training=is_training, keep_prob=dropout_keep_prob
        ),
        slim.arg_scope(
            [slim.conv2d], weights_regularizer=slim.l2_regularizer(weight_decay)
        ),
        slim.arg_scope([slim.separable_conv2d], weights_regularizer=None) as scope,
    ):
        return scope
