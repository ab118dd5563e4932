"""tf_slim on current TensorFlow: repairs, and stateless random numbers."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import REFERENCE, needs_reference
from tf_slim.nets import inception_v3

from tf_slim_compat import (
    batch_norm,
    batch_norm_decay_warmup,
    dropout,
    random_uniform,
    slim,
    stateless_dropout,
    stderr_held_back,
    tf,
)

pytestmark = pytest.mark.usefixtures("graph")


def count_ops(graph, op_type):
    return sum(op.type == op_type for op in graph.get_operations())


@pytest.fixture(scope="module")
def fresh_process(tmp_path_factory):
    """A process that trains a step, then uses Keras and scikit-learn; its output."""
    script = """if True:
        import sys
        from tf_slim_compat import slim, tf
        net = slim.conv2d(tf.ones([2, 4, 4, 1]), 2, 3, normalizer_fn=slim.batch_norm)
        loss = tf.losses.mean_squared_error(tf.zeros([2, 32]), slim.flatten(net))
        optimizer = tf.train.GradientDescentOptimizer(0.1)
        train_op = slim.learning.create_train_op(loss, optimizer)
        slim.learning.train(train_op, "logs", number_of_steps=1)
        deferred = {"h5py", "keras", "scipy", "sklearn"}
        deferred |= {"tensorflow_estimator", "tf_keras", "tf_slim_compat.estimator"}
        print(deferred & set(sys.modules))

        from tensorflow.keras import layers
        import keras
        assert tf.keras.layers.Dense is layers.Dense
        with tf.Graph().as_default():
            print(layers.Dense(3)(keras.ops.ones([2, 4])).shape)

        from tf_slim.losses import metric_learning
        with tf.Graph().as_default(), tf.Session():
            groups = tf.constant([0, 0, 1])
            score = metric_learning.compute_clustering_score(groups, groups, "nmi")
            print(score.eval(), "sklearn" in sys.modules)
        """
    ended = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path_factory.mktemp("fresh"),
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    return ended


def test_tensorflow_is_in_graph_mode_with_resource_variables():
    assert not tf.executing_eagerly()
    assert tf.resource_variables_enabled()
    assert slim.variable("v", []).dtype == tf.float32


def test_training_prints_no_deprecation_warnings(fresh_process):
    assert "deprecated" not in fresh_process.stderr
    assert "Warning" not in fresh_process.stderr
    assert "WARNING:tensorflow" not in fresh_process.stderr


def test_keras_and_scikit_learn_are_loaded_only_when_used(fresh_process):
    assert fresh_process.stdout == "set()\n(2, 3)\n1.0 True\n"


@pytest.mark.parametrize("show_on_error", [False, True])
def test_stderr_is_held_back(capfd, show_on_error):
    with stderr_held_back(show_on_error):
        os.write(2, b"without error")
    assert capfd.readouterr().err == ""
    with pytest.raises(KeyError), stderr_held_back(show_on_error):
        os.write(2, b"with error;")
        raise KeyError
    os.write(2, b"later")
    shown = "with error;" if show_on_error else ""
    assert capfd.readouterr().err == f"{shown}later"


def test_tf_slim_exposes_the_replaced_layers_everywhere():
    import tf_slim
    from tf_slim.layers import layers

    for module in (tf_slim, tf_slim.layers, layers, slim):
        assert module.batch_norm is batch_norm
        assert module.dropout is dropout
    assert slim.arg_scope_lib.has_arg_scope(batch_norm)


def test_moved_names_are_restored():
    from tensorflow.python.framework import ops
    from tensorflow.python.ops import array_ops, control_flow_ops, variable_scope

    assert ops.Tensor is tf.Tensor
    assert array_ops.stack is tf.stack
    assert control_flow_ops.case is tf.case
    assert variable_scope.variable(1.0).op.type == "VarHandleOp"


# Stateless random numbers


def dropped(shape, **arguments):
    """Returns ones, some of them dropped."""
    return slim.dropout(tf.ones(shape), **arguments)


def run_steps(build, seed, steps):
    """Returns what a run with this seed computes at each step, in its own graph."""
    with tf.Graph().as_default(), tf.Session() as session:
        step = tf.placeholder(tf.int64, [])
        with stateless_dropout(seed, step):
            fetches = build()
        return [session.run(fetches, {step: number}) for number in steps]


def build_random_tensors():
    """Returns two equal dropout layers and uniform random numbers."""
    return [
        dropped([64, 8]),
        dropped([64, 8], scope="again"),
        random_uniform([64, 8]),
    ]


def test_random_numbers_are_a_function_of_seed_step_and_position():
    first = run_steps(build_random_tensors, 7, [3, 4, 1_000_000_000_000])
    resumed = run_steps(build_random_tensors, 7, [4])
    other_seed = run_steps(build_random_tensors, 8, [4])
    np.testing.assert_array_equal(first[1], resumed[0])
    different = [*first[0], *first[1], *first[2], *other_seed[0]]
    for i, one in enumerate(different):
        assert not any(np.array_equal(one, other) for other in different[:i])


def test_later_contexts_in_a_graph_do_not_repeat_random_numbers(graph):
    step = tf.train.get_or_create_global_step()
    layers = []
    for _ in range(2):
        with stateless_dropout(1, step):
            layers.append(dropped([64, 8]))
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        one, two = session.run(layers)
        again = session.run(layers[0])
    assert not np.array_equal(one, two)
    np.testing.assert_array_equal(one, again)


def test_random_numbers_are_stateful_without_the_context(graph):
    with stateless_dropout(1, 0):
        pass
    dropped([4, 4])
    random_uniform([4])
    assert count_ops(graph, "RandomUniform") == 2
    assert not [op for op in graph.get_operations() if "Stateless" in op.type]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("keep_prob", [0.3, 0.8])
def test_dropout_keeps_the_fraction_and_the_mean(dtype, keep_prob):
    def build():
        outputs = slim.dropout(tf.ones([200, 500], dtype), keep_prob)
        assert outputs.dtype == dtype and outputs.shape == [200, 500]
        return tf.cast(outputs, tf.float64)

    (values,) = run_steps(build, 0, [5])
    assert np.mean(values != 0) == pytest.approx(keep_prob, abs=0.01)
    assert values.max() == pytest.approx(1 / keep_prob, rel=0.01)


def test_dropout_drops_only_in_training(graph):
    x = tf.placeholder(tf.float32, [None, 4])
    training = tf.placeholder(tf.bool, [])
    with stateless_dropout(1, 0):
        off = slim.dropout(x, is_training=False, scope="off")
        kept = slim.dropout(x, 1.0, outputs_collections="ends", scope="kept")
        either = slim.dropout(x, is_training=training, scope="either")
    assert off.op.type == "Identity" and kept is x
    assert tf.get_collection("ends") == [kept]
    assert [op.type for op in graph.get_operations()].count("StatelessRandomUniformV2")
    with tf.Session() as session:
        for value in (False, True):
            feed = {x: np.ones([50, 4]), training: value}
            assert (session.run(either, feed) == 0).any() == value


@pytest.mark.parametrize("keep_prob", ["number", "tensor"])
def test_dropout_broadcasts_the_mask(keep_prob):
    def build():
        x = tf.placeholder_with_default(np.ones([9, 4, 5], np.float32), [None, 4, 5])
        probability = 0.5 if keep_prob == "number" else tf.constant(0.5)
        return slim.dropout(x, probability, noise_shape=[None, 1, 5], scope="drop")

    (values,) = run_steps(build, 0, [0])
    np.testing.assert_array_equal(values, values[:, :1] * np.ones([1, 4, 1]))
    assert 0 < np.mean(values == 0) < 1


def test_arg_scope_applies_to_dropout_under_every_name():
    x = tf.ones([4, 4])
    with stateless_dropout(1, 0), slim.arg_scope([slim.layers.dropout], keep_prob=1.0):
        assert slim.dropout(x) is x


def test_seeds_must_be_integers():
    with pytest.raises(TypeError), stateless_dropout("one", 0):
        pass
    with stateless_dropout(np.int64(-(2**63)), np.int64(5)):
        random_uniform([2])


# Networks of tf_slim


def build_loss(final_endpoint):
    """Returns the loss of a small Inception v3 up to an end point, for two images."""
    labels = [0, 2]
    images = np.random.default_rng(1).uniform(-1, 1, (2, 75, 75, 3))
    with slim.arg_scope(inception_v3.inception_v3_arg_scope()):
        net, _ = inception_v3.inception_v3_base(
            tf.constant(images, tf.float32), final_endpoint, depth_multiplier=0.1
        )
        logits = slim.conv2d(
            tf.reduce_mean(net, [1, 2], keepdims=True),
            3,
            [1, 1],
            activation_fn=None,
            normalizer_fn=None,
        )
    tf.losses.sparse_softmax_cross_entropy(labels, tf.squeeze(logits, [1, 2]))
    return tf.losses.get_total_loss()


@pytest.mark.parametrize(
    "final_endpoint", ["Mixed_5b", pytest.param("Mixed_7c", marks=pytest.mark.slow)]
)
def test_a_network_of_tf_slim_trains(tmp_path, final_endpoint):
    with batch_norm_decay_warmup(tf.train.get_or_create_global_step()):
        loss = build_loss(final_endpoint)
    moving_means = slim.get_variables_by_name("moving_mean")
    assert len(tf.get_collection(tf.GraphKeys.UPDATE_OPS)) == 2 * len(moving_means)
    train_op = slim.learning.create_train_op(loss, tf.train.AdamOptimizer(0.005))
    losses = []

    def train_step(session, *arguments):
        result = slim.learning.train_step(session, *arguments)
        losses.append(result[0])
        return result

    slim.learning.train(
        train_op,
        str(tmp_path),
        train_step_fn=train_step,
        number_of_steps=12,
        log_every_n_steps=100,
        save_summaries_secs=0,
    )
    assert losses[-1] < 0.7 * losses[0]
    reader = tf.train.load_checkpoint(str(tmp_path))
    for moving_mean in moving_means:
        assert np.any(reader.get_tensor(moving_mean.op.name) != 0)


@needs_reference
def test_a_network_of_tf_slim_has_the_names_of_public_checkpoints():
    with slim.arg_scope(inception_v3.inception_v3_arg_scope()):
        images = tf.placeholder(tf.float32, [2, 299, 299, 3])
        inception_v3.inception_v3(images, depth_multiplier=0.1)
    reference = json.loads((REFERENCE / "networks/inception_v3.json").read_text())
    names = {v["name"] for v in reference["variables"]}
    assert {v.op.name for v in slim.get_model_variables()} == names
    updates = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
    assert len(updates) == reference["train"]["update_ops"]


def test_networks_of_tf_slim_are_found(monkeypatch):
    monkeypatch.delattr(slim, "nets")  # As in a process that has not imported them.
    assert slim.nets.vgg.vgg_16.default_image_size == 224
    with pytest.raises(AttributeError, match="no attribute 'netz'"):
        slim.netz  # noqa: B018
