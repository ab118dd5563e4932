"""Where a network loses accuracy in 8-bit integers: signal-to-noise ratios by layer.

The ratio compares the values of a tensor in float with the error of 8 bits, in dB:
10 log10(sum(values²) / sum((values - quantized)²)). 20 dB are an error of a tenth of
the values, 40 dB of a hundredth; one more bit is 6 dB.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from deployment import quantize, text
from deployment.models import averages, restoring, subgraphs
from deployment.models.checkpoint import Checkpoint
from deployment.models.spec import ModelSpec
from deployment.quantize import rewriting
from deployment.quantize.fake_quantization import FakeQuantized, Options
from tf_slim_compat import slim, tf

_BATCH_SIZE = 8  # All activations of a batch are in memory.
_MOST_NAMED = 3
_INCHES_PER_LAYER, _MARGIN_INCHES, _WIDTH_INCHES = 0.22, 1.5, 9


class LayerNoise(NamedTuple):
    """Signal-to-noise ratios of a layer in dB; inf for no noise.

    Attributes:
      layer: scope of the layer.
      quantized: what of it is quantized, such as "act_quant" for its outputs.
      weights: ratio of its weights; None if it has none.
      alone: ratio of its outputs, if it alone is computed in 8 bits.
      so_far: ratio of its outputs, if the network is computed in 8 bits up to it.
    """

    layer: str
    quantized: str
    weights: float | None
    alone: float
    so_far: float


def measure(
    network_fn: Callable[[tf.Tensor], tuple[tf.Tensor, Any]],
    spec: ModelSpec,
    checkpoint: Checkpoint,
    images: np.ndarray,
) -> list[LayerNoise]:
    """Measures the noise of 8 bits in each layer of a network.

    The ranges of a network that was trained with fake quantization are those of its
    checkpoint. A network in float is calibrated: the ranges of its activations are
    those on the images, and each output channel of a convolution has its own range.

    Args:
      network_fn: adds the network for evaluation; see `quantize.networks`.
      spec: the model's specification.
      checkpoint: its weights.
      images: float32 [n, height, width, channels], preprocessed.

    Returns:
      The layers in the order of the computation.

    Raises:
      ValueError: if the checkpoint does not fit, or there is nothing to quantize.
    """
    with tf.Graph().as_default(), tf.Session(config=_build_config()) as session:
        source = tf.placeholder(tf.float32, [None, *images.shape[1:]], "input")
        network_fn(source)
        found, is_quantized = rewriting.rewrite(
            None,
            Options(
                is_training=False,
                per_channel=spec.quantize_per_channel or not spec.quantize,
                quant_delay=1,  # Makes quantization a switch.
            ),
            None,
        )
        _restore(session, checkpoint, spec)
        network = _Network(session, source, is_quantized, found)
        batches = [
            images[i : i + _BATCH_SIZE] for i in range(0, len(images), _BATCH_SIZE)
        ]
        if not spec.quantize:
            network.calibrate(batches)
        return network.compare(batches)


@dataclasses.dataclass
class _Noise:
    """Sums of squares over batches."""

    signal: float = 0.0
    noise: float = 0.0

    def add(self, values: np.ndarray, quantized: np.ndarray) -> None:
        values = values.astype(np.float64)
        self.signal += float(np.square(values).sum())
        self.noise += float(np.square(values - quantized).sum())

    def get_ratio(self) -> float:
        """Returns the signal-to-noise ratio in dB."""
        if not self.noise:
            return np.inf
        return float(10 * np.log10(max(self.signal, 1e-300) / self.noise))


class _Network:
    """A network whose quantization can be switched on and off."""

    def __init__(
        self,
        session: tf.Session,
        source: tf.Tensor,
        is_quantized: tf.Tensor,
        found: Sequence[FakeQuantized],
    ):
        self._session, self._source = session, source
        self._is_quantized = is_quantized
        self._weights = [item for item in found if item.is_weights]
        self._layers = [item for item in found if not item.is_weights]
        order = _number_nodes(session.graph)
        self._layers.sort(key=lambda item: order[item.values.op.name])
        self._limits: dict[tf.Tensor, np.ndarray] = {}

    def calibrate(self, batches: Sequence[np.ndarray]) -> None:
        """Sets the ranges to those of the values in float."""
        values = self._run([item.values for item in self._weights], {}, False)
        for item, weights in zip(self._weights, values, strict=True):
            axes = tuple(range(weights.ndim - 1)) if item.limits[0].shape.rank else None
            widest = np.abs(weights).max(axes)
            self._limits |= dict(zip(item.limits, (-widest, widest), strict=True))
        ends = [
            (tf.reduce_min(item.values), tf.reduce_max(item.values))
            for item in self._layers
        ]
        found = [self._run(ends, {self._source: batch}, False) for batch in batches]
        for number, item in enumerate(self._layers):
            low = min(0.0, *(batch[number][0] for batch in found))
            high = max(0.0, *(batch[number][1] for batch in found))
            self._limits |= dict(zip(item.limits, (low, high), strict=True))

    def compare(self, batches: Sequence[np.ndarray]) -> list[LayerNoise]:
        """Returns the noise of every layer."""
        tensors = [item.values for item in self._layers]
        inputs = [self._find_inputs(item.values) for item in self._layers]
        alone, so_far = ([_Noise() for _ in tensors] for _ in range(2))
        for batch in batches:
            feeds = {self._source: batch}
            expected = self._run(tensors, feeds, False)
            known = dict(zip((t.op.name for t in tensors), expected, strict=True))
            found = self._run(tensors, feeds, True)
            for i, tensor in enumerate(tensors):
                so_far[i].add(expected[i], found[i])
                own = {t: known[t.op.name] for t in inputs[i].layers}
                alone[i].add(expected[i], self._run(tensor, feeds | own, True))
        weights = self._compare_weights()
        rows = []
        for i, item in enumerate(self._layers):
            layer, _, quantized = item.scope.rpartition("/")
            own = [weights[t.op.name].get_ratio() for t in inputs[i].weights]
            rows.append(
                LayerNoise(
                    layer,
                    quantized,
                    min(own, default=None),
                    alone[i].get_ratio(),
                    so_far[i].get_ratio(),
                )
            )
        return rows

    def _compare_weights(self) -> dict[str, _Noise]:
        """Returns the noise of the weights, by name of the operation."""
        tensors = [item.values for item in self._weights]
        expected, found = (self._run(tensors, {}, switch) for switch in (False, True))
        result = {}
        for tensor, *values in zip(tensors, expected, found, strict=True):
            result[tensor.op.name] = _Noise()
            result[tensor.op.name].add(*values)
        return result

    def _run(self, fetches: Any, feeds: Mapping[tf.Tensor, Any], switch: bool) -> Any:
        feeds = {**self._limits, **feeds, self._is_quantized: switch}
        return self._session.run(fetches, feeds)

    def _find_inputs(self, values: tf.Tensor) -> "_Inputs":
        """Returns the nearest quantized tensors that a layer's outputs depend on."""
        layers = {item.values.op.name: item.values for item in self._layers}
        weights = {item.values.op.name: item.values for item in self._weights}
        found = _Inputs([], [])
        seen, waiting = set(), list(values.op.inputs)
        while waiting:
            tensor = waiting.pop()
            if (name := tensor.op.name) in seen:
                continue
            seen.add(name)
            if name in layers:
                found.layers.append(layers[name])
                continue
            if name in weights:
                found.weights.append(weights[name])
            waiting.extend(tensor.op.inputs)
        return found


class _Inputs(NamedTuple):
    """The quantized activations and weights that a layer reads."""

    layers: list[tf.Tensor]
    weights: list[tf.Tensor]


def _build_config() -> tf.ConfigProto:
    """Returns the configuration of a session that runs each part of a graph once."""
    config = tf.ConfigProto()
    config.graph_options.rewrite_options.disable_meta_optimizer = True
    return config


def _restore(session: tf.Session, checkpoint: Checkpoint, spec: ModelSpec) -> None:
    variables = slim.get_model_variables()
    if not spec.quantize:
        session.run(tf.variables_initializer(quantize.list_ranges()))
        ranges = {variable.op.name for variable in quantize.list_ranges()}
        variables = [v for v in variables if v.op.name not in ranges]
    names = averages.get_variables_to_restore(variables, spec.moving_average_decay)
    known = {variable.op.name for variable in variables}
    names = {key: v for key, v in names.items() if v.op.name in known}
    fitted = restoring.fit(checkpoint, names)
    restoring.check_fit(fitted, "Inspect a checkpoint of the run.")
    restoring.build_restore_fn(fitted)(session)


def describe(rows: Sequence[LayerNoise], num_images: int) -> Iterator[str]:
    """Generates a table of the layers, and which of them lose most."""
    header = ("layer", "quantized", "weights", "layer alone", "network so far")
    lines = [(r.layer, r.quantized, *map(_format, r[2:])) for r in rows]
    images = text.format_count(num_images, "image")
    yield f"Signal-to-noise ratio of 8 bits in dB, on {images}:"
    yield text.format_table(header, lines, right=(2, 3, 4))
    worst = sorted(rows, key=lambda row: row.alone)[:_MOST_NAMED]
    names = ", ".join(f"{row.layer} ({_format(row.alone)} dB)" for row in worst)
    yield f"Most is lost in {names}. The outputs have {_format(rows[-1].so_far)} dB."


def draw(rows: Sequence[LayerNoise], title: str) -> Image.Image:
    """Draws the ratios of the layers, from the first at the top to the last.

    Args:
      rows: the layers.
      title: what they are of.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # Takes a second.
    from matplotlib.figure import Figure

    height = _MARGIN_INCHES + _INCHES_PER_LAYER * len(rows)
    figure = Figure((_WIDTH_INCHES, height), layout="constrained")
    axes = figure.add_subplot()
    places = range(len(rows))
    worst = sorted(places, key=lambda place: rows[place].alone)[:_MOST_NAMED]
    colors = ["tab:red" if place in worst else "tab:blue" for place in places]
    alone, so_far, weights = (
        [np.nan if r[i] is None or np.isinf(r[i]) else r[i] for r in rows]
        for i in map(LayerNoise._fields.index, ("alone", "so_far", "weights"))
    )
    axes.barh(places, alone, color=colors, label="layer alone (lowest in red)")
    axes.plot(so_far, places, color="black", marker=".", label="network so far")
    axes.plot(weights, places, "|", color="tab:orange", markersize=10, label="weights")
    axes.set_yticks(places, [f"{r.layer} {r.quantized}" for r in rows], fontsize=7)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel("signal-to-noise ratio of 8 bits in dB")
    axes.set_title(title, fontsize=10, parse_math=False)
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside lower center", ncols=3, fontsize=8)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def _format(ratio: float | None) -> str:
    if ratio is None:
        return ""
    return "exact" if np.isinf(ratio) else f"{ratio:.1f}"


def _number_nodes(graph: tf.Graph) -> dict[str, int]:
    """Returns name of each node -> its place in the order of the computation."""
    nodes = graph.as_graph_def().node
    sources = {
        node.name: [subgraphs.get_node_name(source) for source in node.input]
        for node in nodes
    }
    return {node.name: i for i, node in enumerate(subgraphs.sort(nodes, sources))}
