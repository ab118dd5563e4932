"""`tf.layers` in a graph: scopes, reuse, collections, checkpoints, own layers."""

import importlib
import logging
import sys
import warnings

import numpy as np
import pytest

from tf_slim_compat import layers, slim, tf

pytestmark = [
    pytest.mark.usefixtures("graph"),
    # pytest resets the filter that hides them.
    pytest.mark.filterwarnings("ignore:`(tf.)?layers?[.]:UserWarning"),
]


def images(channels=3):
    return tf.ones([2, 8, 8, channels])


def names(variables=None):
    found = tf.global_variables() if variables is None else variables
    return [variable.op.name for variable in found]


def losses():
    return tf.get_collection(tf.GraphKeys.REGULARIZATION_LOSSES)


def build_network(inputs, training=True):
    """Returns scores of a network with default names, as people wrote them."""
    net = tf.layers.conv2d(inputs, 4, 3, activation=tf.nn.relu)
    net = tf.layers.batch_normalization(net, training=training)
    net = tf.layers.max_pooling2d(net, 2, 2)
    net = tf.layers.conv2d(net, 4, 3, activation=tf.nn.relu)
    net = tf.layers.dropout(tf.layers.flatten(net), training=training)
    net = tf.layers.dense(net, 5, activation=tf.nn.relu)
    return tf.layers.dense(net, 2)


NETWORK_VARIABLES = {
    "conv2d/kernel": [3, 3, 3, 4],
    "conv2d/bias": [4],
    "batch_normalization/gamma": [4],
    "batch_normalization/beta": [4],
    "batch_normalization/moving_mean": [4],
    "batch_normalization/moving_variance": [4],
    "conv2d_1/kernel": [3, 3, 4, 4],
    "conv2d_1/bias": [4],
    "dense/kernel": [4, 5],
    "dense/bias": [5],
    "dense_1/kernel": [5, 2],
    "dense_1/bias": [2],
}


def test_default_names_are_numbered_in_each_scope():
    build_network(images())
    assert names() == list(NETWORK_VARIABLES)
    nodes = {operation.name for operation in tf.get_default_graph().get_operations()}
    assert nodes >= {
        "conv2d/Relu",
        "batch_normalization/FusedBatchNormV3",
        "max_pooling2d/MaxPool",
        "conv2d_1/BiasAdd",
        "flatten/Reshape",
        "dense/MatMul",
        "dense_1/BiasAdd",
    }
    with tf.variable_scope("outer"):
        build_network(images())
    assert names()[len(NETWORK_VARIABLES) :] == [
        f"outer/{n}" for n in NETWORK_VARIABLES
    ]


def test_a_checkpoint_of_tensorflow_1_loads(run, tmp_path):
    """A checkpoint is the names and shapes of its variables."""
    values = {}
    with tf.Graph().as_default(), tf.Session() as session:
        for number, (name, shape) in enumerate(NETWORK_VARIABLES.items()):
            values[name] = np.random.default_rng(number).uniform(0.1, 1, shape)
            tf.get_variable(name, initializer=values[name].astype(np.float32))
        session.run(tf.global_variables_initializer())
        path = tf.train.Saver().save(session, str(tmp_path / "model.ckpt"))
    build_network(images(), training=False)
    tf.train.init_from_checkpoint(path, {"/": "/"})
    for name, value in zip(names(), run(tf.global_variables()), strict=True):
        np.testing.assert_allclose(value, values[name], rtol=1e-6)


def test_a_network_learns(run):
    x = np.random.default_rng(0).normal(size=[8, 8, 8, 3]).astype(np.float32)
    targets = tf.constant([0, 1] * 4)
    scores = build_network(tf.constant(x))
    loss = tf.losses.sparse_softmax_cross_entropy(targets, scores)
    with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
        train_op = tf.train.AdamOptimizer(0.05).minimize(loss)
    first = np.mean([run([loss, train_op])[0] for _ in range(5)])
    for _ in range(50):
        run(train_op)
    last = np.mean([run([loss, train_op])[0] for _ in range(5)])
    assert last < 0.7 * first


def reuse_by_argument():
    tf.layers.dense(images(), 3, name="dense")
    tf.layers.dense(images(), 3, name="dense", reuse=True)


def reuse_automatically():
    for _ in range(2):
        tf.layers.dense(images(), 3, name="dense", reuse=tf.AUTO_REUSE)


def reuse_the_scope():
    for reuse in (False, True):
        with tf.variable_scope("model", reuse=reuse):
            tf.layers.dense(images(), 3)


def reuse_the_layer():
    layer = tf.layers.Dense(3)
    layer(images())
    layer.apply(images())
    assert layer.variables == [layer.kernel, layer.bias] == tf.global_variables()


def reuse_in_a_loop():
    layer = tf.layers.Dense(3, name="dense")
    _, outputs = tf.while_loop(
        lambda step, _: step < 3, lambda step, x: (step + 1, layer(x)), [0, images()]
    )
    assert outputs.shape.as_list() == [2, 8, 8, 3]


@pytest.mark.parametrize(
    "build",
    [
        *(reuse_by_argument, reuse_automatically, reuse_the_scope),
        *(reuse_the_layer, reuse_in_a_loop),
    ],
)
def test_reuse_shares_variables(build):
    build()
    found = [name.removeprefix("model/") for name in names()]
    assert found == ["dense/kernel", "dense/bias"]


def test_a_name_taken_or_unknown_is_an_error():
    tf.layers.dense(images(), 3, name="a")
    with pytest.raises(ValueError, match="a/kernel already exists"):
        tf.layers.dense(images(), 3, name="a")
    with pytest.raises(ValueError, match="b/kernel does not exist"):
        tf.layers.dense(images(), 3, name="b", reuse=True)


def test_name_can_be_a_path_or_a_variable_scope():
    tf.layers.dense(images(), 3, name="a/b", use_bias=False)
    with tf.variable_scope("c") as scope:
        pass
    tf.layers.dense(images(), 3, name=scope, use_bias=False)
    assert names() == ["a/b/kernel", "c/kernel"]


def test_sizes_can_be_dimensions():
    x = images(4)
    net = tf.layers.conv2d(x, x.shape[-1], 3, padding="same")
    net = tf.layers.average_pooling2d(net, net.shape[1:3], 1)
    assert tf.layers.dense(net, x.shape[-1]).shape.as_list() == [2, 1, 1, 4]


def test_regularization_losses(run):
    for reuse in (False, True):
        tf.layers.dense(
            images(),
            3,
            kernel_initializer=tf.ones_initializer(),
            kernel_regularizer=slim.l2_regularizer(0.1),
            bias_regularizer=slim.l2_regularizer(0.0),
            bias_initializer="ones",
            name="dense",
            reuse=reuse,
        )
    # Reuse adds no second loss.
    np.testing.assert_allclose(run(losses()), [0.1 * 9 / 2])


def test_activity_regularizer_is_a_mean_over_the_batch(run):
    tf.layers.dense(
        images(),
        3,
        kernel_initializer=tf.ones_initializer(),
        activity_regularizer=tf.reduce_sum,
    )
    np.testing.assert_allclose(run(losses()), [8 * 8 * 3 * 3])


def test_a_constraint_applies_after_each_step(run):
    outputs = tf.layers.dense(
        images(), 1, kernel_constraint=lambda kernel: tf.clip_by_value(kernel, 0.2, 0.3)
    )
    run(tf.train.GradientDescentOptimizer(1.0).minimize(tf.reduce_sum(outputs)))
    np.testing.assert_allclose(run(tf.trainable_variables()[0]), np.full([3, 1], 0.2))


def test_scopes_set_initializers_partitioners_and_getters(run):
    with tf.variable_scope("ones", initializer=tf.ones_initializer()):
        tf.layers.dense(images(), 2)
    np.testing.assert_array_equal(run(tf.global_variables()[0]), np.ones([3, 2]))
    with tf.variable_scope("parts", partitioner=tf.fixed_size_partitioner(2)):
        tf.layers.dense(images(4), 6, use_bias=False)
    assert names()[2:] == ["parts/dense/kernel/part_0", "parts/dense/kernel/part_1"]
    with tf.variable_scope(
        "frozen",
        custom_getter=lambda getter, *a, **k: getter(*a, **k | {"trainable": False}),
    ):
        tf.layers.dense(images(), 2)
    assert not tf.trainable_variables("frozen")


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16, tf.float64])
def test_variables_have_the_dtype_of_the_inputs(dtype):
    outputs = tf.layers.conv2d(tf.zeros([2, 8, 8, 3], dtype), 4, 3)
    assert {outputs.dtype, *(v.dtype for v in tf.global_variables())} == {dtype}


class Scale(tf.layers.Layer):
    """A layer as users write them."""

    def build(self, input_shape):
        shape = [int(input_shape[-1])]
        self.scale = self.add_variable(
            "scale", shape, initializer=tf.ones_initializer(), regularizer=tf.nn.l2_loss
        )
        self.calls = self.add_weight("calls", [], trainable=False, initializer="zeros")
        self.built = True

    def call(self, inputs):
        self.add_update(tf.assign_add(self.calls, 1.0))
        return inputs * self.scale


def test_users_own_layers(run):
    layer = Scale(name="mine")
    layer.apply(layer(images()))
    assert names() == ["mine/scale", "mine/calls"]
    assert layer.trainable_weights == tf.trainable_variables() == [layer.scale]
    assert layer.updates == tf.get_collection(tf.GraphKeys.UPDATE_OPS)
    assert layer.scope_name == "mine"
    run(layer.updates)
    assert run([layer.calls, *losses()]) == [2.0, 1.5]


def test_keras_style_scope_numbers_layers_regardless_of_scopes():
    with tf.layers.experimental.keras_style_scope():
        for _ in range(2):
            with tf.variable_scope("same", reuse=tf.AUTO_REUSE):
                tf.layers.Dense(3)(images())
    assert len(tf.global_variables()) == 4


def test_input_spec():
    class Strict(Scale):
        def __init__(self):
            super().__init__()
            self.input_spec = tf.layers.InputSpec(ndim=2)

    with pytest.raises(ValueError, match="expected ndim=2, found ndim=4"):
        Strict()(images())


def test_internal_module_of_normalization_has_its_layer():
    from tensorflow.python.layers import normalization

    assert normalization.BatchNormalization is tf.layers.BatchNormalization
    assert normalization.batch_normalization is tf.layers.batch_normalization


def test_calls_print_no_deprecation_warnings():
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        importlib.reload(layers)
        build_network(images())
        Scale()(images())
    assert not [str(warning.message) for warning in shown]


@pytest.mark.parametrize("package", ["tf_keras", "users"])
def test_deprecation_warnings_about_tf_keras_are_not_logged(package):
    message = (
        f"From /packages/{package}/model.py:8: f is deprecated and will be removed"
    )
    record = logging.makeLogRecord({"msg": message})
    assert bool(tf.get_logger().filter(record)) == (package == "users")


def test_a_missing_package_is_named_with_its_command(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("tf_keras")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tf_keras", None)
    monkeypatch.delitem(sys.modules, layers.__name__)
    with pytest.raises(
        ImportError, match="needs the package tf_keras .*: pip install "
    ):
        importlib.import_module(layers.__name__)
