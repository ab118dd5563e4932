"""Reads the weights in files of Keras as arrays by layer: .h5, .weights.h5 and .keras.

A file is not trusted: no layer is deserialized, no link is followed, and what is read
is limited by the size of the file. This module does not import TensorFlow.
"""

import contextlib
import json
import os
import re
import shutil
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np

Layers = dict[str, list[np.ndarray]]

# Keras compresses neither; weights hardly shrink.
_MOST_GROWTH = 8
_SMALL_BYTES = 1 << 20
_VARIABLES = re.compile(r"(?P<layer>.*)/vars/(?P<number>\d+)")


def read_layers(path: str) -> Layers:
    """Reads the weights in a file of Keras.

    Args:
      path: a file of weights or of a whole model: HDF5 (.h5), HDF5 of Keras 3
        (.weights.h5), or a zip archive (.keras).

    Returns:
      The arrays of each layer that has any, by the layer's name, in the order of the
      file and of the layer's variables. The layers of nested models are among them.

    Raises:
      ValueError: if it is another kind of file, damaged or truncated.
      OSError: if there is no such file.
    """
    if not os.path.isfile(path):
        raise OSError(f"There is no file {path!r}: give a file of weights of Keras.")
    with _naming_damage(path):
        if zipfile.is_zipfile(path):
            return _read_archive(path)
        return _read_hdf5(path, {})


@contextlib.contextmanager
def _naming_damage(path: str) -> Iterator[None]:
    """Turns errors of the readers into a `ValueError` that names the file."""
    try:
        yield
    # h5py and zipfile raise a dozen kinds: RuntimeError, KeyError, NotImplementedError.
    except Exception as error:
        reason = str(error.args[0] if error.args else error) or type(error).__name__
        raise ValueError(
            f"{path!r} holds no weights of Keras, or it is damaged or truncated "
            f"({reason.splitlines()[0].rstrip('.')}): give a .h5, .weights.h5 or "
            ".keras file, and download it again if it was one."
        ) from error


def _read_archive(path: str) -> Layers:
    """Reads a .keras file, a zip archive of the weights and the configuration."""
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo("model.weights.h5")
        _check_growth(path, member.file_size)
        config = archive.getinfo("config.json")
        _check_growth(path, config.file_size)
        names = _name_layers(json.loads(archive.read(config)))
        with tempfile.NamedTemporaryFile(suffix=".h5") as file:
            with archive.open(member) as source:
                shutil.copyfileobj(source, file)
            file.flush()
            return _read_hdf5(file.name, names)


def _check_growth(path: str, size: int) -> None:
    if size > _MOST_GROWTH * os.path.getsize(path) + _SMALL_BYTES:
        raise ValueError(f"it would expand to {size} bytes")


def _name_layers(config: Any) -> dict[str, str]:
    """Returns a layer's name in the model by its name in the weights.

    The latter is the layer's class and a count. Newer versions of Keras also store the
    former with the weights.
    """
    counts, names = Counter(), {}
    for layer in config["config"].get("layers", ()):
        kind = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", str(layer["class_name"]))
        kind = re.sub(r"([a-z])([A-Z])", r"\1_\2", kind).lower()
        stored = f"{kind}_{counts[kind]}" if counts[kind] else kind
        counts[kind] += 1
        names[stored] = str(layer["config"]["name"])
    return names


def _read_hdf5(path: str, names: dict[str, str]) -> Layers:
    with h5py.File(path, "r") as file:
        found = _list_datasets(file)
        total = sum(dataset.nbytes for dataset in found.values())
        _check_growth(path, total)
        root = file.get("model_weights", file)
        if "layer_names" in root.attrs or "layer_names0" in root.attrs:
            layers = _read_legacy(root, found)
        else:
            layers = _read_numbered(file, found, names)
    if not layers:
        raise ValueError("it holds no layers")
    return layers


def _list_datasets(file: h5py.File) -> dict[str, h5py.Dataset]:
    """Returns the datasets of a file that lie in it, by path."""
    found = {}

    def visit(name: str, item: h5py.Group | h5py.Dataset) -> None:
        # Soft and external links are not visited.
        if not isinstance(item, h5py.Dataset) or item.dtype.kind != "f":
            return
        if item.is_virtual or item.external:
            raise ValueError(f"{name} lies in another file")
        found[name] = item

    file.visititems(visit)
    return found


def _read_legacy(root: h5py.Group, found: dict[str, h5py.Dataset]) -> Layers:
    """Reads the format of Keras 1 and 2: attributes list the layers and weights."""
    prefix, layers = root.name.strip("/"), {}
    for layer in _read_names(root, "layer_names"):
        weights = _read_names(root[layer], "weight_names")
        # A nested model has the weights of several layers.
        is_nested = len({os.path.dirname(weight) for weight in weights}) > 1
        for weight in weights:
            name = os.path.dirname(weight).split("/")[-1] if is_nested else layer
            path = "/".join(part for part in (prefix, layer, weight) if part)
            layers.setdefault(name, []).append(_read_values(found[path]))
    return layers


def _read_names(group: h5py.Group, attribute: str) -> list[str]:
    """Returns a list of names; long ones are in several numbered attributes."""
    parts = [group.attrs[attribute]] if attribute in group.attrs else []
    while f"{attribute}{len(parts)}" in group.attrs:
        parts.append(group.attrs[f"{attribute}{len(parts)}"])
    names = (name for part in parts for name in part)
    return [n.decode() if isinstance(n, bytes) else str(n) for n in names]


def _read_numbered(
    file: h5py.File, found: dict[str, h5py.Dataset], names: dict[str, str]
) -> Layers:
    """Reads the format of Keras 3: the variables of a layer are numbered."""
    variables = {}
    for path, dataset in found.items():
        if (match := _VARIABLES.fullmatch(path)) and "optimizer" not in path:
            arrays = variables.setdefault(match["layer"], {})
            arrays[int(match["number"])] = dataset
    layers = {}
    for path, arrays in variables.items():
        stored = re.split(r"[/\\]", path)[-1]
        name = file[f"{path}/vars"].attrs.get("name", names.get(stored))
        if name is None:
            raise ValueError(
                "an older version of Keras saved it without the names of layers; save "
                "the model as .keras or .h5"
            )
        layers[str(name)] = [_read_values(arrays[i]) for i in sorted(arrays)]
    return layers


def _read_values(dataset: h5py.Dataset) -> np.ndarray:
    return np.asarray(dataset[()], np.float32)
