"""NASNet-A: two cells that a search on CIFAR-10 found, stacked; and how to stack cells.

B. Zoph, V. Vasudevan, J. Shlens, Q. V. Le, "Learning Transferable Architectures for
Scalable Image Recognition", 2017, https://arxiv.org/abs/1707.07012

Input: float [batch, size, size, 3], in [-1, 1] or, for nasnet_cifar, standardised; any
static size of some 32 pixels or more works. Output: logits [batch, classes].

| network       | size | last map              | parameters | published top-1      |
|---------------|------|-----------------------|------------|----------------------|
| nasnet_cifar  | 32   | [batch, 8, 8, 768]    | 4,108,617  | 96.6 % (on CIFAR-10) |
| nasnet_mobile | 224  | [batch, 7, 7, 1056]   | 5,291,035  | 74.0 %               |
| nasnet_large  | 331  | [batch, 11, 11, 4032] | 88,757,183 | 82.7 %               |

The parameters are those with 1,001 classes; the auxiliary classifier of the training
graph has 2,393,577 more, 2,412,009 and 4,568,553.
"""

from typing import NamedTuple

from nets.nasnet.nasnet_utils import (
    WITH_DATA_FORMAT,
    Config,
    NasNetANormalCell,
    NasNetAReductionCell,
    calc_reduction_layers,
    drop_path,
    get_map_size,
    global_avg_pool,
)
from nets.net_utils import collect_end_points
from tf_slim_compat import slim, tf


class _Row(NamedTuple):
    """A cell: its names, and which of the outputs before is its second input."""

    scope: str
    end_point: str | None
    reduces: bool
    filter_scaling: float
    back: int = 2


def _rows(config, has_stem_cells, has_reduction_cells):
    """Yields all cells; without reduction cells, some of the numbered ones reduce."""
    rate = config.filter_scaling_rate
    if has_stem_cells:
        yield _Row("cell_stem_0", None, True, rate**-2)
        yield _Row("cell_stem_1", "Stem", True, rate**-1)
    reductions = calc_reduction_layers(config.num_cells, config.num_reduction_layers)
    skips = bool(config.skip_reduction_layer_input)
    scaling = 1.0
    for number in range(config.num_cells):
        reduces, back = number in reductions, 2
        if reduces:
            scaling *= rate
            # Who skips: the cell after a reduction cell; without those, the cell that
            # reduces, unless it is told to. So the public checkpoints were trained.
            back = 3 if skips == has_reduction_cells else 2
        if reduces and has_reduction_cells:
            name = f"Reduction_Cell_{reductions.index(number)}"
            yield _Row(name.lower(), name, True, scaling)
            reduces = False
        yield _Row(f"cell_{number}", f"Cell_{number}", reduces, scaling, back)


def _layers(images, num_classes, is_training, config, rows, cells, current_step):
    """Builds one layer after another; yields (end point, tensor)."""
    activation_fn = tf.nn.relu6 if config.use_bounded_activation else tf.nn.relu
    aux_cell = None
    if is_training and num_classes and config.use_aux_head:
        aux_cell = _aux_cell(config)
    has_stem_cells = rows[0].end_point is None
    first = _build_first_layer(images, config, has_stem_cells)
    if not has_stem_cells:
        yield "Stem", first
    for row, net in _build_cells(first, rows, cells, current_step):
        if row.end_point:
            yield row.end_point, net
        if row.scope == aux_cell:
            with tf.variable_scope(aux_cell.replace("cell", "aux")):
                logits = _build_aux_logits(net, num_classes, activation_fn)
            yield "AuxLogits", logits
    with tf.variable_scope("final_layer"):
        net = global_avg_pool(activation_fn(net))
        yield "global_pool", net
        if not num_classes:
            return
        net = slim.dropout(net, config.dense_dropout_keep_prob, scope="dropout")
        logits = slim.fully_connected(net, num_classes, scope="FC")
        yield "Logits", logits
        yield "Predictions", tf.nn.softmax(logits, name="predictions")


def _aux_cell(config):
    """Returns the cell before the second reduction, or None where there is none."""
    reductions = calc_reduction_layers(config.num_cells, config.num_reduction_layers)
    return f"cell_{reductions[1] - 1}" if len(reductions) > 1 else None


def _build_first_layer(images, config, has_stem_cells):
    """A convolution; images are "NHWC" whatever comes after."""
    if config.data_format == "NCHW":
        images = tf.transpose(images, [0, 3, 1, 2])
    if has_stem_cells:
        filters = int(32 * config.stem_multiplier)
        net = slim.conv2d(images, filters, 3, 2, "VALID", scope="conv0")
        return slim.batch_norm(net, scope="conv0_bn")
    filters = int(config.num_conv_filters * config.stem_multiplier)
    net = slim.conv2d(images, filters, 3, scope="l1_stem_3x3")
    return slim.batch_norm(net, scope="l1_stem_bn")


def _build_cells(net, rows, cells, current_step):
    """Yields (row, output) of each cell; `cells` is the normal and the reducing one."""
    outputs = [None, None, net]
    for number, row in enumerate(rows):
        net = cells[row.reduces](
            net,
            scope=row.scope,
            filter_scaling=row.filter_scaling,
            stride=2 if row.reduces else 1,
            prev_layer=outputs[-row.back],
            cell_num=number,
            current_step=current_step,
        )
        outputs.append(net)
        yield row, net


def _build_aux_logits(net, num_classes, activation_fn):
    """Returns the logits of the auxiliary classifier."""
    with tf.variable_scope("aux_logits"):
        window = [min(size, 5) for size in get_map_size(net)]
        net = slim.avg_pool2d(activation_fn(net), window, 3, "VALID")
        net = slim.conv2d(net, 128, 1, scope="proj")
        net = activation_fn(slim.batch_norm(net, scope="aux_bn0"))
        net = slim.conv2d(net, 768, get_map_size(net), padding="VALID", scope="Conv")
        net = activation_fn(slim.batch_norm(net, scope="aux_bn1"))
        net = tf.reshape(net, [-1, 768])
        return slim.fully_connected(net, num_classes, scope="FC")


def build_network(
    images,
    num_classes,
    is_training,
    config,
    normal_cell,
    reduction_cell=None,
    *,
    has_stem_cells=True,
    final_endpoint=None,
    current_step=None,
):
    """Builds a network of cells.

    Args:
      images: float tensor [batch, height, width, channels] of static height and width.
      num_classes: int; 0 or None gives the pooled features [batch, filters].
      is_training: bool, for dropout, drop path, batch normalisation and whether there
        is an auxiliary classifier.
      config: `Config`, which is not changed.
      normal_cell: subclass of `NasNetABaseCell`.
      reduction_cell: subclass of `NasNetABaseCell` for cells that halve the map, added
        to the others; None lets some of the normal cells do it.
      has_stem_cells: whether two reducing cells come first, for images of ImageNet.
      final_endpoint: name of the last layer: "Stem", "Cell_N", "Reduction_Cell_N",
        "AuxLogits", "global_pool", "Logits" or "Predictions"; None for all of them.
      current_step: int or scalar tensor, for drop path; None for the global step, which
        is created if need be, where paths are dropped.

    Returns:
      `(logits, end_points)`, or in place of the logits the pooled features, or the
      layer called `final_endpoint`; the auxiliary logits, of images in training, are
      `end_points["AuxLogits"]`.

    Raises:
      ValueError: the height or the width of `images` is unknown, or `final_endpoint` is
        none of the above.
    """
    if images.shape.rank != 4 or None in images.shape.as_list()[1:]:
        raise ValueError(
            "images must be [batch, height, width, channels] with only the batch "
            f"unknown, as cells compare sizes, not {images.shape}; set the shape or "
            "resize them."
        )
    rows = list(_rows(config, has_stem_cells, reduction_cell is not None))
    cells = [
        cell(
            config.num_conv_filters,
            config.drop_path_keep_prob if is_training else 1.0,
            len(rows),
            config.total_training_steps,
            config.use_bounded_activation,
        )
        for cell in (normal_cell, reduction_cell or normal_cell)
    ]
    with (
        slim.arg_scope(
            [slim.batch_norm, slim.dropout, drop_path], is_training=is_training
        ),
        slim.arg_scope(WITH_DATA_FORMAT, data_format=config.data_format),
    ):
        layers = _layers(
            images, num_classes, is_training, config, rows, cells, current_step
        )
        net, end_points = collect_end_points(layers, final_endpoint)
    if final_endpoint is None and num_classes:
        net = end_points["Logits"]
    return net, end_points


def build_arg_scope(weight_decay, batch_norm_decay, batch_norm_epsilon):
    """Returns the arg scope of all these networks.

    Args:
      weight_decay: float, the factor of the weights' L2 loss, depthwise ones included.
      batch_norm_decay: float, of the moving averages.
      batch_norm_epsilon: float, added to the variance.
    """
    with (
        slim.arg_scope(
            [slim.conv2d, slim.separable_conv2d, slim.fully_connected],
            activation_fn=None,
            weights_initializer=slim.variance_scaling_initializer(mode="FAN_OUT"),
            weights_regularizer=slim.l2_regularizer(weight_decay),
        ),
        slim.arg_scope([slim.conv2d, slim.separable_conv2d], biases_initializer=None),
        slim.arg_scope(
            [slim.batch_norm],
            decay=batch_norm_decay,
            epsilon=batch_norm_epsilon,
            scale=True,
        ) as scope,
    ):
        return scope


def cifar_config():
    """Returns the `Config` of nasnet_cifar, "6 @ 768" of the paper."""
    return Config(
        num_cells=18,
        num_conv_filters=32,
        stem_multiplier=3.0,
        drop_path_keep_prob=0.6,
        total_training_steps=937500,
        dense_dropout_keep_prob=1.0,
    )


def mobile_imagenet_config():
    """Returns the `Config` of nasnet_mobile, "4 @ 1056" of the paper."""
    return Config(num_cells=12, num_conv_filters=44)


def large_imagenet_config():
    """Returns the `Config` of nasnet_large, "6 @ 4032" of the paper."""
    return Config(
        num_cells=18,
        num_conv_filters=168,
        stem_multiplier=3.0,
        drop_path_keep_prob=0.7,
        skip_reduction_layer_input=True,
    )


_CELLS = NasNetANormalCell, NasNetAReductionCell


def build_nasnet_cifar(
    images, num_classes, is_training=True, config=None, current_step=None
):
    """Builds NASNet-A for images of some 32 pixels; see `build_network`.

    Args:
      images: float tensor [batch, height, width, channels] of static height and width.
      num_classes: int; 0 or None gives the pooled features [batch, filters].
      is_training: bool.
      config: `Config`; None for `cifar_config()`.
      current_step: int or scalar tensor, for drop path; None for the global step.

    Returns:
      `(logits, end_points)`.
    """
    config = config or cifar_config()
    return build_network(
        images,
        num_classes,
        is_training,
        config,
        *_CELLS,
        has_stem_cells=False,
        current_step=current_step,
    )


build_nasnet_cifar.default_image_size = 32


def build_nasnet_mobile(
    images,
    num_classes,
    is_training=True,
    final_endpoint=None,
    config=None,
    current_step=None,
):
    """Builds NASNet-A for ImageNet; `config` is `mobile_imagenet_config()` by default.

    See `build_network` for the arguments, what it returns and what it raises.
    """
    config = config or mobile_imagenet_config()
    return build_network(
        images,
        num_classes,
        is_training,
        config,
        *_CELLS,
        final_endpoint=final_endpoint,
        current_step=current_step,
    )


build_nasnet_mobile.default_image_size = 224


def build_nasnet_large(
    images,
    num_classes,
    is_training=True,
    final_endpoint=None,
    config=None,
    current_step=None,
):
    """As `build_nasnet_mobile`, with `large_imagenet_config()` by default."""
    config = config or large_imagenet_config()
    return build_nasnet_mobile(
        images, num_classes, is_training, final_endpoint, config, current_step
    )


build_nasnet_large.default_image_size = 331


def nasnet_cifar_arg_scope(
    weight_decay=5e-4, batch_norm_decay=0.9, batch_norm_epsilon=1e-5
):
    """See `build_arg_scope`."""
    return build_arg_scope(weight_decay, batch_norm_decay, batch_norm_epsilon)


def nasnet_mobile_arg_scope(
    weight_decay=4e-5, batch_norm_decay=0.9997, batch_norm_epsilon=1e-3
):
    """See `build_arg_scope`."""
    return build_arg_scope(weight_decay, batch_norm_decay, batch_norm_epsilon)


def nasnet_large_arg_scope(
    weight_decay=5e-5, batch_norm_decay=0.9997, batch_norm_epsilon=1e-3
):
    """See `build_arg_scope`."""
    return build_arg_scope(weight_decay, batch_norm_decay, batch_norm_epsilon)
