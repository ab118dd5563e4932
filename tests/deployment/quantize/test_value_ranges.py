"""Ranges of weights and activations follow the values as in NumPy."""

import collections

import numpy as np
import pytest

from deployment import quantize
from tf_slim_compat import slim, tf

STREAM = np.random.RandomState(0)
BATCHES = [STREAM.standard_normal([8, 3]).astype(np.float32) for _ in range(4)]
WEIGHTS = [STREAM.standard_normal([3, 5]).astype(np.float32) for _ in range(4)]
DECAY = 0.999


class Network:
    """One fully connected layer, quantized for training; a context manager."""

    def __init__(self, activation_fn=None, **arguments):
        self.graph = tf.Graph()
        with self.graph.as_default():
            self.inputs = tf.placeholder(tf.float32, [8, 3])
            net = slim.fully_connected(
                self.inputs, 5, activation_fn, biases_initializer=None, scope="fc"
            )
            self.values, self.outputs = net, tf.identity(net)
            (self.weights,) = tf.global_variables()
            quantize.experimental_create_training_graph(**arguments)
            self.added = {v.op.name: v for v in tf.global_variables()[1:]}
        self.session = tf.Session(graph=self.graph)

    def __enter__(self):
        self.session.__enter__()
        self.session.run([v.initializer for v in self.added.values()])
        return self

    def __exit__(self, *error):
        self.session.__exit__(*error)
        self.session.close()

    def step(self, weights, batch):
        """Returns the values before and after quantization."""
        self.weights.load(weights, self.session)
        return self.session.run([self.values, self.outputs], {self.inputs: batch})

    def read(self, name):
        return self.session.run([self.added[f"fc/{name}/{x}"] for x in ("min", "max")])


def quantize_array(values, low, high, bits=8, narrow=False):
    """Rounds to the steps of a range that is shifted so that 0 is a step."""
    least, most = int(narrow), 2**bits - 1
    step = (high - low) / (most - least)
    zero = np.clip(np.round(least - low / step), least, most)
    return (np.clip(np.round(values / step + zero), least, most) - zero) * step


def test_weights_have_the_range_of_the_step():
    with Network() as network:
        assert network.read("weights_quant") == [-6, 6]
        for weights, batch in zip(WEIGHTS, BATCHES, strict=True):
            before, _ = network.step(weights, batch)
            low, high = network.read("weights_quant")
            assert (low, high) == (weights.min(), weights.max())
            expected = batch @ quantize_array(weights, low, high, narrow=True)
            np.testing.assert_allclose(before, expected, atol=1e-4)


def test_activations_have_a_moving_average_of_the_ranges():
    biased = np.zeros(2)
    with Network(tf.nn.relu6) as network:
        assert network.read("act_quant") == [0, 6]
        for number, batch in enumerate(BATCHES, 1):
            before, after = network.step(WEIGHTS[0] / 9, batch * number)
            biased = DECAY * biased + (1 - DECAY) * np.array([0, before.max()])
            low, high = biased / (1 - DECAY**number)
            np.testing.assert_allclose(
                network.read("act_quant"), [low, high], rtol=1e-3
            )
            expected = quantize_array(before, *network.read("act_quant"))
            np.testing.assert_allclose(after, expected, atol=1e-5)
    assert high < before.max()


def test_ranges_include_zero():
    with Network() as network:
        network.step(np.abs(WEIGHTS[0]), np.abs(BATCHES[0]))
        assert network.read("weights_quant") == [0, np.abs(WEIGHTS[0]).max()]
        assert network.read("act_quant")[0] == 0


@pytest.mark.parametrize("is_training", [True, False])
def test_weights_of_convolutions_have_a_range_for_each_channel(is_training):
    images = STREAM.standard_normal([2, 6, 6, 3]).astype(np.float32)
    with tf.Graph().as_default() as graph, tf.Session() as session:
        nets = [
            slim.conv2d(tf.constant(images), 4, 3, scope="conv"),
            slim.separable_conv2d(tf.constant(images), None, 3, 2, scope="depthwise"),
            slim.fully_connected(slim.flatten(tf.constant(images)), 4, scope="full"),
        ]
        if is_training:
            quantize.experimental_create_training_graph(per_channel=True)
        else:
            quantize.experimental_create_eval_graph(per_channel=True)
        variables = {v.op.name: v for v in tf.global_variables()}
        session.run(tf.global_variables_initializer())
        types = collections.Counter(op.type for op in graph.get_operations())
        assert types["FakeQuantWithMinMaxVarsPerChannel"] == 2
        session.run(nets)
        for name, kernel, shape in (
            ("conv", "weights", [-1, 4]),
            ("depthwise", "depthwise_weights", [-1, 6]),
            ("full", "weights", [-1]),
        ):
            weights = session.run(variables[f"{name}/{kernel}"]).reshape(shape)
            ends = [variables[f"{name}/weights_quant/{end}"] for end in ("min", "max")]
            low, high = session.run(ends)
            largest = np.abs(weights).max(0) if is_training else np.full(shape[1:], 6)
            np.testing.assert_array_equal(high, largest)
            np.testing.assert_array_equal(low, -largest)


def test_channels_are_quantized_by_their_own_ranges():
    images = STREAM.standard_normal([2, 6, 6, 3]).astype(np.float32)
    with tf.Graph().as_default() as graph, tf.Session() as session:
        net = slim.separable_conv2d(tf.constant(images), None, 3, 2, scope="layer")
        (weights, _) = tf.global_variables()
        quantize.experimental_create_training_graph(per_channel=True, weight_bits=4)
        session.run(tf.global_variables_initializer())
        (conv,) = [o for o in graph.get_operations() if o.type.startswith("Depthwise")]
        values, quantized, _ = session.run([weights, conv.inputs[1], net])
    largest = np.abs(values).max((0, 1))
    expected = quantize_array(values, -largest, largest, 4, narrow=True)
    np.testing.assert_allclose(quantized, expected, atol=1e-6)
    assert np.abs(quantized - values).max() > 0.01


def test_only_weights_have_symmetric_ranges():
    with Network(tf.nn.relu, symmetric_weights=True) as network:
        before, after = network.step(WEIGHTS[0], BATCHES[0])
        largest = np.abs(WEIGHTS[0]).max()
        assert network.read("weights_quant") == [-largest, largest]
        low, high = network.read("act_quant")
        assert low == 0
        assert high == pytest.approx(before.max(), rel=1e-3)


@pytest.mark.parametrize("sign", [1, -1])
def test_symmetric_ranges(sign):
    with Network(symmetric=True, weight_bits=4) as network:
        weights = sign * np.concatenate([WEIGHTS[0][:2], [[9, -2, 0, 0, 0]]])
        before, _ = network.step(weights, BATCHES[0])
        assert network.read("weights_quant") == [-9, 9]
        expected = BATCHES[0] @ quantize_array(weights, -9, 9, 4, narrow=True)
        np.testing.assert_allclose(before, expected, atol=1e-3)
        # -128 to 127: the range's ends are as many steps from zero.
        low, high = network.read("act_quant")
        assert low / high == pytest.approx(-128 / 127, rel=1e-4)
        assert (low, high) == (
            pytest.approx(min(before.min(), -before.max() * 128 / 127), rel=1e-3),
            pytest.approx(max(before.max(), -before.min() * 127 / 128), rel=1e-3),
        )
