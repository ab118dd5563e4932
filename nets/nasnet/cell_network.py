"""Builds NASNet and PNASNet: the stack of cells, the heads and the arg scope."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from nets.nasnet.nasnet_utils import (
    WITH_DATA_FORMAT,
    Config,
    NasNetABaseCell,
    Step,
    calc_reduction_layers,
    drop_path,
    get_map_size,
    global_avg_pool,
)
from nets.net_utils import Layers, NetOutputs, collect_end_points
from tf_slim_compat import slim, tf


class _Row(NamedTuple):
    """A cell of the stack.

    Attributes:
      scope: name of its variable scope.
      end_point: name of its end point; None for no end point.
      reduces: whether it halves the resolution.
      filter_scaling: factor of its number of filters.
      back: its second input is the output this many steps before its own.
    """

    scope: str
    end_point: str | None
    reduces: bool
    filter_scaling: float
    back: int = 2


def _rows(
    config: Config, has_stem_cells: bool, has_reduction_cells: bool
) -> Iterator[_Row]:
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
            # As in the public checkpoints: with reduction cells, the cell after one
            # skips an input if configured to; without, the cell that reduces skips an
            # input unless configured to.
            back = 3 if skips == has_reduction_cells else 2
        if reduces and has_reduction_cells:
            name = f"Reduction_Cell_{reductions.index(number)}"
            yield _Row(name.lower(), name, True, scaling)
            reduces = False
        yield _Row(f"cell_{number}", f"Cell_{number}", reduces, scaling, back)


def _layers(
    images: tf.Tensor,
    num_classes: int | None,
    is_training: bool,
    config: Config,
    rows: Sequence[_Row],
    cells: Sequence[NasNetABaseCell],
    current_step: Step,
) -> Layers:
    """Yields (end point, tensor) of each layer as it is built."""
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
        net = slim.dropout(
            net, keep_prob=config.dense_dropout_keep_prob, scope="dropout"
        )
        logits = slim.fully_connected(net, num_classes, scope="FC")
        yield "Logits", logits
        yield "Predictions", tf.nn.softmax(logits, name="predictions")


def _aux_cell(config: Config) -> str | None:
    """Returns the scope of the cell before the second reduction, if there is one."""
    reductions = calc_reduction_layers(config.num_cells, config.num_reduction_layers)
    return f"cell_{reductions[1] - 1}" if len(reductions) > 1 else None


def _build_first_layer(
    images: tf.Tensor, config: Config, has_stem_cells: bool
) -> tf.Tensor:
    """Builds the first convolution on images in layout "NHWC"."""
    if config.data_format == "NCHW":
        images = tf.transpose(images, [0, 3, 1, 2])
    if has_stem_cells:
        filters = int(32 * config.stem_multiplier)
        net = slim.conv2d(images, filters, 3, stride=2, padding="VALID", scope="conv0")
        return slim.batch_norm(net, scope="conv0_bn")
    filters = int(config.num_conv_filters * config.stem_multiplier)
    net = slim.conv2d(images, filters, 3, scope="l1_stem_3x3")
    return slim.batch_norm(net, scope="l1_stem_bn")


def _build_cells(
    net: tf.Tensor,
    rows: Sequence[_Row],
    cells: Sequence[NasNetABaseCell],
    current_step: Step,
) -> Iterator[tuple[_Row, tf.Tensor]]:
    """Yields (row, output) of each cell; `cells` are the normal and reducing cell."""
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


def _build_aux_logits(
    net: tf.Tensor,
    num_classes: int,
    activation_fn: Callable[[tf.Tensor], tf.Tensor],
) -> tf.Tensor:
    """Returns the logits of the auxiliary classifier."""
    with tf.variable_scope("aux_logits"):
        window = [min(size, 5) for size in get_map_size(net)]
        net = slim.avg_pool2d(activation_fn(net), window, stride=3, padding="VALID")
        net = slim.conv2d(net, 128, 1, scope="proj")
        net = activation_fn(slim.batch_norm(net, scope="aux_bn0"))
        net = slim.conv2d(net, 768, get_map_size(net), padding="VALID", scope="Conv")
        net = activation_fn(slim.batch_norm(net, scope="aux_bn1"))
        net = tf.reshape(net, [-1, 768])
        return slim.fully_connected(net, num_classes, scope="FC")


def build_network(
    images: tf.Tensor,
    num_classes: int | None,
    is_training: bool,
    config: Config,
    normal_cell: type[NasNetABaseCell],
    reduction_cell: type[NasNetABaseCell] | None = None,
    *,
    has_stem_cells: bool = True,
    final_endpoint: str | None = None,
    current_step: Step = None,
) -> NetOutputs:
    """Builds a network of cells.

    Args:
      images: float tensor [batch, height, width, channels] of static height and width.
      num_classes: number of classes; 0 or None returns the features [batch, filters].
      is_training: whether dropout, drop path and batch normalization are in training
        mode, and whether to build the auxiliary classifier.
      config: configuration; it is not modified.
      normal_cell: the cell that keeps the resolution.
      reduction_cell: the cell that halves the resolution, stacked in addition to the
        normal cells; None for normal cells with a stride.
      has_stem_cells: whether to start with two reducing cells, for ImageNet.
      final_endpoint: name of the last layer: "Stem", "Cell_N", "Reduction_Cell_N",
        "AuxLogits", "global_pool", "Logits" or "Predictions"; None for all layers.
      current_step: int or scalar tensor, for drop path; None for the global step, which
        is created if drop path needs it.

    Returns:
      `(net, end_points)`: logits, features or the layer called `final_endpoint`, and
      the layers by name, with the auxiliary logits in training as "AuxLogits".

    Raises:
      ValueError: height or width of `images` is unknown, or no layer is called
        `final_endpoint`.
    """
    if images.shape.rank != 4 or None in images.shape.as_list()[1:]:
        raise ValueError(
            "images must be [batch, height, width, channels] with only the batch "
            f"unknown, because cells compare sizes, not {images.shape}; set the shape "
            "or resize the images."
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


def build_arg_scope(
    weight_decay: float, batch_norm_decay: float, batch_norm_epsilon: float
) -> dict[str, Any]:
    """Returns the arg scope of all NASNets and PNASNets.

    Args:
      weight_decay: L2 regularization factor of all weights, including depthwise ones.
      batch_norm_decay: decay of the moving averages.
      batch_norm_epsilon: constant added to the variance.
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
