"""Shared by the network families: end points, strides, padding, heads, variants."""

import difflib
import functools

from tf_slim_compat import slim, tf


def unknown_name(kind, name, names):
    """Returns the `ValueError` for a name that is not among `names`.

    Args:
      kind: what the name stands for, e.g. "network" or "final_endpoint".
      name: what was asked for.
      names: iterable of str, all that there are.
    """
    names = list(names)
    nearest = difflib.get_close_matches(str(name), names, n=3, cutoff=0.5)
    hint = f" Nearest: {', '.join(nearest)}." if nearest else ""
    return ValueError(f"Unknown {kind} {name!r}.{hint} All: {', '.join(names)}.")


def collect_end_points(layers, final_endpoint=None):
    """Draws layers until the one called `final_endpoint`; what follows is not built.

    Args:
      layers: generator of `(name, tensor)` pairs that builds each layer when asked.
      final_endpoint: name of the last layer wanted, or None for all of them.

    Returns:
      `(net, end_points)`: the last tensor, and a dict from name to tensor.

    Raises:
      ValueError: `final_endpoint` is none of the names.
    """
    end_points = {}
    for name, net in layers:
        end_points[name] = net
        if name == final_endpoint:
            layers.close()
            return net, end_points
    if final_endpoint is not None:
        raise unknown_name("final_endpoint", final_endpoint, end_points)
    return net, end_points


def check_images(inputs):
    """Raises a `ValueError` unless `inputs` is [batch, height, width, channels]."""
    if inputs.shape.rank != 4:
        raise ValueError(
            "inputs must have rank 4 [batch, height, width, channels], not the "
            f"shape {inputs.shape}."
        )


def depth_scale(depth_multiplier, min_depth):
    """Returns the function from a layer's tabled depth to its depth in this variant.

    Raises:
      ValueError: `depth_multiplier` is not greater than zero.
    """
    if depth_multiplier <= 0:
        raise ValueError(
            f"depth_multiplier must be greater than 0, got {depth_multiplier}; "
            "1.0 gives the depths of the paper."
        )
    return lambda depth: max(int(depth * depth_multiplier), min_depth)


class StrideBudget:
    """Spends strides until `output_stride` is reached, then dilation in their place.

    A network that detectors or segmenters build on keeps a finer map than it was
    trained with: once the input has been reduced `output_stride` times, a layer that
    would stride on does not, and the layers after it are dilated instead, so that the
    weights see the same surroundings (https://arxiv.org/abs/1606.00915).
    """

    def __init__(self, output_stride=None):
        self.output_stride = output_stride
        self.current = 1
        self.rate = 1

    def spend(self, stride):
        """Returns the `(stride, rate)` for a layer whose table says `stride`.

        Raises:
          ValueError: `output_stride` cannot be met, as this layer strides past it.
        """
        if self.current == self.output_stride:
            rate, self.rate = self.rate, self.rate * stride
            return 1, rate
        self.current *= stride
        if self.output_stride is not None and self.current > self.output_stride:
            raise ValueError(
                f"output_stride {self.output_stride} cannot be reached: the strides "
                f"go from {self.current // stride} to {self.current}; choose one of "
                "the two."
            )
        return stride, 1


def fixed_padding(inputs, kernel_size, rate=1):
    """Pads height and width by what the kernel needs, whatever the input's size.

    "SAME" pads a strided convolution differently for even and odd sizes; this does not.

    Args:
      inputs: float tensor [batch, height, width, channels].
      kernel_size: int, or a pair of ints for height and width.
      rate: int, the dilation.

    Returns:
      float tensor [batch, height + total, width + total, channels], where total is
      (kernel_size - 1) * rate, to be convolved with padding "VALID".
    """
    if isinstance(kernel_size, int):
        kernel_size = (kernel_size, kernel_size)
    totals = [(size - 1) * rate for size in kernel_size]
    if not any(totals):
        return inputs
    margins = [[total // 2, total - total // 2] for total in totals]
    return tf.pad(inputs, [[0, 0], *margins, [0, 0]])


def reduced_kernel_size(inputs, kernel_size):
    """Returns `kernel_size` [height, width], no larger than the input's map.

    For video, `kernel_size` is [frames, height, width].

    A network made for 224 or 299 pixels so accepts smaller pictures; an unknown height
    or width (fully convolutional use) leaves the kernel as it is.
    """
    sizes = inputs.shape.as_list()[1 : 1 + len(kernel_size)]
    return [
        kernel if size is None else min(size, kernel)
        for size, kernel in zip(sizes, kernel_size, strict=True)
    ]


def build_pooled_head(
    net,
    end_points,
    num_classes,
    *,
    window,
    dropout_keep_prob,
    prediction_fn,
    spatial_squeeze=True,
    global_pool=False,
    digit=1,
    pool_name="AvgPool_1a",
    prelogits=False,
):
    """Average pool, dropout, 1x1 convolution to logits, and predictions.

    Adds its end points to `end_points`: the pool's, "Logits" and "Predictions".

    Args:
      net: float tensor [batch, height, width, channels], or for video [batch, frames,
        height, width, channels]; the logits are then averaged over the frames.
      end_points: dict that is added to.
      num_classes: int; 0 or None stops after the pool.
      window: [height, width] or [frames, height, width] of the pool, reduced for a
        smaller map.
      dropout_keep_prob: float in (0, 1].
      prediction_fn: callable of (logits, scope=...).
      spatial_squeeze: logits [batch, classes] instead of [batch, h, w, classes].
      global_pool: pool the whole map whatever its size, in place of `window`.
      digit: int in the scope names Dropout_1b, Conv2d_1c_1x1. With 0 the predictions
        stand within the scope "Logits", with 1 beside it.
      pool_name: name of the windowed pool's end point, or None for no end point.
      prelogits: whether what enters the last convolution is an end point "PreLogits".

    Returns:
      The logits, or the pooled features [batch, h, w, channels] without `num_classes`.
    """
    is_video = len(window) == 3
    avg_pool = slim.avg_pool3d if is_video else slim.avg_pool2d
    conv = slim.conv3d if is_video else slim.conv2d
    with tf.variable_scope("Logits"):
        if global_pool:
            net = tf.reduce_mean(net, [1, 2], keepdims=True, name="global_pool")
            end_points["global_pool"] = net
        else:
            kernel = reduced_kernel_size(net, window)
            scope = f"AvgPool_{digit}a_{kernel[-2]}x{kernel[-1]}"
            net = avg_pool(net, kernel, 1, "VALID", scope=scope)
            if pool_name:
                end_points[pool_name] = net
        if not num_classes:
            return net
        net = slim.dropout(net, dropout_keep_prob, scope=f"Dropout_{digit}b")
        if prelogits:
            end_points["PreLogits"] = net
        logits = conv(
            net,
            num_classes,
            1,
            activation_fn=None,
            normalizer_fn=None,
            scope=f"Conv2d_{digit}c_1x1",
        )
        if is_video:
            logits = tf.reduce_mean(logits, 1)
        if spatial_squeeze:
            logits = tf.squeeze(logits, [1, 2], name="SpatialSqueeze")
        end_points["Logits"] = logits
        if digit == 0:
            end_points["Predictions"] = prediction_fn(logits, scope="Predictions")
    if digit != 0:
        end_points["Predictions"] = prediction_fn(logits, scope="Predictions")
    return logits


def name_network(network, name, default_image_size):
    """Returns `network`, a function made within another, named as users know it."""
    network.__name__ = network.__qualname__ = name
    network.default_image_size = default_image_size
    return network


def variant(function, name, **defaults):
    """Returns `function` under another name and with other defaults.

    Attributes such as `default_image_size` are kept; pass one here to change it.
    """
    size = defaults.pop("default_image_size", None)

    @functools.wraps(function)
    def build(*args, **kwargs):
        return function(*args, **{**defaults, **kwargs})

    build.__name__ = build.__qualname__ = name
    changes = ", ".join(
        f"{key}={value!r}" if not isinstance(value, dict) else f"its own {key}"
        for key, value in defaults.items()
    )
    build.__doc__ = f"`{function.__name__}` with {changes}; see there."
    if size is not None:
        build.default_image_size = size
    return build
