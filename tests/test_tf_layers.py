"""`tf.layers`: names, variables, outputs and gradients of every layer."""

import inspect
import typing
from collections.abc import Callable

import numpy as np
import pytest

from tf_slim_compat import layers, tf

pytestmark = [
    pytest.mark.usefixtures("graph"),
    # pytest resets the filter that hides them.
    pytest.mark.filterwarnings("ignore:`tf.layers:UserWarning"),
]

CLASSES = (
    "AveragePooling1D AveragePooling2D AveragePooling3D BatchNormalization Conv1D "
    "Conv2D Conv2DTranspose Conv3D Conv3DTranspose Dense Dropout Flatten InputSpec "
    "Layer MaxPooling1D MaxPooling2D MaxPooling3D SeparableConv1D SeparableConv2D "
    "experimental"
)
# The arguments in TensorFlow 1.15, after `inputs`.
_CONV = "filters kernel_size strides padding data_format"
_DEPTHWISE = "depthwise_{0} pointwise_{0} bias_{0}"
_END = "trainable name reuse"
_WEIGHTS = (
    "activation use_bias kernel_initializer bias_initializer kernel_regularizer "
    f"bias_regularizer activity_regularizer kernel_constraint bias_constraint {_END}"
)
_SEPARABLE = " ".join(
    [
        *(_CONV, "dilation_rate depth_multiplier activation use_bias"),
        *(_DEPTHWISE.format("initializer"), _DEPTHWISE.format("regularizer")),
        *("activity_regularizer", _DEPTHWISE.format("constraint"), _END),
    ]
)
_POOLING = "pool_size strides padding data_format name"
SIGNATURES = {
    "dense": f"units {_WEIGHTS}",
    **{f"conv{n}d": f"{_CONV} dilation_rate {_WEIGHTS}" for n in (1, 2, 3)},
    **{f"conv{n}d_transpose": f"{_CONV} {_WEIGHTS}" for n in (2, 3)},
    **{f"separable_conv{n}d": _SEPARABLE for n in (1, 2)},
    **{
        f"{kind}_pooling{n}d": _POOLING
        for kind in ("max", "average")
        for n in (1, 2, 3)
    },
    "batch_normalization": (
        "axis momentum epsilon center scale beta_initializer gamma_initializer "
        "moving_mean_initializer moving_variance_initializer beta_regularizer "
        "gamma_regularizer beta_constraint gamma_constraint training trainable name "
        "reuse renorm renorm_clipping renorm_momentum fused virtual_batch_size "
        "adjustment"
    ),
    "dropout": "rate noise_shape seed training name",
    "flatten": "name data_format",
}


class Case(typing.NamedTuple):
    """A call of a layer, its variables' shapes and the same in `tf.nn` or formulas."""

    shape: list[int]
    arguments: dict
    variables: dict[str, list[int]]
    compute: Callable


def transposed_conv(conv: Callable, sizes: list[int]) -> Callable:
    return lambda x, k, b: tf.nn.bias_add(conv(x, k, sizes, 2, "VALID"), b)


def separable_conv1d(x, depthwise, pointwise, bias):
    return (
        tf.nn.separable_conv2d(
            x[:, None], depthwise[None], pointwise[None], [1, 1, 1, 1], "VALID"
        )[:, 0]
        + bias
    )


def pooling(kind: str, size: int, strides: int) -> Callable:
    return lambda x: tf.nn.pool(x, size, kind, "SAME", strides=strides)


def normalize(x, gamma, beta, mean, variance):
    del mean, variance  # Those of the batch are used.
    mean, variance = tf.nn.moments(x, [0, 1, 2])
    return tf.nn.batch_normalization(x, mean, variance, beta, gamma, 1e-3)


def relu_conv2d(x, k, b):
    return tf.nn.relu(tf.nn.conv2d(x, k, [1, 2, 2, 1], "SAME") + b)


KERNEL = {"filters": 4, "kernel_size": 3}
POOL = {"pool_size": 2, "strides": 2, "padding": "same"}
NORMALIZER = {name: [3] for name in ("gamma", "beta", "moving_mean", "moving_variance")}
CASES = {
    "dense": Case(
        [5, 3],
        {"units": 4, "activation": tf.nn.tanh},
        {"kernel": [3, 4], "bias": [4]},
        lambda x, k, b: tf.tanh(x @ k + b),
    ),
    "dense: rank 3, no bias": Case(
        [5, 2, 3],
        {"units": 4, "use_bias": False},
        {"kernel": [3, 4]},
        lambda x, k: tf.einsum("abi,ij->abj", x, k),
    ),
    "conv1d": Case(
        [2, 7, 3],
        KERNEL | {"dilation_rate": 2},
        {"kernel": [3, 3, 4], "bias": [4]},
        lambda x, k, b: tf.nn.conv1d(x, k, 1, "VALID", dilations=2) + b,
    ),
    "conv2d": Case(
        [2, 7, 6, 3],
        KERNEL | {"strides": 2, "padding": "SAME", "activation": tf.nn.relu},
        {"kernel": [3, 3, 3, 4], "bias": [4]},
        relu_conv2d,
    ),
    "conv3d": Case(
        [2, 5, 4, 6, 3],
        KERNEL | {"strides": (1, 1, 2)},
        {"kernel": [3, 3, 3, 3, 4], "bias": [4]},
        lambda x, k, b: tf.nn.conv3d(x, k, [1, 1, 1, 2, 1], "VALID") + b,
    ),
    "conv2d_transpose": Case(
        [2, 4, 3, 3],
        KERNEL | {"strides": 2},
        {"kernel": [3, 3, 4, 3], "bias": [4]},
        transposed_conv(tf.nn.conv2d_transpose, [2, 9, 7, 4]),
    ),
    "conv3d_transpose": Case(
        [2, 2, 3, 2, 3],
        KERNEL | {"strides": 2},
        {"kernel": [3, 3, 3, 4, 3], "bias": [4]},
        transposed_conv(tf.nn.conv3d_transpose, [2, 5, 7, 5, 4]),
    ),
    "separable_conv1d": Case(
        [2, 7, 3],
        KERNEL | {"depth_multiplier": 2},
        {"depthwise_kernel": [3, 3, 2], "pointwise_kernel": [1, 6, 4], "bias": [4]},
        separable_conv1d,
    ),
    "separable_conv2d": Case(
        [2, 6, 6, 3],
        KERNEL | {"strides": 2},
        {
            "depthwise_kernel": [3, 3, 3, 1],
            "pointwise_kernel": [1, 1, 3, 4],
            "bias": [4],
        },
        lambda x, d, p, b: tf.nn.separable_conv2d(x, d, p, [1, 2, 2, 1], "VALID") + b,
    ),
    "batch_normalization: fused": Case(
        [4, 3, 2, 3], {"training": True}, NORMALIZER, normalize
    ),
    "batch_normalization: not fused": Case(
        [4, 3, 2, 3], {"training": True, "fused": False}, NORMALIZER, normalize
    ),
    "batch_normalization: inference": Case(
        [4, 3],
        {"epsilon": 0.1},
        NORMALIZER,
        lambda x, g, b, m, v: (x - m) / tf.sqrt(v + 0.1) * g + b,
    ),
    "dropout": Case([4, 3], {}, {}, tf.identity),
    "flatten": Case([4, 2, 3], {}, {}, lambda x: tf.reshape(x, [4, 6])),
    "flatten: channels_first": Case(
        [4, 2, 3],
        {"data_format": "channels_first"},
        {},
        lambda x: tf.reshape(tf.transpose(x, [0, 2, 1]), [4, 6]),
    ),
    **{
        f"{name}_pooling{n}d": Case(
            [2, 5, 4, 3, 6][: n + 1] + [3], POOL, {}, pooling(kind, [2] * n, [2] * n)
        )
        for name, kind in (("max", "MAX"), ("average", "AVG"))
        for n in (1, 2, 3)
    },
}


def sample(shape, seed=0):
    """Returns positive numbers, which suit variances too."""
    return np.random.default_rng(seed).uniform(0.2, 1.5, shape).astype(np.float32)


def names(variables):
    return [variable.op.name for variable in variables]


def test_every_name_is_there():
    assert set(CLASSES.split()) | set(SIGNATURES) == set(layers.__all__)
    assert {case.partition(":")[0] for case in CASES} == set(SIGNATURES)
    assert tf.layers is layers


@pytest.mark.parametrize("name", SIGNATURES)
def test_arguments_are_those_of_tensorflow_1(name):
    arguments = list(inspect.signature(getattr(tf.layers, name)).parameters)
    assert arguments == ["inputs", *SIGNATURES[name].split()]


@pytest.mark.parametrize("name", CASES)
def test_variables_outputs_and_gradients(run, name):
    case = CASES[name]
    function = name.partition(":")[0]
    x = tf.constant(sample(case.shape))
    outputs = getattr(tf.layers, function)(x, **case.arguments)
    found = tf.global_variables()
    assert names(found) == [f"{function}/{key}" for key in case.variables]
    assert [v.shape.as_list() for v in found] == list(case.variables.values())
    trainable = [v for v in found if "moving" not in v.name]
    assert tf.trainable_variables() == trainable

    expected = case.compute(x, *found)
    assert outputs.shape.as_list() == expected.shape.as_list()
    sources = [x, *trainable]
    weights = sample(expected.shape.as_list(), seed=1)
    gradients = tf.gradients(outputs * weights, sources)
    expected_gradients = tf.gradients(expected * weights, sources)
    run([tf.assign(v, sample(v.shape.as_list(), n)) for n, v in enumerate(found, 2)])
    both = run([[outputs, gradients], [expected, expected_gradients]])
    for left, right in zip(*map(tf.nest.flatten, both), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "name", [name for name in CASES if "conv" in name or "pooling" in name]
)
def test_channels_first_equals_channels_last(run, name):
    case = CASES[name]
    x = sample(case.shape)
    results = []
    for data_format, inputs in (
        ("channels_last", tf.constant(x)),
        ("channels_first", tf.constant(np.moveaxis(x, -1, 1))),
    ):
        with tf.variable_scope("model", reuse=tf.AUTO_REUSE):
            outputs = getattr(tf.layers, name)(
                inputs, data_format=data_format, **case.arguments
            )
        sources = [inputs, *tf.trainable_variables()]
        results.append([outputs, *tf.gradients(outputs * outputs, sources)])
    try:
        last, first = run(results)
    except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError):
        pytest.skip("this processor has no kernel for channels_first")
    for n, (left, right) in enumerate(zip(last, first, strict=True)):
        aligned = np.moveaxis(right, 1, -1) if n < 2 else right
        np.testing.assert_allclose(left, aligned, rtol=1e-4, atol=1e-4)


def test_channels_first_opens_no_session(monkeypatch):
    # One would initialize variables and take the memory of the GPUs.
    monkeypatch.setattr(tf.Session, "__init__", None)
    monkeypatch.setattr("tf_keras.src.backend._LOCAL_DEVICES", None)
    outputs = tf.layers.conv2d_transpose(
        tf.zeros([2, 3, 8, 6]), 4, 3, data_format="channels_first"
    )
    assert outputs.shape.as_list() == [2, 4, 10, 8]


@pytest.mark.parametrize("as_tensor", [False, True], ids=["bool", "tensor"])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("arguments", [{}, {"fused": False}, {"axis": 1}], ids=str)
def test_batch_normalization_updates_its_averages(run, arguments, training, as_tensor):
    x = sample([4, 3, 2, 3])
    values = x if not arguments.get("axis") else np.moveaxis(x, -1, 1)
    outputs = tf.layers.batch_normalization(
        tf.constant(values),
        training=tf.placeholder_with_default(training, []) if as_tensor else training,
        momentum=0.8,
        **arguments,
    )
    updates = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
    assert len(updates) == (2 if training or as_tensor else 0)
    run(updates)
    found = run(tf.global_variables()[2:])
    rows = x.reshape(-1, 3).astype(np.float64)
    # The fused kernel's variance has Bessel's correction, as in TensorFlow 1.
    statistics = rows.mean(0), rows.var(0, ddof=arguments.get("fused", True))
    for start, average, statistic in zip((0, 1), found, statistics, strict=True):
        expected = 0.8 * start + 0.2 * statistic if training else [start] * 3
        np.testing.assert_allclose(average, expected, rtol=1e-4)
    mean, variance = (rows.mean(0), rows.var(0)) if training else (0, 1)
    normalized = (x - mean) / np.sqrt(variance + 1e-3)
    axis = arguments.get("axis", -1)
    # The averages have moved, so only the outputs in training stay the same.
    if training:
        found = np.moveaxis(run(outputs), axis, -1)
        np.testing.assert_allclose(found, normalized, rtol=1e-3, atol=1e-3)


def test_batch_renormalization_follows_the_averages(run):
    x = tf.constant(sample([8, 2, 2, 3]))
    options = {"momentum": 0.5, "renorm": True, "renorm_momentum": 0.5}
    tf.layers.batch_normalization(x, training=True, **options)
    updates = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
    for _ in range(20):
        run(updates)
    averages = {v.op.name.split("/")[1]: run(v) for v in tf.global_variables()}
    rows = sample([8, 2, 2, 3]).reshape(-1, 3)
    for name in ("moving_mean", "renorm_mean"):
        np.testing.assert_allclose(averages[name], rows.mean(0), rtol=1e-3)
    np.testing.assert_allclose(averages["moving_variance"], rows.var(0), rtol=0.02)


def test_virtual_batches_are_normalized_on_their_own(run):
    """As in TensorFlow 1, each takes every n-th image."""
    x = sample([4, 2, 2, 3])
    x[1::2] += 5
    outputs = tf.layers.batch_normalization(
        tf.constant(x), training=True, virtual_batch_size=2
    )
    means = run(outputs).reshape(2, 2, 4, 3).mean((0, 2))
    np.testing.assert_allclose(means, np.zeros([2, 3]), atol=1e-4)


def test_frozen_batch_normalization_has_no_updates():
    tf.layers.batch_normalization(tf.zeros([2, 3]), training=True, trainable=False)
    assert not tf.get_collection(tf.GraphKeys.UPDATE_OPS)
    assert not tf.trainable_variables()
    assert len(tf.global_variables()) == 4


@pytest.mark.parametrize("as_tensor", [False, True], ids=["list", "tensor"])
def test_dropout_scales_what_it_keeps(run, as_tensor):
    shape = [50, 1, 4]
    training = tf.placeholder_with_default(True, [])
    outputs = tf.layers.dropout(
        tf.ones([50, 3, 4]),
        rate=tf.constant(0.2),
        noise_shape=tf.constant(shape) if as_tensor else [None, 1, 4],
        training=training,
    )
    values = run(outputs)
    assert set(np.unique(values)) == {0, np.float32(1.25)}
    assert (values == values[:, :1]).all()
    assert 0.7 < (values > 0).mean() < 0.9
    assert (run(outputs, {training: False}) == 1).all()


def test_cells_of_recurrent_networks_are_there():
    with tf.Graph().as_default():
        cell = tf.nn.rnn_cell.BasicLSTMCell(4)
        outputs, _ = tf.nn.dynamic_rnn(cell, tf.zeros([2, 3, 5]), dtype=tf.float32)
        names = [variable.op.name for variable in tf.trainable_variables()]
    assert outputs.shape == [2, 3, 4]
    assert names == ["rnn/basic_lstm_cell/kernel", "rnn/basic_lstm_cell/bias"]
