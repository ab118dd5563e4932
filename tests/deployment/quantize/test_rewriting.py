"""Whole networks of users: what is quantized, by which names, and when."""

import numpy as np
import probe_weights
import pytest

from deployment import model_deploy, quantize
from tf_slim_compat import slim, tf

IMAGES = np.random.RandomState(0).standard_normal([4, 8, 8, 3]).astype(np.float32)
STEP = "fake_quantization_step"


def build_network(images, is_training):
    """A user's network with every way that layers are joined."""
    parameters = {"is_training": is_training, "scale": True, "decay": 0.9}
    with slim.arg_scope(
        [slim.conv2d, slim.separable_conv2d],
        normalizer_fn=slim.batch_norm,
        normalizer_params=parameters,
    ):
        net = slim.conv2d(images, 4, 3, scope="stem")
        with tf.variable_scope("before_relu"):
            net = tf.nn.relu(
                net + slim.conv2d(net, 4, 3, activation_fn=None, scope="conv")
            )
        with tf.variable_scope("after_relu"):
            branch = slim.separable_conv2d(net, 4, 3, 1, scope="separable")
            net = tf.add(net, branch, name="sum")
        branches = [slim.conv2d(net, 2, k, scope=f"branch_{k}") for k in (1, 3)]
        net = tf.concat(branches, 3)
    with tf.variable_scope("scaled"):
        branch = slim.conv2d(net, 4, 1, activation_fn=None, scope="up")
        net = tf.nn.relu(net + 0.2 * branch, name="relu")
    net = slim.fully_connected(slim.flatten(net), 6, scope="hidden")
    net = slim.dropout(net, 0.5, is_training=is_training, scope="drop")
    return slim.fully_connected(net, 3, activation_fn=None, scope="logits")


def initialize(session):
    """Sets probe weights, and initializes what the rewriter added."""
    probe_weights.initialize(session)
    added = [v for v in tf.global_variables() if "_quant" in v.op.name]
    session.run([variable.initializer for variable in added])


def build_loss(images):
    logits = build_network(images, True)
    tf.losses.sigmoid_cross_entropy(tf.ones([4, 3]), logits)
    return logits


def list_quantizers():
    """Returns the scopes of the fake quantization of the default graph, sorted."""
    return sorted(
        variable.op.name.removesuffix("/max")
        for variable in tf.global_variables()
        if variable.op.name.endswith("/max")
    )


def add_conv(**arguments):
    """Returns the outputs of a convolution with biases; IMAGES are its inputs."""
    images = tf.constant(IMAGES)
    return slim.conv2d(images, 4, 3, activation_fn=None, scope="conv", **arguments)


QUANTIZERS = [
    "after_relu/post_activation_bypass_quant",
    "after_relu/separable/act_quant",
    "after_relu/separable/separable_conv2d/act_quant",
    "after_relu/separable/separable_conv2d/weights_quant",
    "after_relu/separable/weights_quant",
    "before_relu/act_quant",
    "before_relu/conv/conv_quant",
    "before_relu/conv/weights_quant",
    "branch_1/act_quant",
    "branch_1/weights_quant",
    "branch_3/act_quant",
    "branch_3/weights_quant",
    "hidden/act_quant",
    "hidden/weights_quant",
    "logits/act_quant",
    "logits/weights_quant",
    "scaled/mul/activation_Mul_quant",
    "scaled/relu/activation_Relu_quant",
    "scaled/up/act_quant",
    "scaled/up/weights_quant",
    "stem/act_quant",
    "stem/weights_quant",
]


def test_all_joints_of_a_network_are_quantized():
    with tf.Graph().as_default():
        build_network(tf.constant(IMAGES), False)
        quantize.create_eval_graph()
        assert list_quantizers() == QUANTIZERS
        assert STEP not in [v.op.name for v in tf.global_variables()]
    with tf.Graph().as_default():
        build_loss(tf.constant(IMAGES))
        trained = tf.trainable_variables()
        quantize.create_training_graph()
        dropout = "drop/dropout/Mul/activation_Mul_quant"
        assert list_quantizers() == sorted([*QUANTIZERS, dropout])
        assert tf.trainable_variables() == trained
        gradients = tf.gradients(tf.losses.get_total_loss(), trained)
        assert None not in gradients


def test_a_sum_that_not_only_a_relu_reads_is_quantized():
    with tf.Graph().as_default():
        with tf.variable_scope("unit"):
            net = add_conv()
            total = net + tf.random_normal([4, 1, 1, 4])
            net = tf.concat([tf.nn.relu(total), total], 3)
        slim.conv2d(net, 2, 1, scope="next")
        quantize.create_eval_graph()
        assert [name for name in list_quantizers() if "weights" not in name] == [
            "next/act_quant",
            "unit/act_quant",
            "unit/add_quant",
            "unit/conv/conv_quant",
        ]


def test_evaluation_reads_the_quantized_tensors():
    with tf.Graph().as_default(), tf.Session() as session:
        logits = build_network(tf.constant(IMAGES), False)
        quantize.create_eval_graph()
        initialize(session)
        limits = [v for v in tf.global_variables() if "_quant/" in v.op.name]
        before = session.run(logits)
        for limit in limits:
            if limit.op.name.endswith("/max") and "logits/act" not in limit.op.name:
                session.run(limit.assign(limit / 4.0))
                after = session.run(logits)
                assert np.abs(after - before).max() > 0, limit.op.name
                session.run(limit.assign(limit * 4.0))


def run_steps(steps, **arguments):
    """Returns outputs and gradients of every step of a small network."""
    with tf.Graph().as_default(), tf.Session() as session:
        net = slim.conv2d(tf.constant(IMAGES), 4, 3, normalizer_fn=slim.batch_norm)
        net = slim.fully_connected(slim.flatten(net), 3)
        outputs = tf.identity(net)
        if arguments:
            quantize.experimental_create_training_graph(**arguments)
        gradients = tf.gradients(outputs**2, tf.trainable_variables())
        counted = [v for v in tf.global_variables() if v.op.name == STEP]
        initialize(session)
        ran = [session.run([outputs, *gradients]) for _ in range(steps)]
        return ran, session.run(counted)


def test_the_delay_is_in_float():
    ((plain,), _) = run_steps(1)
    ran, (count,) = run_steps(4, quant_delay=2)
    assert count == 4
    for ours in ran[:2]:
        for ours_, theirs in zip(ours, plain, strict=True):
            np.testing.assert_allclose(ours_, theirs, rtol=1e-6, atol=1e-5)
    for ours in ran[2:]:
        assert np.abs(ours[0] - plain[0]).max() > 1e-3


def test_the_delay_applies_to_evaluation_too():
    with tf.Graph().as_default(), tf.Session() as session:
        net = add_conv()
        outputs = tf.identity(net)
        quantize.experimental_create_eval_graph(quant_delay=2)
        initialize(session)
        (step,) = [v for v in tf.global_variables() if v.op.name == STEP]
        for count, is_float in ((0, True), (1, True), (2, False)):
            session.run(step.assign(count))
            ours, theirs = session.run([outputs, net])
            assert np.array_equal(ours, theirs) == is_float


def test_more_bits_are_closer_to_float():
    ((plain,), _) = run_steps(1)
    errors = []
    for arguments in (
        {"weight_bits": 3, "activation_bits": 3},
        {"weight_bits": 8, "activation_bits": 8},
        {"weight_bits": 16, "activation_bits": 16, "symmetric": True},
    ):
        ((ours,), _) = run_steps(1, **arguments)
        errors.append(np.abs(ours[0] - plain[0]).mean() / np.abs(plain[0]).max())
    assert errors == sorted(errors, reverse=True)
    assert errors[1] < 0.02
    assert errors[-1] < 1e-4


def test_scope():
    with tf.Graph().as_default():
        build_network(tf.constant(IMAGES), False)
        quantize.experimental_create_eval_graph(scope="scaled")
        assert list_quantizers() == [n for n in QUANTIZERS if n.startswith("scaled/")]
        quantize.experimental_create_eval_graph(scope="after_relu/separable/")
        quantize.create_eval_graph()
        assert list_quantizers() == QUANTIZERS


def test_clones_share_the_variables(graph):
    config = model_deploy.DeploymentConfig(num_clones=2, clone_on_cpu=True)
    clones = model_deploy.create_clones(config, build_loss, [tf.constant(IMAGES)])
    quantize.create_training_graph(quant_delay=1)
    dropout = "drop/dropout/Mul/activation_Mul_quant"
    assert list_quantizers() == sorted([*QUANTIZERS, dropout])
    nodes = [op for op in graph.get_operations() if op.type.startswith("FakeQuant")]
    assert len(nodes) == 2 * len(list_quantizers())
    optimizer = tf.train.GradientDescentOptimizer(0.3)
    loss, gradients = model_deploy.optimize_clones(clones, optimizer)
    train = optimizer.apply_gradients(gradients)
    with tf.Session() as session:
        initialize(session)
        losses = [session.run([loss, train])[0] for _ in range(10)]
        assert losses[-1] < 0.7 * losses[0]
        (step,) = [v for v in tf.global_variables() if v.op.name == STEP]
        assert session.run(step) == 10
        (counted,) = [
            v
            for v in tf.global_variables()
            if v.op.name == "stem/act_quant/stem/act_quant/max/local_step"
        ]
        assert session.run(counted) == 10


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        ({"input_graph": 3}, "input_graph must be a tf.Graph, but is a int;"),
        ({}, "There is nothing to quantize in the graph: no convolution"),
        ({"scope": "con"}, "There is nothing to quantize in the scope 'con': no"),
        ({"weight_bits": 1}, "weight_bits must be from 2 to 16, but is 1;"),
        ({"activation_bits": 17}, "activation_bits must be from 2 to 16, but is 17;"),
        ({"quant_delay": -1}, "quant_delay must be a number of steps, 0 or more, but"),
        ({"freeze_bn_delay": -2}, "freeze_bn_delay must be a number of steps, 0 or"),
    ],
)
def test_errors_are_one_sentence(arguments, sentence):
    with tf.Graph().as_default():
        if arguments:
            add_conv()
        before = len(tf.global_variables())
        with pytest.raises(ValueError) as raised:
            quantize.experimental_create_training_graph(**arguments)
        assert str(raised.value).startswith(sentence)
        assert len(tf.global_variables()) == before


def test_gradients_must_come_after():
    with tf.Graph().as_default():
        tf.gradients(add_conv(), tf.trainable_variables())
        with pytest.raises(ValueError, match="quantize before the optimizer adds"):
            quantize.create_training_graph()


def test_batch_normalization_freezes():
    with tf.Graph().as_default(), tf.Session() as session:
        outputs = tf.nn.relu(add_conv(normalizer_fn=slim.batch_norm))
        updates = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
        quantize.experimental_create_training_graph(quant_delay=9, freeze_bn_delay=2)
        initialize(session)
        moving = [v for v in tf.global_variables() if "/moving_" in v.op.name]
        values, results = [], []
        for _ in range(4):
            results.append(session.run([outputs, *updates])[0])
            values.append(np.concatenate(session.run(moving)))
    assert np.abs(values[1] - values[0]).min() > 0
    np.testing.assert_array_equal(values[2:], [values[1]] * 2)
    np.testing.assert_allclose(results[1], results[0], atol=1e-6)
    assert np.abs(results[2] - results[1]).max() > 0.1
    np.testing.assert_array_equal(results[3], results[2])


def test_a_graph_is_quantized_once():
    with tf.Graph().as_default():
        add_conv(normalizer_fn=slim.batch_norm)
        quantize.create_training_graph()
        with pytest.raises(ValueError, match="after the network is built, and once"):
            quantize.create_training_graph()
