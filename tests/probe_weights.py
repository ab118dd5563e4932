"""Weights with which what a network answers depends on what it sees.

Fresh weights are no such: in many networks the signal fades on its way through layers
whose moving statistics no training has fitted, and each image gets the same answer.
"""

import zlib

import numpy as np

from tf_slim_compat import tf

_AVERAGE = "/ExponentialMovingAverage"


def probe_value(name, shape, seed=0):
    """Returns the weights of the variable `name`, float32; with seed 0 the reference's.

    The reference folder's README.md says how they are drawn.
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
    """Sets the graph's weights to their probe values, and the rest as it begins."""
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
    """Fails unless the answers, of shape [n, ...], differ by their share at least."""
    assert np.ptp(answers, axis=0).max() > share * np.abs(answers).max()
