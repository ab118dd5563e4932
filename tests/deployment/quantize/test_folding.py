"""Folded layers compute what they did."""

import types

import numpy as np
import probe_weights
import pytest

from deployment.quantize import folding, matching
from tf_slim_compat import slim, tf

IMAGES = np.random.RandomState(0).standard_normal([4, 8, 8, 3]).astype(np.float32)
PLAIN = types.SimpleNamespace(
    quantize_weights=lambda weights, _: weights, is_active=None, is_frozen=None
)


def norm(is_training, **arguments):
    """Returns arguments of a layer with batch normalization and no activation."""
    parameters = {"is_training": is_training, "scale": True, "decay": 0.9, **arguments}
    return {
        "activation_fn": None,
        "normalizer_fn": slim.batch_norm,
        "normalizer_params": parameters,
    }


def conv(x, is_training):
    return slim.conv2d(x, 5, 3, **norm(is_training))


def strided(x, is_training):
    return slim.conv2d(x, 5, 3, 2, "VALID", **norm(is_training, scale=False))


def dilated(x, is_training):
    return slim.conv2d(x, 5, 3, rate=2, **norm(is_training, center=False))


def depthwise(x, is_training):
    return slim.separable_conv2d(x, None, 3, depth_multiplier=2, **norm(is_training))


def dilated_depthwise(x, is_training):
    return slim.separable_conv2d(x, None, 3, rate=2, **norm(is_training))


def fully_connected(x, is_training):
    return slim.fully_connected(slim.flatten(x), 5, **norm(is_training))


def unfused(x, is_training):
    return slim.conv2d(x, 5, 3, **norm(is_training, fused=False))


def unfused_without_variables(x, is_training):
    kind = {"fused": False, "center": False, "scale": False}
    return slim.conv2d(x, 5, 3, **norm(is_training, **kind))


def with_biases(x, is_training):
    y = slim.conv2d(x, 5, 3, activation_fn=None)
    return slim.batch_norm(y, is_training=is_training, scale=True)


def debiased(x, is_training):
    return slim.conv2d(x, 5, 3, **norm(is_training, zero_debias_moving_mean=True))


def of_tf_layers(x, is_training):
    y = tf.layers.conv2d(x, 5, 3)
    return tf.layers.batch_normalization(y, training=is_training)


LAYERS = (
    *(conv, strided, dilated, depthwise, dilated_depthwise, fully_connected),
    *(unfused, unfused_without_variables, with_biases, debiased, of_tf_layers),
)


def fold(outputs, quantizer=PLAIN):
    """Returns the folded outputs of the only layer of the graph."""
    (layer,) = matching.find_layers(tf.get_default_graph(), lambda op: True)
    assert layer.outputs is outputs
    with tf.name_scope(None):
        return folding.fold(layer, quantizer)


def assert_close(ours, theirs):
    for ours_, theirs_ in zip(ours, theirs, strict=True):
        limit = 1e-5 * max(1.0, np.abs(theirs_).max())
        np.testing.assert_allclose(ours_, theirs_, rtol=0, atol=limit)


@pytest.mark.filterwarnings("ignore:`tf.layers:UserWarning")
@pytest.mark.parametrize("is_training", [False, True])
@pytest.mark.parametrize("layer", LAYERS)
def test_outputs_and_gradients_stay(layer, is_training):
    with tf.Graph().as_default(), tf.Session() as session:
        outputs = layer(tf.constant(IMAGES), is_training)
        variables = tf.global_variables()
        folded = fold(outputs)
        assert tf.global_variables() == variables
        assert folded.shape.as_list() == outputs.shape.as_list()
        pull = np.random.RandomState(1).standard_normal(outputs.shape.as_list())
        trained = tf.trainable_variables()
        gradients = [tf.gradients(y * pull, trained) for y in (folded, outputs)]
        probe_weights.initialize(session)
        ours, theirs = session.run([folded, outputs])
        probe_weights.assert_varied(theirs)
        assert_close([ours], [theirs])
        assert_close(*session.run(gradients))


def test_frozen_statistics_are_used_and_stay():
    with tf.Graph().as_default(), tf.Session() as session:
        is_frozen = tf.placeholder(tf.bool, [])
        outputs = conv(tf.constant(IMAGES), True)
        updates = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
        quantizer = types.SimpleNamespace(**vars(PLAIN) | {"is_frozen": is_frozen})
        folded = fold(outputs, quantizer)
        y = tf.nn.convolution(tf.constant(IMAGES), tf.global_variables()[0], "SAME")
        gamma, beta, mean, variance = tf.global_variables()[1:]
        evaluated = tf.nn.batch_normalization(y, mean, variance, beta, gamma, 1e-3)
        gradients = [tf.gradients(t**2, [gamma, beta])[0] for t in (folded, evaluated)]
        probe_weights.initialize(session)
        assert_close(*[[v] for v in session.run([folded, outputs], {is_frozen: False})])
        before = session.run([mean, variance])
        ours, theirs, *pair = session.run(
            [folded, evaluated, *gradients], {is_frozen: True}
        )
        assert_close([ours, pair[0]], [theirs, pair[1]])
        session.run(updates, {is_frozen: True})
        np.testing.assert_array_equal(session.run([mean, variance])[0], before[0])
        session.run(updates, {is_frozen: False})
        for ours, theirs in zip(session.run([mean, variance]), before, strict=True):
            assert np.abs(ours - theirs).min() > 0


def test_the_update_of_the_moving_averages_comes_after_their_use():
    with tf.Graph().as_default():
        outputs = conv(tf.constant(IMAGES), True)
        fold(outputs)
        for update in tf.get_collection(tf.GraphKeys.UPDATE_OPS):
            reads = [op for op in update.control_inputs if op.type == "ReadVariableOp"]
            assert {op.inputs[0].op.name for op in reads} == {
                "Conv/BatchNorm/moving_mean",
                "Conv/BatchNorm/moving_variance",
            }


def test_batch_normalization_of_a_tensor_that_chooses_training_is_left_alone():
    with tf.Graph().as_default():
        conv(tf.constant(IMAGES), tf.placeholder(tf.bool, []))
        (layer,) = matching.find_layers(tf.get_default_graph(), lambda op: True)
        assert layer.batch_norm is None
