"""The versions of the software that a run or a report of a fault depends on.

This module does not import TensorFlow.
"""

import importlib.metadata
import platform
from collections.abc import Sequence

_OF_RESULTS = ("tensorflow", "tf-slim", "numpy")


def list_versions(packages: Sequence[str] = _OF_RESULTS) -> dict[str, str]:
    """Returns the versions of Python and of packages by name."""
    return {"python": platform.python_version()} | {n: _find(n) for n in packages}


def _find(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
