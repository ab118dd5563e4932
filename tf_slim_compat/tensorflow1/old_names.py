"""Names that NumPy and Python have removed and programs of TensorFlow 1 use."""

import collections
import collections.abc
import fractions
import functools
import inspect
import math
import string
import time
import types
from collections.abc import Mapping
from typing import Any

import numpy as np

from tf_slim_compat.tensorflow1 import mended

_ArgSpec = collections.namedtuple("ArgSpec", "args varargs keywords defaults")


def _getargspec(function: Any) -> _ArgSpec:
    return _ArgSpec(*inspect.getfullargspec(function)[:4])


_NUMPY = {
    **{"int": int, "long": int, "float": float, "complex": complex, "object": object},
    **{"str": str, "unicode": str, "unicode_": np.str_, "string_": np.bytes_},
    **{"float_": np.float64, "complex_": np.complex128},
    **{"Inf": np.inf, "infty": np.inf, "PINF": np.inf, "NINF": -np.inf},
    **{"NaN": np.nan, "NAN": np.nan},
    **{"product": np.prod, "cumproduct": np.cumprod},
    **{"alltrue": np.all, "sometrue": np.any, "in1d": np.isin},
    **{"asscalar": lambda array: array.item(), "mat": np.asmatrix},
    **{"row_stack": np.vstack, "trapz": getattr(np, "trapezoid", None)},
}
_PYTHON = {
    collections: {
        name: getattr(collections.abc, name) for name in collections.abc.__all__
    },
    fractions: {"gcd": math.gcd},
    inspect: {"getargspec": _getargspec},
    string: {
        "letters": string.ascii_letters,
        "lowercase": string.ascii_lowercase,
        "uppercase": string.ascii_uppercase,
    },
    time: {"clock": time.process_time},
}


def _restore(module: types.ModuleType, names: Mapping[str, Any]) -> None:
    """Gives a module names that it lacks, and notes when one is used."""
    own = vars(module).get("__getattr__")

    def find(name: str) -> Any:
        if name in names:
            mended.note(f"{module.__name__}.{name}", "is restored")
            return names[name]
        if own is not None:
            return own(name)
        raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")

    module.__getattr__ = find


def _restore_fromstring() -> None:
    """Lets `np.fromstring` read bytes again, which `np.frombuffer` does now."""
    original = np.fromstring

    @functools.wraps(original)
    def fromstring(
        data: str | bytes,
        dtype: Any = float,
        count: int = -1,
        *,
        sep: str = "",
        **kw: Any,
    ) -> np.ndarray:
        if sep:
            return original(data, dtype, count, sep=sep, **kw)
        mended.note("numpy.fromstring", "reads bytes by numpy.frombuffer")
        return np.frombuffer(data, dtype, count).copy()

    np.fromstring = fromstring


def restore() -> None:
    """Restores the names; once per process."""
    _restore(np, _NUMPY)
    for module, names in _PYTHON.items():
        _restore(module, names)
    _restore_fromstring()
