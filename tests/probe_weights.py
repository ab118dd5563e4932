"""Weights that make a network's output depend on its input.

With fresh weights the signal fades in many networks, since no training has fitted the
moving statistics of their layers, and every image gets the same output.
"""

import zlib

import numpy as np

from tf_slim_compat import tf

_AVERAGE = "/ExponentialMovingAverage"


def probe_value(name, shape, seed=0):
    """Returns float32 weights for the variable `name`; seed 0 gives the reference's.

    The reference folder's README.md describes how they are sampled.
    """
    stream = np.random.RandomState((zlib.crc32(name.encode()) + seed) & 0x7FFFFFFF)
    leaf = name.removesuffix(_AVERAGE).split("/")[-1]
    if leaf == "moving_variance":
        return stream.uniform(0.5, 1.5, shape).astype(np.float32)
    if leaf == "gamma":
        return stream.uniform(0.8, 1.2, shape).astype(np.float32)
    if leaf in ("beta", "biases", "moving_mean"):
        return (stream.standard_normal(shape) * 0.1).astype(np.float32)
    fan_in = np.prod(shape[:2] if "depthwise_weights" in leaf else shape[:-1])
    scale = np.sqrt(2.0 / max(fan_in, 1))
    return (stream.standard_normal(shape) * scale).astype(np.float32)


def initialize(session, seed=0):
    """Sets float variables to their probe values and initializes the others."""
    variables = tf.global_variables()
    values = {
        variable.initializer.inputs[1]: probe_value(
            variable.op.name, variable.shape.as_list(), seed
        )
        for variable in variables
        if variable.dtype.base_dtype == tf.float32
    }
    session.run([variable.initializer for variable in variables], values)


def assert_varied(answers, share=0.01):
    """Fails unless the answers, [n, ...], vary by `share` of their largest value."""
    assert np.ptp(answers, axis=0).max() > share * np.abs(answers).max()
