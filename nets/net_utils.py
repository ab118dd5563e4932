"""Helpers of all network families: scopes, end points, strides, padding and heads."""

import contextlib
import difflib
from collections.abc import Callable, Iterable, Iterator, Sequence

from tf_slim_compat import slim, tf

EndPoints = dict[str, tf.Tensor]
# What a network returns: logits or features, and its layers by name.
NetOutputs = tuple[tf.Tensor, EndPoints]
Layers = Iterator[tuple[str, tf.Tensor]]


def unknown_name(kind: str, name: object, names: Iterable[str]) -> ValueError:
    """Returns a `ValueError` that lists the nearest valid names, then all of them.

    Args:
      kind: what the name stands for, e.g. "network" or "final_endpoint".
      name: the name received.
      names: the valid names.
    """
    names = list(names)
    nearest = difflib.get_close_matches(str(name), names, n=3, cutoff=0.5)
    hint = f" Nearest: {', '.join(nearest)}." if nearest else ""
    return ValueError(f"Unknown {kind} {name!r}.{hint} All: {', '.join(names)}.")


def collect_end_points(layers: Layers, final_endpoint: str | None = None) -> NetOutputs:
    """Builds layers up to and including `final_endpoint`.

    Args:
      layers: generator of (name, tensor) pairs that builds a layer at each step.
      final_endpoint: name of the last layer to build; None builds all of them.

    Returns:
      `(net, end_points)`: the last tensor, and a dict from name to tensor.

    Raises:
      ValueError: no layer is called `final_endpoint`.
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


def check_images(inputs: tf.Tensor) -> None:
    """Raises a `ValueError` unless `inputs` is [batch, height, width, channels]."""
    if inputs.shape.rank != 4:
        raise ValueError(
            "inputs must have rank 4 [batch, height, width, channels], not the "
            f"shape {inputs.shape}."
        )


@contextlib.contextmanager
def network_scope(
    scope: str | None,
    default_scope: str,
    inputs: tf.Tensor,
    is_training: bool,
    reuse: bool | None = None,
) -> Iterator[tf.VariableScope]:
    """Enters a network's variable scope and sets its layers' `is_training`.

    Args:
      scope: name of the variable scope; None for a unique name like `default_scope`.
      default_scope: name of the scope if `scope` is None.
      inputs: the network's input.
      is_training: whether dropout and batch normalization are in training mode.
      reuse: whether to reuse existing variables.

    Yields:
      The variable scope.
    """
    with (
        tf.variable_scope(scope, default_scope, [inputs], reuse=reuse) as scope,
        slim.arg_scope([slim.batch_norm, slim.dropout], is_training=is_training),
    ):
        yield scope


def depth_scale(depth_multiplier: float, min_depth: int) -> Callable[[float], int]:
    """Returns a function that scales a number of channels, to `min_depth` or more.

    Raises:
      ValueError: `depth_multiplier` is not positive.
    """
    if depth_multiplier <= 0:
        raise ValueError(
            f"depth_multiplier must be greater than 0, got {depth_multiplier}; "
            "1.0 gives the depths of the paper."
        )
    return lambda depth: max(int(depth * depth_multiplier), min_depth)


class StrideBudget:
    """Replaces strides by dilation once `output_stride` is reached.

    Detection and segmentation networks need a finer feature map than classification.
    After the input has been reduced `output_stride` times, a layer that would stride
    keeps the resolution, and the layers after it are dilated, so that their weights
    keep their receptive field (https://arxiv.org/abs/1606.00915).
    """

    def __init__(self, output_stride: int | None = None) -> None:
        self.output_stride = output_stride
        self.current = 1
        self.rate = 1

    def spend(self, stride: int) -> tuple[int, int]:
        """Returns the `(stride, rate)` to build a layer of nominal `stride` with.

        Raises:
          ValueError: this layer would stride past `output_stride`.
        """
        if self.current == self.output_stride:
            rate, self.rate = self.rate, self.rate * stride
            return 1, rate
        self.current *= stride
        if self.output_stride is not None and self.current > self.output_stride:
            raise ValueError(
                f"output_stride {self.output_stride} cannot be reached: the layers "
                f"stride from {self.current // stride} to {self.current}; choose one "
                "of these two."
            )
        return stride, 1


def fixed_padding(
    inputs: tf.Tensor, kernel_size: int | Sequence[int], rate: int = 1
) -> tf.Tensor:
    """Pads height and width depending on the kernel alone.

    Padding "SAME" of a strided convolution depends on whether the input size is even.

    Args:
      inputs: float tensor [batch, height, width, channels].
      kernel_size: int, or a pair of ints for height and width.
      rate: dilation rate.

    Returns:
      Float tensor [batch, height + total, width + total, channels], where total is
      (kernel_size - 1) * rate, for a convolution with padding "VALID".
    """
    if isinstance(kernel_size, int):
        kernel_size = (kernel_size, kernel_size)
    totals = [(size - 1) * rate for size in kernel_size]
    if not any(totals):
        return inputs
    margins = [[total // 2, total - total // 2] for total in totals]
    return tf.pad(inputs, [[0, 0], *margins, [0, 0]])


@slim.add_arg_scope
def pool_same(
    pool_fn: Callable[..., tf.Tensor],
    net: tf.Tensor,
    kernel_size: int,
    stride: int,
    scope: str | None = None,
    pads_with_zeros: bool = False,
) -> tf.Tensor:
    """Builds a pool with padding "SAME".

    Args:
      pool_fn: `slim.max_pool2d` or `slim.avg_pool2d`.
      net: float tensor of rank 4; with `pads_with_zeros` [batch, height, width,
        channels] of static height and width.
      kernel_size: height and width of the window.
      stride: stride in both directions.
      scope: name of the scope.
      pads_with_zeros: whether zeros beyond the border count, as in Keras Applications,
        if there is a stride. Otherwise only the values inside do.
    """
    padding = "SAME"
    if pads_with_zeros and stride > 1:
        margins = []
        for size in net.shape.as_list()[1:3]:
            total = kernel_size - (size % stride or stride)
            margins.append([total // 2, total - total // 2])
        net, padding = tf.pad(net, [[0, 0], *margins, [0, 0]]), "VALID"
    return pool_fn(net, kernel_size, stride=stride, padding=padding, scope=scope)


def reduced_kernel_size(inputs: tf.Tensor, kernel_size: Sequence[int]) -> list[int]:
    """Returns `kernel_size`, reduced where the feature map is smaller.

    This lets a network made for 224 or 299 pixels accept smaller images. Unknown sizes
    (fully convolutional use) leave the kernel unchanged.

    Args:
      inputs: float tensor, channels last.
      kernel_size: [height, width], or [frames, height, width] for video.
    """
    sizes = inputs.shape.as_list()[1 : 1 + len(kernel_size)]
    return [
        kernel if size is None else min(size, kernel)
        for size, kernel in zip(sizes, kernel_size, strict=True)
    ]


def build_pooled_head(
    net: tf.Tensor,
    end_points: EndPoints,
    num_classes: int | None,
    *,
    window: Sequence[int],
    dropout_keep_prob: float,
    prediction_fn: Callable[..., tf.Tensor],
    spatial_squeeze: bool = True,
    global_pool: bool = False,
    digit: int = 1,
    pool_name: str | None = "AvgPool_1a",
    pool_scope: str | None = None,
    prelogits: bool = False,
) -> tf.Tensor:
    """Builds an average pool, dropout, a 1x1 convolution to logits, and predictions.

    Adds the pool, "Logits" and "Predictions" to `end_points`.

    Args:
      net: float tensor [batch, height, width, channels], or for video [batch, frames,
        height, width, channels], whose logits are averaged over the frames.
      end_points: dict to add to.
      num_classes: number of classes; 0 or None stops after the pool.
      window: [height, width] or [frames, height, width] of the pool, reduced for
        smaller feature maps.
      dropout_keep_prob: probability in (0, 1] of keeping an activation.
      prediction_fn: function of (logits, scope=...), e.g. `slim.softmax`.
      spatial_squeeze: whether logits are [batch, classes], not [batch, h, w, classes].
      global_pool: whether to pool the whole feature map instead of `window`.
      digit: digit in the scope names Dropout_1b and Conv2d_1c_1x1. With 0, predictions
        are inside the scope "Logits"; otherwise, beside it.
      pool_name: name of the end point of the windowed pool; None for no end point.
      pool_scope: name of its node; None for one with the size of the window.
      prelogits: whether to add the input of the last convolution as "PreLogits".

    Returns:
      Logits, or without `num_classes` the pooled features [batch, h, w, channels].
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
            scope = pool_scope or f"AvgPool_{digit}a_{kernel[-2]}x{kernel[-1]}"
            net = avg_pool(net, kernel, stride=1, padding="VALID", scope=scope)
            if pool_name:
                end_points[pool_name] = net
        if not num_classes:
            return net
        net = slim.dropout(net, keep_prob=dropout_keep_prob, scope=f"Dropout_{digit}b")
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
