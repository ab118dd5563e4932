"""What NASNet and PNASNet are made of: configurations, operations and cells.

A cell is a table. Its hidden states 0 and 1 are the outputs of the two cells before it;
each row adds one more, the sum of two operations on states that are there already; the
states listed in `outputs` are concatenated. Operations are `Separable`, `Pool` and
`Identity`; their first field is the state that they take.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

from nets.net_utils import unknown_name
from tf_slim_compat import random_uniform, slim, tf


@dataclasses.dataclass(slots=True)
class Config:
    """What can be set of a network; the defaults are those of the mobile ones.

    Attributes:
      num_cells: int, without the cells of the stem and the reduction cells.
      num_conv_filters: int, the filters of a cell's operations before any reduction.
      stem_multiplier: float, the factor of the filters of the first convolution.
      drop_path_keep_prob: float in (0, 1], for the last cell at the end of training.
      total_training_steps: int, the steps in which drop path comes into full force.
      dense_dropout_keep_prob: float in (0, 1], before the logits.
      use_aux_head: bool, whether training has an auxiliary classifier.
      num_reduction_layers: int, how often the cells halve the map.
      filter_scaling_rate: float, the factor of the filters at each reduction.
      skip_reduction_layer_input: bool, what the cells at a reduction take for their
        second input: for NASNet, whether the cell after a reduction cell passes over
        what that one took; for PNASNet, whether a cell that reduces takes the output of
        the cell before last, as all others do, or that of the one before it.
      use_bounded_activation: bool, clips what cells add up to [-6, 6], to quantise it.
      data_format: "NHWC" or "NCHW", the layout within the network and of its end
        points; images are "NHWC" always.
    """

    num_cells: int
    num_conv_filters: int
    stem_multiplier: float = 1.0
    drop_path_keep_prob: float = 1.0
    total_training_steps: int = 250000
    dense_dropout_keep_prob: float = 0.5
    use_aux_head: bool = True
    num_reduction_layers: int = 2
    filter_scaling_rate: float = 2.0
    skip_reduction_layer_input: bool = False
    use_bounded_activation: bool = False
    data_format: str = "NHWC"

    def set_hparam(self, name, value):
        """Sets the attribute `name`.

        Raises:
          ValueError: there is none of that name.
        """
        names = [field.name for field in dataclasses.fields(self)]
        if name not in names:
            raise unknown_name("hyperparameter", name, names)
        setattr(self, name, value)


def calc_reduction_layers(num_cells, num_reduction_layers):
    """Returns the numbers of the cells at which the map is halved, evenly spread."""
    return [
        number * num_cells // (num_reduction_layers + 1)
        for number in range(1, num_reduction_layers + 1)
    ]


@slim.add_arg_scope
def get_channel_index(data_format="NHWC"):
    """Returns which axis the channels are."""
    return 3 if data_format == "NHWC" else 1


@slim.add_arg_scope
def get_channel_dim(shape, data_format="NHWC"):
    """Returns the number of channels of a tensor of this static shape."""
    return shape.as_list()[get_channel_index(data_format=data_format)]


def _spatial_axes(data_format):
    return [1, 2] if data_format == "NHWC" else [2, 3]


@slim.add_arg_scope
def get_map_size(net, data_format="NHWC"):
    """Returns the static [height, width] of images."""
    return [net.shape.as_list()[axis] for axis in _spatial_axes(data_format)]


@slim.add_arg_scope
def global_avg_pool(x, data_format="NHWC"):
    """Returns the mean of each channel, [batch, channels]."""
    return tf.reduce_mean(x, _spatial_axes(data_format))


@slim.add_arg_scope
def factorized_reduction(net, output_filters, stride, data_format="NHWC"):
    """Brings a map to fewer filters, and with stride 2 to half its size.

    Half of the filters then see the even rows and columns, the other half the odd.

    Args:
      net: float tensor, images in `data_format`, of static height and width.
      output_filters: int.
      stride: 1 or 2.
      data_format: "NHWC" or "NCHW".

    Returns:
      float tensor.
    """
    if stride == 1:
        net = slim.conv2d(net, output_filters, 1, scope="path_conv")
        return slim.batch_norm(net, scope="path_bn")
    before = (slice(None),) * (1 if data_format == "NHWC" else 2)
    margins = [[0, 0]] * 4
    margins[len(before) : len(before) + 2] = [[0, n % 2] for n in get_map_size(net)]
    paths = []
    for start in (0, 1):
        path = net[(*before, slice(start, None, stride), slice(start, None, stride))]
        if start == 1 and [0, 1] in margins:
            path = tf.pad(path, margins)  # An odd map has one more even row.
        filters = (output_filters + start) // 2
        paths.append(slim.conv2d(path, filters, 1, scope=f"path{start + 1}_conv"))
    net = tf.concat(paths, get_channel_index(data_format=data_format))
    return slim.batch_norm(net, scope="final_path_bn")


@slim.add_arg_scope
def drop_path(net, keep_prob, is_training=True):
    """Zeroes whole examples at random and scales the others up by 1 / `keep_prob`.

    G. Larsson, M. Maire, G. Shakhnarovich, "FractalNet", 2016,
    https://arxiv.org/abs/1605.07648

    Args:
      net: float tensor of rank 4, batch first.
      keep_prob: float or scalar tensor in (0, 1].
      is_training: bool; False returns `net`.

    Returns:
      float tensor like `net`, of the same expectation.
    """
    if not is_training:
        return net
    batch = net.shape.as_list()[0] or tf.shape(net)[0]
    mask = tf.floor(random_uniform([batch, 1, 1, 1]) + keep_prob)
    return net * tf.cast(mask / keep_prob, net.dtype)


# What depends on the layout: for slim.arg_scope(WITH_DATA_FORMAT, data_format="NCHW").
WITH_DATA_FORMAT = [
    slim.avg_pool2d,
    slim.batch_norm,
    slim.conv2d,
    slim.max_pool2d,
    slim.separable_conv2d,
    factorized_reduction,
    get_channel_dim,
    get_channel_index,
    get_map_size,
    global_avg_pool,
]


def _clip(net):
    return tf.clip_by_value(net, -6.0, 6.0)


def _project(net, filters, stride=1):
    net = slim.conv2d(net, filters, 1, stride, scope="1x1")
    return slim.batch_norm(net, scope="bn_1")


class Separable(NamedTuple):
    """Twice: activation, separable convolution, batch normalisation."""

    state: int
    kernel: int

    def build(self, net, filters, stride, bounded):
        """Returns the operation's result on `net`; `bounded` as in `Config`."""
        size = f"{self.kernel}x{self.kernel}"
        for number in (1, 2):
            net = tf.nn.relu6(net) if bounded else tf.nn.relu(net)
            net = slim.separable_conv2d(
                net,
                filters,
                self.kernel,
                stride=stride if number == 1 else 1,
                scope=f"separable_{size}_{number}",
            )
            net = slim.batch_norm(net, scope=f"bn_sep_{size}_{number}")
        return net


class Pool(NamedTuple):
    """`function` over 3x3, and a projection where the filters differ."""

    state: int
    function: Callable[..., tf.Tensor]

    def build(self, net, filters, stride, bounded):
        """See `Separable.build`."""
        net = self.function(tf.nn.relu6(net) if bounded else net, 3, stride, "SAME")
        if get_channel_dim(net.shape) != filters:
            net = _project(net, filters)
        return net


class Identity(NamedTuple):
    """The state itself, or projected where the stride or the filters differ."""

    state: int

    def build(self, net, filters, stride, bounded):
        """See `Separable.build`."""
        if stride > 1 or get_channel_dim(net.shape) != filters:
            net = _clip(net) if bounded else tf.nn.relu(net)
            net = _project(net, filters, stride)
        return net


class NasNetABaseCell:
    """The walk over a cell's table, which a subclass has.

    Attributes:
      rows: pairs of operations, whose sums are the states 2, 3, ...
      outputs: the states that are concatenated.
    """

    rows = ()
    outputs = ()

    def __init__(
        self,
        num_conv_filters,
        drop_path_keep_prob,
        total_num_cells,
        total_training_steps,
        use_bounded_activation=False,
    ):
        """Makes a builder of cells.

        Args:
          num_conv_filters: int, the filters of the operations where the scaling is 1.
          drop_path_keep_prob: see `Config`.
          total_num_cells: int, with those of the stem and the reductions.
          total_training_steps: see `Config`.
          use_bounded_activation: see `Config`.
        """
        self._num_conv_filters = num_conv_filters
        self._drop_path_keep_prob = drop_path_keep_prob
        self._total_num_cells = total_num_cells
        self._total_training_steps = total_training_steps
        self._bounded = use_bounded_activation
        self._activation_fn = tf.nn.relu6 if use_bounded_activation else tf.nn.relu

    def __call__(
        self,
        net,
        scope=None,
        filter_scaling=1,
        stride=1,
        prev_layer=None,
        cell_num=0,
        current_step=None,
    ):
        """Builds a cell.

        Args:
          net: float tensor, images, the output of the cell before.
          scope: name of the variable scope.
          filter_scaling: float, the factor of the filters.
          stride: 1 or 2, of the operations on the two inputs.
          prev_layer: float tensor, the output of the cell before that; None for `net`.
          cell_num: int, how many cells there are before; the deeper a cell, the oftener
            its paths are dropped.
          current_step: int or scalar tensor; None for the global step, which is created
            if need be.

        Returns:
          float tensor.
        """
        filters = int(self._num_conv_filters * filter_scaling)
        # Made at the first path: a global step that is created gets its name there.
        keep_prob = functools.cache(lambda: self._keep_prob(cell_num, current_step))
        with tf.variable_scope(scope, "cell", [net]):
            states = self._build_inputs(net, prev_layer, filters)
            for number, pair in enumerate(self.rows):
                with tf.variable_scope(f"comb_iter_{number}"):
                    terms = []
                    for side, operation in zip(("left", "right"), pair, strict=True):
                        with tf.variable_scope(side):
                            term = self._apply(
                                operation, states, filters, stride, keep_prob
                            )
                            terms.append(term)
                    total = terms[0] + terms[1]
                    states.append(_clip(total) if self._bounded else total)
            with tf.variable_scope("cell_output"):
                return self._combine(states)

    def _build_inputs(self, net, prev_layer, filters):
        """Returns states 0 and 1: the two inputs, brought to one size and `filters`."""
        if prev_layer is None:
            prev_layer = net
        elif get_map_size(prev_layer) != get_map_size(net):
            prev_layer = self._activation_fn(prev_layer)
            prev_layer = factorized_reduction(prev_layer, filters, stride=2)
        elif get_channel_dim(prev_layer.shape) != filters:
            prev_layer = self._activation_fn(prev_layer)
            prev_layer = slim.conv2d(prev_layer, filters, 1, scope="prev_1x1")
            prev_layer = slim.batch_norm(prev_layer, scope="prev_bn")
        net = slim.conv2d(self._activation_fn(net), filters, 1, scope="1x1")
        return [slim.batch_norm(net, scope="beginning_bn"), prev_layer]

    def _apply(self, operation, states, filters, stride, keep_prob):
        """Returns one of the two terms of a sum."""
        stride = stride if operation.state < 2 else 1
        net = operation.build(states[operation.state], filters, stride, self._bounded)
        if self._bounded:
            net = _clip(net)
        if self._drop_path_keep_prob < 1 and not isinstance(operation, Identity):
            net = drop_path(net, keep_prob())
        return net

    def _keep_prob(self, cell_num, current_step):
        """Returns 1 less what depth and training so far have of the drop rate."""
        if current_step is None:
            current_step = tf.train.get_or_create_global_step()
        step = tf.cast(current_step, tf.float32)
        progress = tf.minimum(step / self._total_training_steps, 1.0)
        depth = (cell_num + 1) / self._total_num_cells
        return 1.0 - progress * (depth * (1 - self._drop_path_keep_prob))

    def _combine(self, states):
        """Concatenates the outputs; an input among them is first made alike."""
        last = states[-1]
        filters = get_channel_dim(last.shape)
        nets = []
        for number in self.outputs:
            net = states[number]
            same_size = get_map_size(net) == get_map_size(last)
            if not same_size or get_channel_dim(net.shape) != filters:
                with tf.variable_scope(f"reduction_{number}"):
                    net = factorized_reduction(net, filters, 1 if same_size else 2)
            nets.append(net)
        return tf.concat(nets, get_channel_index())


class NasNetANormalCell(NasNetABaseCell):
    """The cell of NASNet-A that keeps the map's size."""

    rows = (
        (Separable(0, 5), Separable(1, 3)),
        (Separable(1, 5), Separable(1, 3)),
        (Pool(0, slim.avg_pool2d), Identity(1)),
        (Pool(1, slim.avg_pool2d), Pool(1, slim.avg_pool2d)),
        (Separable(0, 3), Identity(0)),
    )
    outputs = (1, 2, 3, 4, 5, 6)


class NasNetAReductionCell(NasNetABaseCell):
    """The cell of NASNet-A that halves the map."""

    rows = (
        (Separable(0, 5), Separable(1, 7)),
        (Pool(0, slim.max_pool2d), Separable(1, 7)),
        (Pool(0, slim.avg_pool2d), Separable(1, 5)),
        (Identity(3), Pool(2, slim.avg_pool2d)),
        (Separable(2, 3), Pool(0, slim.max_pool2d)),
    )
    outputs = (3, 4, 5, 6)
