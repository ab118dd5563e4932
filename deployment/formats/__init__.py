"""Model formats: how each is written, recognized and opened as a predictor.

    file_type, path = formats.find_file_type("out/model.onnx")
    with formats.open_predictor("out/model.onnx") as predictor:
        scores = predictor.predict(images)

A format is one file in this folder and one row in `_MODULES`; a format of your own is
registered with `formats.register(FileType(...))` in a user module.
"""

import functools
import importlib
import os
from collections.abc import Sequence

from deployment import text
from deployment.config_flags import SettingError
from deployment.formats.base import FileType, Format, import_package
from deployment.models.spec import ModelSpec
from deployment.predict.predictor import Predictor
from tf_slim_compat import tf

# Modules with a `FILE_TYPE`. A file is recognized by the last one that claims it:
# frozen graphs and checkpoints, which claim the most, come first.
_MODULES = (
    "frozen",
    "checkpoint",
    "saved_model",
    "tflite",
    "onnx",
    "openvino",
)
_HEAD_BYTES = 256
_registered: list[FileType] = []


def list_file_types() -> list[FileType]:
    """Returns all file types, registered ones last."""
    return [*_load_file_types(), *_registered]


def list_formats() -> list[str]:
    """Returns the names of all export formats."""
    return list(_get_formats())


def list_calibration_methods() -> list[str]:
    """Returns the calibration methods of all export formats."""
    found = (
        method for f in _get_formats().values() for method in f.calibration_methods
    )
    return sorted(set(found))


def get_format(name: str) -> Format:
    """Returns an export format by name.

    Raises:
      ValueError: if there is none; the message gives the nearest names.
    """
    known = _get_formats()
    if name not in known:
        raise ValueError(text.unknown("format", name, known))
    return known[name]


def check_formats(names: Sequence[str], calibration_method: str | None = None) -> None:
    """Checks a choice of export formats.

    Args:
      names: names of formats.
      calibration_method: how those that need calibration find ranges; None for the
        default of each.

    Raises:
      ValueError: if it is empty, or a format is unknown, lacks a package or does not
        have the method.
    """
    if not names:
        raise SettingError(
            f"{{{{formats}}}} is empty: choose from {', '.join(list_formats())}."
        )
    for chosen in map(get_format, names):
        for package in chosen.packages:
            import_package(package, chosen.packages, f"The format {chosen.name}")
        methods = chosen.calibration_methods
        if calibration_method and methods and calibration_method not in methods:
            raise SettingError(
                f"{{{{calibration_method}}}}={calibration_method} is not a method of "
                f"{chosen.name}, which has {', '.join(methods)}: leave it out, or "
                "export this format on its own."
            )


def register(file_type: FileType) -> None:
    """Adds a file type and its export formats for this process.

    Raises:
      ValueError: if the name of the type or of a format is taken.
    """
    taken = {known.name for known in list_file_types()} | set(list_formats())
    for name in (file_type.name, *(added.name for added in file_type.formats)):
        if name in taken:
            raise ValueError(
                f"There is a format {name!r} already: choose another name."
            )
    _registered.append(file_type)


def find_file_type(path: str) -> tuple[FileType, str]:
    """Recognizes a model by its content and, where that does not tell, its name.

    Args:
      path: a file, a folder, or the prefix of a checkpoint.

    Returns:
      The type, and the path to open, such as the folder of a SavedModel. Files of no
      other type are frozen graphs; folders of no other type are training folders.

    Raises:
      ValueError: if there is no such file or folder.
    """
    head = b""
    if tf.gfile.Exists(path) and not tf.gfile.IsDirectory(path):
        with tf.gfile.Open(path, "rb") as file:
            head = file.read(_HEAD_BYTES)
    for file_type in reversed(list_file_types()):
        found = file_type.recognize(path, head)
        if found is not None:
            return file_type, found
    raise ValueError(_explain_absence(path))


def open_predictor(
    path: str,
    output: str | None = None,
    signature: str | None = None,
    spec: ModelSpec | None = None,
    trust: bool = False,
) -> Predictor:
    """Opens a model that contains its weights and its network.

    Args:
      path: a file or folder; for a checkpoint, see `predictor.CheckpointPredictor`.
      output: node or name of the scores; None for the only one.
      signature: signature of a SavedModel; None chooses.
      spec: the model's specification, for files that contain none.
      trust: whether the model may do more than compute, such as read and write files.
        Whoever made an untrusted model could have it do anything.

    Raises:
      ValueError: if it cannot be loaded, was changed since its export, would do more
        than compute, or lacks the output or signature.
    """
    file_type, path = find_file_type(path)
    return file_type.open(path, output, signature, spec, trust)


@functools.cache
def _load_file_types() -> tuple[FileType, ...]:
    return tuple(
        importlib.import_module(f"deployment.formats.{name}").FILE_TYPE
        for name in _MODULES
    )


def _get_formats() -> dict[str, Format]:
    return {f.name: f for file_type in list_file_types() for f in file_type.formats}


def _explain_absence(path: str) -> str:
    folder, name = os.path.split(path.rstrip("/"))
    folder = folder or "."
    if not tf.gfile.IsDirectory(folder):
        return f"There is no model {path!r}: its folder does not exist either."
    endings = tuple(e for file_type in list_file_types() for e in file_type.endings)
    names = [n for n in sorted(tf.gfile.ListDirectory(folder)) if n.endswith(endings)]
    names = [found.removesuffix(".index") for found in names]
    near = text.nearest(name, names)
    found = ", ".join(near or names[-5:]) or "no model at all"
    return f"There is no model {path!r}; its folder contains {found}."
