"""Configurations, operations and cells of NASNet and PNASNet.

A cell is a table. Its hidden states 0 and 1 are the outputs of the two preceding cells.
Each row adds a state, the sum of two operations on earlier states. The states listed in
`outputs` are concatenated. Operations are `Separable`, `Pool` and `Identity`; their
first field is the number of the state that they apply to.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from nets.net_utils import pool_same, unknown_name
from nets.stochastic_depth import drop_path
from tf_slim_compat import slim, tf

Step = tf.Tensor | int | None


@dataclasses.dataclass(slots=True)
class Config:
    """Hyperparameters of a network; the defaults are those of the mobile networks.

    Attributes:
      num_cells: number of cells, without stem and reduction cells.
      num_conv_filters: number of filters of a cell's operations before any reduction.
      stem_multiplier: factor of the number of filters of the first convolution.
      drop_path_keep_prob: final probability of keeping a path of the last cell.
      total_training_steps: number of steps over which drop path increases linearly.
      dense_dropout_keep_prob: probability of keeping a feature before the logits.
      use_aux_head: whether training has an auxiliary classifier.
      num_reduction_layers: number of times that the cells halve the resolution.
      filter_scaling_rate: factor of the number of filters at each reduction.
      skip_reduction_layer_input: the second input of cells at a reduction. In NASNet,
        whether the cell after a reduction cell skips the input of that reduction cell.
        In PNASNet, whether a reducing cell takes the output of the cell before last
        (as all other cells do), or the one before that.
      use_bounded_activation: whether to clip sums to [-6, 6], for quantization.
      data_format: "NHWC" or "NCHW", the layout inside the network and of its end
        points; images are always "NHWC".
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

    def set_hparam(self, name: str, value: Any) -> None:
        """Sets the attribute `name`.

        Raises:
          ValueError: there is no such attribute.
        """
        names = [field.name for field in dataclasses.fields(self)]
        if name not in names:
            raise unknown_name("hyperparameter", name, names)
        setattr(self, name, value)


def calc_reduction_layers(num_cells: int, num_reduction_layers: int) -> list[int]:
    """Returns the numbers of the cells with reductions, evenly spaced."""
    return [
        number * num_cells // (num_reduction_layers + 1)
        for number in range(1, num_reduction_layers + 1)
    ]


@slim.add_arg_scope
def get_channel_index(data_format: str = "NHWC") -> int:
    """Returns the axis of the channels."""
    return 3 if data_format == "NHWC" else 1


@slim.add_arg_scope
def get_channel_dim(
    shape: tf.TensorShape | Sequence[int | None], data_format: str = "NHWC"
) -> int:
    """Returns the number of channels in a static shape."""
    sizes = tf.TensorShape(shape).as_list()
    return sizes[get_channel_index(data_format=data_format)]


def _spatial_axes(data_format: str) -> list[int]:
    return [1, 2] if data_format == "NHWC" else [2, 3]


@slim.add_arg_scope
def get_map_size(net: tf.Tensor, data_format: str = "NHWC") -> list[int]:
    """Returns the static [height, width] of a feature map."""
    return [net.shape.as_list()[axis] for axis in _spatial_axes(data_format)]


@slim.add_arg_scope
def global_avg_pool(x: tf.Tensor, data_format: str = "NHWC") -> tf.Tensor:
    """Returns the mean of each channel, [batch, channels]."""
    return tf.reduce_mean(x, _spatial_axes(data_format))


@slim.add_arg_scope
def factorized_reduction(
    net: tf.Tensor, output_filters: int, stride: int, data_format: str = "NHWC"
) -> tf.Tensor:
    """Projects a feature map to `output_filters`, and with stride 2 to half its size.

    With stride 2, half of the filters see even rows and columns, the others odd ones.

    Args:
      net: float tensor in `data_format`, of static height and width.
      output_filters: number of filters.
      stride: 1 or 2.
      data_format: "NHWC" or "NCHW".

    Returns:
      Float tensor in `data_format`.
    """
    if stride == 1:
        net = slim.conv2d(net, output_filters, 1, scope="path_conv")
        return slim.batch_norm(net, scope="path_bn")
    before = (slice(None),) * (1 if data_format == "NHWC" else 2)
    margins = [[0, 0]] * 4
    margins[len(before) : len(before) + 2] = [[0, n % 2] for n in get_map_size(net)]
    paths = []
    for start in (0, 1):
        path = net[(*before, slice(start, None), slice(start, None))]
        if start == 1 and [0, 1] in margins:
            path = tf.pad(path, margins)  # Odd sizes have one more even row.
        path = tf.nn.avg_pool2d(path, 1, stride, "VALID", data_format)
        filters = (output_filters + start) // 2
        paths.append(slim.conv2d(path, filters, 1, scope=f"path{start + 1}_conv"))
    net = tf.concat(paths, get_channel_index(data_format=data_format))
    return slim.batch_norm(net, scope="final_path_bn")


# Functions to set the layout of: slim.arg_scope(WITH_DATA_FORMAT, data_format="NCHW").
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


def _clip(net: tf.Tensor) -> tf.Tensor:
    return tf.clip_by_value(net, -6.0, 6.0)


def _project(net: tf.Tensor, filters: int, stride: int = 1) -> tf.Tensor:
    net = slim.conv2d(net, filters, 1, stride=stride, scope="1x1")
    return slim.batch_norm(net, scope="bn_1")


class Separable(NamedTuple):
    """Activation, separable convolution and batch normalization, twice."""

    state: int
    kernel: int

    def build(
        self, net: tf.Tensor, filters: int, stride: int, bounded: bool
    ) -> tf.Tensor:
        """Applies the operation to a state; `bounded` is `use_bounded_activation`."""
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
    """A pool over 3x3, projected if the number of filters differs."""

    state: int
    function: Callable[..., tf.Tensor]

    def build(
        self, net: tf.Tensor, filters: int, stride: int, bounded: bool
    ) -> tf.Tensor:
        """See `Separable.build`."""
        net = pool_same(self.function, tf.nn.relu6(net) if bounded else net, 3, stride)
        if get_channel_dim(net.shape) != filters:
            net = _project(net, filters)
        return net


class Identity(NamedTuple):
    """The state itself, projected if the stride or the number of filters differs."""

    state: int

    def build(
        self, net: tf.Tensor, filters: int, stride: int, bounded: bool
    ) -> tf.Tensor:
        """See `Separable.build`."""
        if stride > 1 or get_channel_dim(net.shape) != filters:
            net = _clip(net) if bounded else tf.nn.relu(net)
            net = _project(net, filters, stride)
        return net


class NasNetABaseCell:
    """Builds cells from the table of a subclass.

    Attributes:
      rows: pairs of operations; their sums are the states 2, 3, ...
      outputs: numbers of the states to concatenate.
    """

    rows: tuple[tuple[Any, Any], ...] = ()
    outputs: tuple[int, ...] = ()

    def __init__(
        self,
        num_conv_filters: int,
        drop_path_keep_prob: float,
        total_num_cells: int,
        total_training_steps: int,
        use_bounded_activation: bool = False,
    ) -> None:
        """Stores the settings that all cells of a network share.

        Args:
          num_conv_filters: number of filters of the operations at a scaling of 1.
          drop_path_keep_prob: see `Config`.
          total_num_cells: number of cells, including stem and reduction cells.
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
        net: tf.Tensor,
        scope: str | None = None,
        filter_scaling: float = 1,
        stride: int = 1,
        prev_layer: tf.Tensor | None = None,
        cell_num: int = 0,
        current_step: Step = None,
    ) -> tf.Tensor:
        """Builds a cell.

        Args:
          net: float tensor of rank 4, the output of the preceding cell.
          scope: name of the variable scope.
          filter_scaling: factor of the number of filters.
          stride: 1 or 2, stride of the operations on the two inputs.
          prev_layer: the output of the cell before the preceding one; None for `net`.
          cell_num: number of preceding cells; deeper cells drop more paths.
          current_step: int or scalar tensor; None for the global step, which is created
            if needed.

        Returns:
          Float tensor of rank 4, the concatenated outputs.
        """
        filters = int(self._num_conv_filters * filter_scaling)
        # Lazy, because the name of a newly created global step depends on the scope.
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
                    with tf.name_scope("combine"):
                        total = terms[0] + terms[1]
                    states.append(_clip(total) if self._bounded else total)
            with tf.variable_scope("cell_output"):
                return self._combine(states)

    def _build_inputs(
        self, net: tf.Tensor, prev_layer: tf.Tensor | None, filters: int
    ) -> list[tf.Tensor]:
        """Returns states 0 and 1: both inputs, projected to one size and `filters`."""
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

    def _apply(
        self,
        operation: Separable | Pool | Identity,
        states: Sequence[tf.Tensor],
        filters: int,
        stride: int,
        keep_prob: Callable[[], tf.Tensor],
    ) -> tf.Tensor:
        """Returns one of the two terms of a sum."""
        stride = stride if operation.state < 2 else 1
        net = operation.build(states[operation.state], filters, stride, self._bounded)
        if self._bounded:
            net = _clip(net)
        if self._drop_path_keep_prob < 1 and not isinstance(operation, Identity):
            net = drop_path(net, keep_prob())
        return net

    def _keep_prob(self, cell_num: int, current_step: Step) -> tf.Tensor:
        """Returns the keep probability, which decreases with depth and training."""
        if current_step is None:
            current_step = tf.train.get_or_create_global_step()
        step = tf.cast(current_step, tf.float32)
        progress = tf.minimum(step / self._total_training_steps, 1.0)
        depth = (cell_num + 1) / self._total_num_cells
        return 1.0 - progress * (depth * (1 - self._drop_path_keep_prob))

    def _combine(self, states: Sequence[tf.Tensor]) -> tf.Tensor:
        """Concatenates the outputs, projecting inputs to the shape of the others."""
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
    """The cell of NASNet-A that keeps the resolution."""

    rows = (
        (Separable(0, 5), Separable(1, 3)),
        (Separable(1, 5), Separable(1, 3)),
        (Pool(0, slim.avg_pool2d), Identity(1)),
        (Pool(1, slim.avg_pool2d), Pool(1, slim.avg_pool2d)),
        (Separable(0, 3), Identity(0)),
    )
    outputs = (1, 2, 3, 4, 5, 6)


class NasNetAReductionCell(NasNetABaseCell):
    """The cell of NASNet-A that halves the resolution."""

    rows = (
        (Separable(0, 5), Separable(1, 7)),
        (Pool(0, slim.max_pool2d), Separable(1, 7)),
        (Pool(0, slim.avg_pool2d), Separable(1, 5)),
        (Identity(3), Pool(2, slim.avg_pool2d)),
        (Separable(2, 3), Pool(0, slim.max_pool2d)),
    )
    outputs = (3, 4, 5, 6)
