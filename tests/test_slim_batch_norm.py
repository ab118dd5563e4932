"""Batch normalization: results, variables and graph."""

import numpy as np
import pytest

from tf_slim_compat import batch_norm_decay_warmup, slim, tf

pytestmark = pytest.mark.usefixtures("graph")

VARIABLES = {
    "beta": [0.5, -1.0, 2.0],
    "gamma": [1.5, 0.5, -1.0],
    "moving_mean": [1.0, 2.0, 3.0],
    "moving_variance": [0.5, 1.0, 4.0],
}
SHAPES = [(8, 3), (4, 7, 3), (4, 5, 6, 3), (2, 4, 5, 6, 3), (2, 2, 3, 4, 2, 3)]


def sample(shape, dtype=np.float32):
    return np.random.default_rng(0).normal(1.0, 2.0, shape).astype(dtype)


def to_data_format(x, data_format):
    return x if data_format == "NHWC" else np.moveaxis(x, -1, 1)


def initializers():
    return {name: tf.constant_initializer(value) for name, value in VARIABLES.items()}


def normalize(x, mean, variance, epsilon):
    gamma, beta = np.array(VARIABLES["gamma"]), np.array(VARIABLES["beta"])
    return (x - mean) / np.sqrt(variance + epsilon) * gamma + beta


def batch_statistics(x):
    """Returns mean, variance and Bessel-corrected variance of each channel."""
    rows = x.reshape(-1, x.shape[-1]).astype(np.float64)
    return rows.mean(0), rows.var(0), rows.var(0, ddof=1)


def count_ops(graph, op_type):
    return sum(op.type == op_type for op in graph.get_operations())


def variable(name):
    return slim.get_variables_by_name(name)[0]


@pytest.mark.parametrize("mode", ["bool", "tensor"])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("data_format", ["NHWC", "NCHW"])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"rank{len(shape)}")
def test_equals_numpy(run, shape, data_format, training, mode):
    x = sample(shape)
    outputs = slim.batch_norm(
        tf.constant(to_data_format(x, data_format)),
        decay=0.9,
        scale=True,
        epsilon=0.01,
        param_initializers=initializers(),
        is_training=training
        if mode == "bool"
        else tf.placeholder_with_default(training, []),
        data_format=data_format,
    )
    updates = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
    actual, _ = run([outputs, updates])
    averages = run([variable("moving_mean"), variable("moving_variance")])

    old_averages = [np.array(VARIABLES[name]) for name in list(VARIABLES)[2:]]
    if training:
        mean, variance, unbiased = batch_statistics(x)
        new = [0.9 * old_averages[0] + 0.1 * mean]
        new.append(0.9 * old_averages[1] + 0.1 * unbiased)
    else:
        (mean, variance), new = old_averages, old_averages
    expected = to_data_format(normalize(x, mean, variance, 0.01), data_format)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(averages, new, rtol=1e-5)
    assert outputs.shape == expected.shape


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("training", [True, False])
def test_half_precision_has_float32_variables(run, dtype, training):
    x = sample((4, 5, 6, 3))
    outputs = slim.batch_norm(
        tf.cast(x, dtype),
        scale=True,
        param_initializers=initializers(),
        is_training=training,
    )
    assert outputs.dtype == dtype
    assert {v.dtype for v in slim.get_model_variables()} == {tf.float32}
    mean, variance, _ = batch_statistics(x)
    if not training:
        mean, variance = VARIABLES["moving_mean"], VARIABLES["moving_variance"]
    expected = normalize(x, np.array(mean), np.array(variance), 0.001)
    np.testing.assert_allclose(run(tf.cast(outputs, tf.float32)), expected, atol=0.1)


def test_float64_keeps_its_precision(run):
    x = sample((8, 3), np.float64)
    outputs = slim.batch_norm(tf.constant(x), epsilon=1e-12)
    mean, variance, _ = batch_statistics(x)
    np.testing.assert_allclose(run(outputs), (x - mean) / variance**0.5, rtol=1e-9)


def test_unknown_sizes_stay_unknown(run):
    x = tf.placeholder(tf.float32, [None, None, 3])
    outputs = slim.batch_norm(x)
    assert outputs.shape.as_list() == [None, None, 3]
    assert run(outputs, {x: sample((4, 7, 3))}).shape == (4, 7, 3)


@pytest.mark.parametrize("rank", [2, 4, 5])
@pytest.mark.parametrize("training", [True, False])
def test_graph_is_small(graph, rank, training):
    x = tf.placeholder(tf.float32, [2, 3, 4, 5, 6][-rank:])
    before = len(graph.get_operations())
    slim.batch_norm(x, is_training=training)
    assert count_ops(graph, "FusedBatchNormV3") == 1
    assert count_ops(graph, "Switch") == count_ops(graph, "Cast") == 0
    assert count_ops(graph, "AssignSubVariableOp") == (2 if training else 0)
    # Five operations for each of three variables; the kernel and its inputs; five for
    # each update, and the rate and the check of the variance for both; two reshapes and
    # a shape for rank 2.
    added = len(graph.get_operations()) - before
    assert added == 15 + (5 + 12 if training else 5) + (4 if rank == 2 else 0)


def test_node_names(graph):
    x = tf.placeholder(tf.float32, [2, 5, 5, 3])
    assert slim.batch_norm(x).op.name == "BatchNorm/FusedBatchNormV3"
    assert slim.batch_norm(x, scope="bn").op.name == "bn/FusedBatchNormV3"
    updates = [op.name for op in tf.get_collection(tf.GraphKeys.UPDATE_OPS)]
    assert updates == [
        "BatchNorm/AssignMovingAvg",
        "BatchNorm/AssignMovingAvg_1",
        "bn/AssignMovingAvg",
        "bn/AssignMovingAvg_1",
    ]


def test_variables_and_their_collections():
    x = tf.placeholder(tf.float32, [2, 5, 5, 3])
    collections = {"gamma": ["g"], "moving_mean": ["m", "n"]}
    slim.batch_norm(x, scale=True, scope="a", variables_collections=collections)
    names = ["a/gamma", "a/beta", "a/moving_mean", "a/moving_variance"]
    assert [v.op.name for v in slim.get_model_variables()] == names
    assert [v.op.name for v in tf.global_variables()] == names
    assert [v.op.name for v in tf.trainable_variables()] == names[:2]
    assert not tf.moving_average_variables()
    assert tf.get_collection("g") == [variable("gamma")]
    assert tf.get_collection("m") == tf.get_collection("n") == [variable("moving_mean")]


def test_untrainable_layer_has_no_trainable_variables():
    x = tf.placeholder(tf.float32, [2, 5, 5, 3])
    slim.batch_norm(x, scale=True, trainable=False)
    assert not tf.trainable_variables()
    assert len(slim.get_model_variables()) == 4


def test_reuse_adds_updates_and_no_variables():
    x = tf.placeholder(tf.float32, [2, 5, 5, 3])
    slim.batch_norm(x, scope="bn")
    slim.batch_norm(x, scope="bn", reuse=True)
    assert len(tf.global_variables()) == 3
    assert len(tf.get_collection(tf.GraphKeys.UPDATE_OPS)) == 4


def test_regularizers_outputs_collection_and_activation():
    x = tf.placeholder(tf.float32, [2, 5, 5, 3])
    outputs = slim.batch_norm(
        x,
        scale=True,
        param_regularizers={"gamma": slim.l2_regularizer(0.1)},
        outputs_collections="ends",
        activation_fn=tf.nn.relu,
        scope="bn",
    )
    assert outputs.op.type == "Relu"
    assert tf.get_collection("ends") == [outputs]
    assert outputs.aliases == ["bn"]
    assert len(tf.losses.get_regularization_losses()) == 1


def test_arg_scope_applies_under_every_name():
    x = tf.placeholder(tf.float32, [2, 5, 5, 3])
    with slim.arg_scope([slim.layers.batch_norm], center=False, scope="bn"):
        slim.batch_norm(x)
    names = {v.op.name for v in slim.get_model_variables()}
    assert names == {"bn/moving_mean", "bn/moving_variance"}


def test_outputs_depend_on_updates_without_collections(run):
    x = sample((8, 3))
    outputs = slim.batch_norm(tf.constant(x), decay=0.0, updates_collections=None)
    assert not tf.get_collection(tf.GraphKeys.UPDATE_OPS)
    run(outputs)
    mean, _, unbiased = batch_statistics(x)
    np.testing.assert_allclose(run(variable("moving_mean")), mean, rtol=1e-5)
    np.testing.assert_allclose(run(variable("moving_variance")), unbiased, rtol=1e-5)


def test_several_update_collections():
    slim.batch_norm(tf.zeros([2, 3]), updates_collections=["a", "b"])
    assert len(tf.get_collection("a")) == len(tf.get_collection("b")) == 2


@pytest.mark.parametrize("fused", [None, False])
def test_batch_weights(run, fused):
    x = sample((4, 5, 6, 3))
    weights = np.array([1.0, 0.0, 2.0, 1.0], np.float32)
    outputs = slim.batch_norm(tf.constant(x), batch_weights=weights, fused=fused)
    mean, variance, _ = batch_statistics(x[[0, 2, 2, 3]])
    expected = (x - mean) / np.sqrt(variance + 0.001)
    np.testing.assert_allclose(run(outputs), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("data_format", ["NHWC", "NCHW"])
def test_adjustment_only_in_training(run, data_format):
    x = sample((4, 5, 6, 3))
    training = tf.placeholder(tf.bool, [])

    def adjust(shape):
        ones = tf.ones([shape[0], 1, 1, 1])
        return 2.0 * ones, 3.0 * ones

    outputs = slim.batch_norm(
        tf.constant(to_data_format(x, data_format)),
        scale=True,
        param_initializers=initializers(),
        is_training=training,
        data_format=data_format,
        adjustment=adjust,
    )
    mean, variance, _ = batch_statistics(x)
    adjusted = (x - mean) / np.sqrt(variance + 0.001) * 2.0 + 3.0
    expected = [
        adjusted * VARIABLES["gamma"] + VARIABLES["beta"],
        normalize(
            x, *(np.array(VARIABLES[name]) for name in list(VARIABLES)[2:]), 0.001
        ),
    ]
    for is_training, values in zip([True, False], expected, strict=True):
        np.testing.assert_allclose(
            run(outputs, {training: is_training}),
            to_data_format(values, data_format),
            rtol=1e-4,
            atol=1e-4,
        )


@pytest.mark.parametrize("fused", [True, False])
def test_zero_debias_is_the_mean_from_the_first_step(run, fused):
    x = sample((8, 3))
    training = tf.placeholder_with_default(True, [])
    with batch_norm_decay_warmup(0):
        slim.batch_norm(
            tf.constant(x),
            zero_debias_moving_mean=True,
            is_training=training,
            fused=fused,
        )
    updates = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
    assert len(updates) == 2
    run(updates, {training: False})
    np.testing.assert_array_equal(run(variable("moving_mean")), np.zeros(3))
    run(updates)
    np.testing.assert_allclose(run(variable("moving_mean")), x.mean(0), rtol=1e-4)


@pytest.mark.parametrize(
    ("inputs", "arguments", "message"),
    [
        ([2, 5, 5, 3], {"data_format": "CHWN"}, "either NCHW or NHWC, not 'CHWN'"),
        (None, {}, "undefined rank"),
        ([3], {}, "rank 1"),
        ([2, 5, 5, None], {}, "number of channels"),
        ([2, None, 5, 5], {"data_format": "NCHW"}, "number of channels"),
        ([2, 3], {"renorm": True}, "renorm=True"),
        ([2, 3], {"batch_weights": [1.0, 1.0, 1.0]}, "one batch weight per example"),
    ],
)
def test_bad_arguments_are_errors(inputs, arguments, message):
    with pytest.raises(ValueError, match=message):
        slim.batch_norm(tf.placeholder(tf.float32, inputs), **arguments)
