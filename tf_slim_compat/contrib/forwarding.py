"""Modules of `tf.contrib` whose names live elsewhere today."""

import pkgutil
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

TF = "tensorflow.compat.v1"


def explain_missing(name: str, instead: str) -> str:
    """Returns the sentence for a name of TensorFlow 1 that is not built here."""
    return f"{name} is not built in tf_slim_compat; {instead}."


def make_getattr(
    module: str,
    places: Sequence[str] = (),
    renamed: Mapping[str, str] | None = None,
    instead: Mapping[str, str] | None = None,
) -> Callable[[str], Any]:
    """Returns a `__getattr__` for a module of `tf.contrib`.

    Args:
      module: name of the module in `tf.contrib`, such as "layers".
      places: what is searched, in this order: "module" or "module:attribute".
      renamed: name -> "module:attribute" of what has another name today.
      instead: name -> what to use instead, for names that are not built. "" is for all
        others.
    """
    renamed = renamed or {}
    instead = instead or {}

    def find(name: str) -> Any:
        if name in renamed:
            return pkgutil.resolve_name(renamed[name])
        if not name.startswith("_"):
            for place in () if name in instead else places:
                if hasattr(found := pkgutil.resolve_name(place), name):
                    return getattr(found, name)
        near = instead.get(name, instead.get("", "nothing here replaces it"))
        raise AttributeError(explain_missing(f"tf.contrib.{module}.{name}", near))

    return find


class Forwarding(types.ModuleType):
    """A module of `tf.contrib` without code of its own."""

    def __init__(self, name: str, *places: str):
        super().__init__(f"tf_slim_compat.contrib.{name}", "Names that moved.")
        self._find = make_getattr(name, places)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._find(name)
