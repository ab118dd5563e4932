"""Turns the weights of a Keras application into those of a network of ours."""

import dataclasses
import math
import re
from collections.abc import Iterable, Mapping

import numpy as np

from nets import network_lookup, network_table
from nets.keras_weights.layer_files import Layers, read_layers
from nets.keras_weights.tables import KERAS_NETWORKS, KerasNetwork
from nets.net_utils import unknown_name
from tf_slim_compat import tf

Values = dict[str, np.ndarray]

_HEAD = re.compile("predictions|probs|fc1000|[Ll]ogits|conv_preds|dense(_[0-9]+)?")
_NUMBERED = re.compile(r"(conv2d|batch_normalization)(?:_(\d+))?")
_AUXILIARY = re.compile(r"(^|/)(AuxLogits|aux_\d+)/")
# The variables of a layer in the order of Keras, by their names here.
_LEAVES = (
    "depthwise_weights", "pointwise_weights", "weights", "biases",
    "gamma", "beta", "moving_mean", "moving_variance",
)  # fmt: skip
# Colors in 0 to 255: what our vgg preprocessing subtracts, and the mean and standard
# deviation of the mode "torch".
_VGG_MEAN = np.array([123.68, 116.78, 103.94])
_TORCH_MEAN = 255 * np.array([0.485, 0.456, 0.406])
_TORCH_STDDEV = 255 * np.array([0.229, 0.224, 0.225])
_BACKGROUND_LOGIT = -1000.0
_IMAGENET_CLASSES = 1000


@dataclasses.dataclass(frozen=True)
class Converted:
    """The weights of a network of ours, and how to use them.

    Attributes:
      values: float32 arrays by the name of the variable.
      num_classes: the network's outputs; 0 if the file has no logits.
      labels_offset: output i stands for label i + labels_offset of a dataset with a
        background class.
      preprocessing: the name of the preprocessing that the weights need.
      image_size: height and width in pixels of the images.
      head: scope of the logits.
      fresh: variables that Keras' network lacks, with random initial values.
      difference: see `KerasNetwork`.
    """

    values: Values
    num_classes: int
    labels_offset: int
    preprocessing: str
    image_size: int
    head: str
    fresh: tuple[str, ...]
    difference: str


def find_keras_network(model_name: str) -> KerasNetwork:
    """Returns the row of a network.

    Raises:
      ValueError: there is no such network, or Keras has none like it.
    """
    network_lookup.get_network(model_name)
    if model_name not in KERAS_NETWORKS:
        error = unknown_name("network", model_name, list(KERAS_NETWORKS))
        raise ValueError(f"Keras Applications have no such network. {error}")
    return KERAS_NETWORKS[model_name]


def convert(path: str, model_name: str, add_background: bool = False) -> Converted:
    """Converts a file of weights of Keras.

    Args:
      path: see `layer_files.read_layers`.
      model_name: the network in `nets_factory` that the weights are for.
      add_background: whether to put an output in front for a background class, which
        is never predicted.

    Raises:
      ValueError: the file is damaged, or its weights are not those of the network.
      OSError: there is no such file.
    """
    row = find_keras_network(model_name)
    layers = read_layers(path)
    head = [layers.pop(name) for name in list(layers) if _HEAD.fullmatch(name)]
    num_classes = head[-1][-1].size if head else 0
    network = network_lookup.get_network(model_name)
    scope = f"{network.scope}/" if network.scope else ""
    graph, shapes = _build(network, num_classes)
    try:
        values = _match(_name(layers, row, scope, shapes), shapes)
        if head:
            values |= _match({scope + row.head: head[-1]}, shapes)
        _fold(values, row, scope)
        fresh = _check_complete(values, shapes)
    except ValueError as error:
        raise ValueError(
            f"{path!r} does not hold the weights of Keras' {row.application} for "
            f"{model_name}: {error}; choose the network with --model_name."
        ) from error
    values |= _initialize(graph, fresh)
    if add_background and num_classes:
        _add_background(values, scope + row.head)
    is_imagenet = num_classes == _IMAGENET_CLASSES and not add_background
    return Converted(
        {name: np.asarray(values[name], np.float32) for name in sorted(values)},
        num_classes + bool(add_background and num_classes),
        int(is_imagenet),
        row.preprocessing,
        row.image_size or network.default_image_size,
        scope + row.head,
        tuple(fresh),
        row.difference,
    )


def _build(
    network: network_table.Network, num_classes: int
) -> tuple[tf.Graph, dict[str, tuple[int, ...]]]:
    """Returns a training graph, and the shapes of its model variables by name."""
    with tf.Graph().as_default() as graph:
        tf.set_random_seed(0)
        size = network.default_image_size
        network_fn = network_lookup.get_network_fn(
            network.name, num_classes, is_training=True
        )
        network_fn(tf.placeholder(tf.float32, [2, size, size, 3]))
        variables = tf.get_collection(tf.GraphKeys.MODEL_VARIABLES)
    return graph, {v.op.name: tuple(v.shape.as_list()) for v in variables}


def _name(
    layers: Layers, row: KerasNetwork, scope: str, shapes: Iterable[str]
) -> Layers:
    """Returns the layers by our scopes."""
    owners = dict.fromkeys(name.rpartition("/")[0] for name in shapes)
    named, numbered = {}, {"conv2d": {}, "batch_normalization": {}}
    for name, arrays in layers.items():
        if match := _NUMBERED.fullmatch(name):
            numbered[match[1]][int(match[2] or 0)] = arrays
        else:
            named[_find_scope(name, row, scope, owners)] = arrays
    norms = [
        owner
        for owner in owners
        if owner.endswith("/BatchNorm")
        and owner not in named
        and not _AUXILIARY.search(owner)
    ]
    convs = [owner.removesuffix("/BatchNorm") for owner in norms]
    for kind, targets in (("conv2d", convs), ("batch_normalization", norms)):
        found = numbered[kind]
        if not found:
            continue
        if len(found) != len(targets):
            raise ValueError(
                f"it has {len(found)} layers {kind}_..., not {len(targets)}"
            )
        named |= zip(targets, (found[i] for i in sorted(found)), strict=True)
    return named


def _find_scope(
    name: str, row: KerasNetwork, scope: str, owners: Mapping[str, None]
) -> str:
    for pattern, template in row.rules:
        if match := re.fullmatch(pattern, name):
            for choice in template.split("|"):
                found = scope + match.expand(choice)
                if found in owners:
                    return found
    raise ValueError(f"the network has nothing like its layer {name}")


def _match(named: Layers, shapes: Mapping[str, tuple[int, ...]]) -> Values:
    """Returns the arrays by variable; a bias that we lack is subtracted from a mean."""
    values, biases = {}, {}
    for owner, arrays in named.items():
        leaves = [leaf for leaf in _LEAVES if f"{owner}/{leaf}" in shapes]
        if len(arrays) == len(leaves) + 1 and f"{owner}/BatchNorm/beta" in shapes:
            *arrays, biases[owner] = arrays
        if len(arrays) != len(leaves):
            raise ValueError(
                f"{owner} has {len(leaves)} variables, but {len(arrays)} in the file"
            )
        for leaf, array in zip(leaves, arrays, strict=True):
            name = f"{owner}/{leaf}"
            values[name] = _fit(array, shapes[name], name)
    for owner, bias in biases.items():
        name = f"{owner}/BatchNorm/moving_mean"
        if name not in values or bias.shape != values[name].shape:
            raise ValueError(f"there is no batch normalization after {owner}")
        values[name] = values[name] - bias
    return values


def _fit(array: np.ndarray, shape: tuple[int, ...], name: str) -> np.ndarray:
    """Returns an array in our shape, if it holds the same weights."""
    # Dense layers are convolutions here.
    is_dense = array.ndim == 2 and array.shape[-1] == shape[-1]
    if array.shape != shape and not (is_dense and array.size == math.prod(shape)):
        raise ValueError(f"{name} has the shape {shape}, but {array.shape} in the file")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} would have values that are not finite")
    return array.reshape(shape).astype(np.float64)


def _fold(values: Values, row: KerasNetwork, scope: str) -> None:
    """Puts what is computed differently here into the weights."""
    theirs, ours = row.epsilons
    for name in [n for n in values if n.endswith("/gamma") and theirs != ours]:
        variance = values[name.replace("/gamma", "/moving_variance")]
        values[name] *= np.sqrt((variance + ours) / (variance + theirs))
    for name in values:
        block, _, leaf = name.rpartition("/project/")
        if leaf == "weights" and f"{block}/squeeze_excite/Conv/weights" in values:
            values[name] /= row.gate_scale
    first = next((n for n in values if values[n].shape[-2:-1] == (3,)), None)
    if first is None:
        return
    if row.mode == "caffe":
        values[first] = values[first][:, :, ::-1]
    elif row.mode == "torch":
        kernel = values[first] / _TORCH_STDDEV[:, None]
        shift = np.einsum("hwio,i->o", kernel, _VGG_MEAN - _TORCH_MEAN)
        values[first] = kernel
        values[f"{scope}BatchNorm/moving_mean"] -= shift


def _check_complete(values: Values, shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Returns the variables that Keras lacks, which are those of auxiliary logits."""
    rest = [name for name in shapes if name not in values]
    missing = [name for name in rest if not _AUXILIARY.search(f"{name}")]
    if missing:
        raise ValueError(f"{len(missing)} variables are missing, such as {missing[0]}")
    return rest


def _initialize(graph: tf.Graph, names: list[str]) -> Values:
    """Returns the initial values of variables."""
    if not names:
        return {}
    with tf.Session(graph=graph, config=tf.ConfigProto(device_count={"GPU": 0})) as s:
        variables = {v.op.name: v for v in graph.get_collection("model_variables")}
        wanted = {name: variables[name] for name in names}
        s.run([variable.initializer for variable in wanted.values()])
        return s.run(wanted)


def _add_background(values: Values, head: str) -> None:
    """Puts an output in front whose logit is the lowest."""
    weights, biases = f"{head}/weights", f"{head}/biases"
    zeros = np.zeros([*values[weights].shape[:-1], 1])
    values[weights] = np.concatenate([zeros, values[weights]], axis=-1)
    values[biases] = np.concatenate([[_BACKGROUND_LOGIT], values[biases]])
