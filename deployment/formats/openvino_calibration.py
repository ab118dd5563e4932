"""Quantizes OpenVINO models to 8 bits with calibrated ranges, by the package nncf."""

import logging
import os
from typing import Any

import numpy as np

from deployment.formats import base, calibrating

PACKAGES = ("openvino", "nncf")
# Methods and the names that NNCF has for them.
METHODS = {"minmax": "MINMAX", "histogram": "HISTOGRAM"}
# Read when nncf is imported, which would send statistics of its use to its authors.
os.environ.setdefault("NNCF_CI", "1")


def quantize(model: Any, images: np.ndarray, method: str) -> Any:
    """Returns a model that computes in 8-bit integers.

    Each output channel of the weights has its own range, and the biases are corrected
    for the mean error of the layers.

    Args:
      model: an OpenVINO model with a single input.
      images: float32 [n, height, width, channels], preprocessed.
      method: how the ranges of activations are found, one of `METHODS`.

    Raises:
      ValueError: if NNCF cannot quantize the model.
    """
    nncf = base.import_package("nncf", PACKAGES, "The format openvino_int8")
    logging.getLogger("nncf").setLevel(logging.ERROR)
    estimators = nncf.quantization.range_estimator.RangeEstimatorParametersSet
    with calibrating.naming_errors("NNCF"):
        return nncf.quantize(
            model,
            nncf.Dataset([image[None] for image in images]),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(images),
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                activations_range_estimator_params=getattr(estimators, METHODS[method])
            ),
        )
