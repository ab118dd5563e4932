"""Signal-to-noise ratios of 8 bits by layer, against values computed by hand."""

import numpy as np
import pytest

from deployment.inspect import quantization_noise
from deployment.inspect.quantization_noise import LayerNoise
from deployment.models.checkpoint import Checkpoint
from deployment.models.spec import ModelSpec
from tf_slim_compat import slim, tf

RNG = np.random.RandomState(0)
IMAGES = RNG.uniform(-1, 1, [20, 6, 6, 2]).astype(np.float32)
WEIGHTS = {
    "Net/First/weights": RNG.standard_normal([1, 1, 2, 4]).astype(np.float32),
    "Net/First/biases": np.zeros([4], np.float32),
    "Net/Side/weights": RNG.standard_normal([1, 1, 4, 4]).astype(np.float32),
    "Net/Side/biases": np.zeros([4], np.float32),
    "Net/Last/weights": RNG.standard_normal([144, 3]).astype(np.float32),
    "Net/Last/biases": np.zeros([3], np.float32),
}
LIMITS = (("min", -1.0), ("max", 1.0))


def network(images):
    net = slim.conv2d(images, 4, 1, scope="Net/First")
    side = slim.conv2d(net, 4, 1, activation_fn=None, scope="Net/Side")
    net = tf.add(net, side, name="Net/sum")
    logits = slim.fully_connected(
        slim.flatten(net), 3, activation_fn=None, scope="Net/Last"
    )
    return logits, {}


def save(folder, values):
    """Saves a checkpoint of these variables."""
    with tf.Graph().as_default(), tf.Session() as session:
        for name, value in values.items():
            tf.Variable(np.asarray(value, np.float32), name=name)
        session.run(tf.global_variables_initializer())
        return Checkpoint(tf.train.Saver().save(session, f"{folder}/model.ckpt"))


def make_spec(**options):
    return ModelSpec(model_name="net", num_outputs=3, image_size=6, **options)


def round_to(values, low, high, steps=255):
    """Returns values rounded to the steps of a range, as TensorFlow does."""
    scale = (high - low) / steps
    low = scale * np.round(low / scale)
    clipped = np.clip(values, low, low + scale * steps)
    return low + scale * np.floor((clipped - low) / scale + 0.5)


def compute_ratio(values, quantized):
    return 10 * np.log10(np.sum(values**2) / np.sum((values - quantized) ** 2))


def round_weights(weights, axis=None):
    widest = np.abs(weights).max(axis)
    return round_to(weights, -widest, widest, 254)


def test_a_network_in_float_is_calibrated(tmp_path):
    checkpoint = save(tmp_path, WEIGHTS)
    rows = quantization_noise.measure(network, make_spec(), checkpoint, IMAGES)
    by_name = {f"{row.layer}/{row.quantized}": row for row in rows}
    assert list(by_name) == [
        "Net/First/act_quant", "Net/Side/act_quant", "Net/post_activation_bypass_quant",
        "Net/Last/act_quant",
    ]  # fmt: skip
    weights = {n: v.astype(np.float64) for n, v in WEIGHTS.items()}
    first = weights["Net/First/weights"]
    rounded = round_weights(first, (0, 1, 2))
    expected = np.maximum(IMAGES.astype(np.float64) @ first[0, 0], 0)
    found = np.maximum(IMAGES.astype(np.float64) @ rounded[0, 0], 0)
    quantized = round_to(found, 0, expected.max())
    row = by_name["Net/First/act_quant"]
    assert row.weights == pytest.approx(compute_ratio(first, rounded), abs=0.05)
    assert row.alone == pytest.approx(compute_ratio(expected, quantized), abs=0.05)
    assert row.so_far == row.alone
    # Of the last layer: alone, its inputs are those in float.
    side = expected + expected @ weights["Net/Side/weights"][0, 0]
    last = weights["Net/Last/weights"]
    expected = side.reshape(20, -1) @ last
    found = side.reshape(20, -1) @ round_weights(last)
    quantized = round_to(found, expected.min(), expected.max())
    row = by_name["Net/Last/act_quant"]
    assert row.alone == pytest.approx(compute_ratio(expected, quantized), abs=0.1)
    assert row.so_far < row.alone
    added = by_name["Net/post_activation_bypass_quant"]
    assert added.weights is None and added.so_far < added.alone


def test_ranges_of_a_quantized_network_are_its_own(tmp_path):
    names = [
        f"Net/{layer}/{kind}_quant"
        for layer in ("First", "Side", "Last")
        for kind in ("weights", "act")
    ]
    names.append("Net/post_activation_bypass_quant")
    ranges = {f"{name}/{end}": s * 64.0 for name in names for end, s in LIMITS}
    ranges |= {f"Net/Side/act_quant/{end}": s * 0.5 for end, s in LIMITS}
    checkpoint = save(tmp_path, WEIGHTS | ranges)
    spec = make_spec(quantize=True)
    rows = quantization_noise.measure(network, spec, checkpoint, IMAGES)
    by_name = {row.layer: row for row in rows}
    # Much of it is cut off, since the range is too narrow.
    assert by_name["Net/Side"].alone < 10 < by_name["Net/First"].alone < 20
    weights = WEIGHTS["Net/First/weights"].astype(np.float64)
    rounded = round_to(weights, -64.0, 64.0, 254)
    expected = compute_ratio(weights, rounded)
    assert by_name["Net/First"].weights == pytest.approx(expected, abs=0.05)
    assert by_name["Net/Last"].so_far < by_name["Net/Last"].alone


def test_a_checkpoint_of_another_network(tmp_path):
    checkpoint = save(tmp_path, {"Other/weights": np.ones([3])})
    with pytest.raises(ValueError, match="is of another network"):
        quantization_noise.measure(network, make_spec(), checkpoint, IMAGES)


ROWS = [
    LayerNoise("Net/A", "act_quant", 47.12, np.inf, np.inf),
    LayerNoise("Net/B", "act_quant", 40.0, 12.34, 12.0),
    LayerNoise("add", "activation_Add_quant", None, 30.0, 11.0),
    LayerNoise("Net/C", "act_quant", 41.0, 20.0, 10.5),
    LayerNoise("Net/D", "act_quant", 41.0, 45.0, 10.25),
]


def test_the_report_names_the_layers_that_lose_most():
    title, table, worst = quantization_noise.describe(ROWS, 1)
    assert title == "Signal-to-noise ratio of 8 bits in dB, on 1 image:"
    rows = [line.split() for line in table.splitlines()]
    assert rows[2] == ["Net/A", "act_quant", "47.1", "exact", "exact"]
    assert rows[4] == ["add", "activation_Add_quant", "30.0", "11.0"]
    assert worst == (
        "Most is lost in Net/B (12.3 dB), Net/C (20.0 dB), add (30.0 dB). The outputs "
        "have 10.2 dB."
    )


def test_the_picture_marks_them_in_red():
    image = quantization_noise.draw(ROWS, "$title")
    pixels = np.asarray(image).astype(int)
    red = (np.abs(pixels - [214, 39, 40]).max(-1) < 3).any(axis=1)
    bars = np.flatnonzero(np.diff(np.concatenate([[0], red.astype(int)])) == 1)
    assert len(bars) >= 3 and image.width > 600
    taller = quantization_noise.draw(ROWS * 10, "title")
    assert taller.height > image.height
