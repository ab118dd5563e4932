"""The modules that programs of TensorFlow 1 import: `tensorflow`, `tf.contrib`, ..."""

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import operator
import os
import sys
import types
from collections.abc import Sequence
from typing import Any

import tensorflow
from absl import flags
from tensorflow.python.autograph.pyct import inspect_utils

from tf_slim_compat import contrib, tf
from tf_slim_compat.tensorflow1 import mended, old_names, python2

_CONTRIB = "tensorflow.contrib"
# Packages of tf_slim that were packages of `tf.contrib`.
_IN_TF_SLIM = {
    "framework": "tf_slim.ops",
    "layers": "tf_slim.layers",
    "losses": "tf_slim.losses",
    "metrics": "tf_slim.metrics",
    "slim": "tf_slim",
    "training": "tf_slim.training",
}
# Other modules with all that is in them; the first that is named so applies.
_MOVED = {
    "keras": "tf_keras.api._v1.keras",
    "tensorflow.estimator": "tf_slim_compat.estimator",
    "tensorflow.examples.tutorials.mnist.input_data": (
        "tf_slim_compat.tensorflow1.mnist_files"
    ),
    "tensorflow.keras": "tf_keras.api._v1.keras",
    "tensorflow.layers": "tf_slim_compat.layers",
    "tensorflow.python.estimator": "tensorflow_estimator.python.estimator",
}
_EXAMPLES = (
    *("tensorflow.examples", "tensorflow.examples.tutorials"),
    "tensorflow.examples.tutorials.mnist",
)
# Names that modules of TensorFlow 1 had, with where they are now.
_RESTORED = {
    "framework.graph_util": (
        *("convert_variables_to_constants", "extract_sub_graph"),
        *(
            "must_run_on_cpu",
            "remove_training_nodes",
            "tensor_shape_from_node_def_name",
        ),
    ),
    "pywrap_tensorflow": ("NewCheckpointReader",),
}


class _TensorFlow(types.ModuleType):
    """`import tensorflow` as programs of TensorFlow 1 see it: its names, graph mode."""

    def __init__(self) -> None:
        super().__init__("tensorflow", tf.__doc__)
        for name in ("__file__", "__loader__", "__path__", "__spec__", "compat"):
            setattr(self, name, getattr(tensorflow, name))

    def __getattr__(self, name: str) -> Any:
        try:
            return getattr(tf, name)
        except AttributeError:
            if f"tensorflow.{name}" not in sys.modules:
                raise
            return sys.modules[f"tensorflow.{name}"]

    def __dir__(self) -> list[str]:
        return sorted({*vars(self), *dir(tf)})


def _import(name: str, target: str) -> types.ModuleType:
    """Imports what stands for a module.

    Raises:
      ImportError: if that is not installed.
    """
    try:
        return importlib.import_module(target)
    except ModuleNotFoundError as error:
        if not target.startswith(error.name or " "):
            raise
        raise ImportError(
            f"{name} needs the module {error.name}, which is not installed."
        ) from error


def _find_in_contrib(parts: list[str]) -> types.ModuleType:
    """Returns the module of `tf.contrib.A.python.B.C` or `tf.contrib.A.C`.

    The folders `python.B` are left out; what was in a file C is in the module A.

    Raises:
      ImportError: if it is not built.
    """
    name, *rest = parts
    try:
        module = contrib.find_module(name)
    except AttributeError as error:
        raise ImportError(str(error)) from None
    is_folder = rest[:1] == ["python"]
    rest = rest[2:] if is_folder else rest
    if not rest:
        return module
    inner = ".".join(rest)
    if name in _IN_TF_SLIM and _exists(f"{_IN_TF_SLIM[name]}.{inner}"):
        return importlib.import_module(f"{_IN_TF_SLIM[name]}.{inner}")
    try:
        found = operator.attrgetter(inner)(module)
    except AttributeError as error:
        if is_folder:
            return module
        raise ImportError(str(error)) from None
    return found if isinstance(found, types.ModuleType) else module


def _exists(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def _find_moved(fullname: str) -> types.ModuleType | None:
    """Returns what stands for a module of TensorFlow 1, None where it is in place.

    Raises:
      ImportError: if that is not installed or not built.
    """
    if fullname == _CONTRIB:
        return contrib
    if fullname.startswith(f"{_CONTRIB}."):
        return _find_in_contrib(fullname.split(".")[2:])
    if fullname in _EXAMPLES:
        return types.ModuleType(fullname)
    for old, new in _MOVED.items():
        if f"{fullname}.".startswith(f"{old}."):
            if "estimator" in old:
                _import("tf.estimator", "tf_slim_compat.estimator")
            mended.note(old, f"is {new}")
            return _import(fullname, new + fullname[len(old) :])
    if fullname.startswith("tensorflow.examples"):
        raise ImportError(
            f"{fullname} is not built in tf_slim_compat; of TensorFlow's examples, "
            "tensorflow.examples.tutorials.mnist.input_data is."
        )
    return None


def _check_contrib(fullname: str, path: Sequence[str] | None) -> None:
    """Explains what `from tensorflow.contrib.module import name` does not find.

    Python takes a name that a module lacks for a module in it.

    Raises:
      ImportError: if neither is there.
    """
    if importlib.machinery.PathFinder.find_spec(fullname, path) is None:
        parent, _, name = fullname.rpartition(".")
        try:
            getattr(sys.modules[parent], name)
        except AttributeError as error:
            raise ImportError(str(error)) from None


class _Existing(importlib.abc.Loader):
    """Gives a module that is loaded under another name."""

    def __init__(self, module: types.ModuleType) -> None:
        self._module = module
        self._kept = module.__spec__

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return self._module

    def exec_module(self, module: types.ModuleType) -> None:
        module.__spec__ = self._kept
        # Makes `from module import name` look for the name here, which explains it.
        if "__path__" not in vars(module):
            module.__path__ = []


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the modules of TensorFlow 1, and programs in Python 2."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: types.ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname.startswith(f"{contrib.__name__}."):
            _check_contrib(fullname, path)
        if f"{fullname}.".partition(".")[0] not in ("tensorflow", "keras"):
            return python2.find_spec(fullname, path)
        module = _find_moved(fullname)
        if module is None:
            return None
        return importlib.machinery.ModuleSpec(
            fullname, _Existing(module), is_package=True
        )


def _mend_flags() -> None:
    """Lets programs define flags that absl has, and parse flags as once was usual."""
    for module in ("absl.app", "absl.logging"):
        for flag in flags.FLAGS.flags_by_module_dict().get(module, ()):
            flag.allow_override = True
    flags.FlagValues._parse_flags = lambda self, args=None: self(args or sys.argv)


def _restore_names() -> None:
    for place, names in _RESTORED.items():
        module = importlib.import_module(f"tensorflow.python.{place}")
        for name in names:
            for now in (tf.graph_util, tf.train):
                if not hasattr(module, name) and hasattr(now, name):
                    setattr(module, name, getattr(now, name))


def install() -> None:
    """Makes this process see TensorFlow 1: `tensorflow`, `tf.contrib` and the like.

    Variables are of TensorFlow 1's kind, not resources, so that they can be fed and
    fetched by name.
    """
    if isinstance(sys.modules["tensorflow"], _TensorFlow):
        return
    # `tf.keras` and `tf.nn.rnn_cell` read it when they are first used.
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    tf.disable_resource_variables()
    tf.contrib = contrib
    _restore_names()
    tf.pywrap_tensorflow = importlib.import_module(
        "tensorflow.python.pywrap_tensorflow"
    )
    _mend_flags()
    # It would have AutoGraph read the files of sources that were translated.
    inspect_utils._fix_linecache_record = lambda entity: None
    sys.modules["tensorflow"] = _TensorFlow()
    # Finders that come before the one of Python, such as pytest's, stay there.
    finder = importlib.machinery.PathFinder
    sys.meta_path.insert(sys.meta_path.index(finder), _Finder())
    old_names.restore()
    mended.note("import tensorflow", f"gives TensorFlow {tf.__version__} in graph mode")
