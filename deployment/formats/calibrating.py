"""What quantizing with calibrated ranges has in common over formats."""

import contextlib
import io
from collections.abc import Callable, Collection, Iterator
from typing import Any

import numpy as np

from deployment.formats import base
from deployment.formats.freezing import FrozenModel


def calibrate(
    converted: Any,
    model: FrozenModel,
    options: base.ExportOptions,
    methods: Collection[str],
    quantize: Callable[[Any, np.ndarray, str], Any],
) -> Any:
    """Quantizes a converted model, unless it was trained with fake quantization.

    Such a model has its ranges from there.

    Args:
      converted: the model in its format.
      model: what it was converted from.
      options: the images to calibrate with, and the method.
      methods: the format's methods, the default first.
      quantize: called as `quantize(converted, images, method)`.
    """
    if model.spec.quantize:
        return converted
    method = options.choose_method(methods)
    return quantize(converted, options.calibration_images, method)


@contextlib.contextmanager
def naming_errors(tool: str) -> Iterator[None]:
    """Within, holds back what a tool prints, and makes its errors a ValueError."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    except Exception as error:  # They have no common base class.
        reason = (str(error).splitlines() or ["no reason given"])[0].rstrip(".")
        raise ValueError(f"{tool} cannot quantize the network: {reason}.") from error
