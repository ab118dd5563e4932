"""Imports modules of users, which register networks, datasets, tasks and the like."""

import importlib
import importlib.util
import os
import sys
import types
from collections.abc import Iterable

_loaded: dict[str, types.ModuleType] = {}


def load(names: Iterable[str]) -> tuple[str, ...]:
    """Imports user modules, each once in a process.

    Args:
      names: paths of Python files, which end in '.py', or importable names. The folder
        of a file is searched for what the file itself imports.

    Returns:
      The names to record in a run card: files as absolute paths.

    Raises:
      ValueError: if a module cannot be found, or raises an error.
    """
    return tuple(_load(name) for name in names)


def blame(error: BaseException) -> str | None:
    """Returns one sentence on an error raised in a user module or in what it called.

    None if the error passed through none.
    """
    for name, module in _loaded.items():
        line = _locate(error, getattr(module, "__file__", None) or name)
        if line:
            return (
                f"The user module {name!r} failed: {type(error).__name__}: {error}"
                f"{line}; --verbosity=1 shows the traceback."
            )
    return None


def _load(name: str) -> str:
    is_file = name.endswith(".py")
    key = os.path.abspath(name) if is_file else name
    if key in _loaded:
        return key
    if is_file and not os.path.isfile(key):
        raise ValueError(f"There is no file {name!r} to import as a user module.")
    try:
        _loaded[key] = _import_file(key) if is_file else importlib.import_module(name)
    except Exception as error:
        raise ValueError(
            f"The user module {name!r} cannot be imported: {type(error).__name__}: "
            f"{error}{_locate(error, key)}."
        ) from error
    return key


def _import_file(path: str) -> types.ModuleType:
    stem = os.path.basename(path).removesuffix(".py")
    spec = importlib.util.spec_from_file_location(f"user_module_{stem}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    # At the end: a file next to it must not hide an installed package.
    if os.path.dirname(path) not in sys.path:
        sys.path.append(os.path.dirname(path))
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[spec.name]
        raise
    return module


def _locate(error: BaseException, path: str) -> str:
    """Returns the line of the file where an error was raised, as text."""
    line = getattr(error, "lineno", None)
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == path:
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    return f" (line {line})" if line else ""
