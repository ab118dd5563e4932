"""Training with fake quantization: what it saves, resumes and starts from."""

import logging

import numpy as np
import pytest
import toy_training
from toy_training import make_spec, read, read_all, train

from deployment import model_deploy
from deployment.evaluate import evaluation
from deployment.models.run_card import RunCard
from deployment.quantize import networks
from tf_slim_compat import tf

CARD = RunCard(
    model_name="toy", num_classes=3, image_size=8, preprocessing_name="lenet"
)
RANGES = {
    f"Net/{layer}/{kind}_quant/{end}"
    for layer in ("Conv", "Logits")
    for kind in ("weights", "act")
    for end in ("min", "max")
}


def evaluate(folder, **options):
    spec = make_spec(quantize=True, **options)
    config = evaluation.EvaluationConfig(str(folder), None, spec)
    return evaluation.evaluate(
        config, toy_training.network_in_evaluation, toy_training.build_one_pass
    )


@pytest.fixture(scope="module")
def in_float(tmp_path_factory):
    folder = tmp_path_factory.mktemp("float")
    train(folder, steps=40)
    return folder


@pytest.fixture(scope="module")
def quantized(tmp_path_factory, in_float):
    """A run of 12 steps from a network that was trained in float."""
    folder = tmp_path_factory.mktemp("quantized")
    train(
        folder, steps=12, quantize_delay=0, checkpoint_path=str(in_float), seed=1,
        card=CARD,
    )  # fmt: skip
    return folder


def test_a_run_starts_from_a_network_in_float(in_float, quantized):
    found = read_all(quantized)
    assert found.keys() >= RANGES
    assert not any("quant" in name for name in read_all(in_float))
    for name in RANGES:
        assert np.shape(found[name]) == ()
    for layer in ("Net/Conv", "Net/Logits"):  # Integer kernels have no zero point.
        low, high = (found[f"{layer}/weights_quant/{end}"] for end in ("min", "max"))
        assert low == -high
    assert found["Net/Conv/act_quant/max"] > found["Net/Conv/act_quant/min"] == 0
    weights = np.abs(found["Net/Logits/weights"])
    # The last step has updated the weights since.
    assert abs(weights.max() - found["Net/Logits/weights_quant/max"]) < 0.02
    assert evaluate(quantized)["Accuracy"] > 0.9


def test_it_resumes_bit_for_bit(tmp_path, in_float, quantized):
    options = {"quantize_delay": 0, "checkpoint_path": str(in_float), "seed": 1}
    for steps in (5, 12):
        train(tmp_path, steps=steps, card=CARD, **options)
    expected, found = read_all(quantized), read_all(tmp_path)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(value, found[name], name)


def test_before_the_delay_it_trains_in_float(tmp_path):
    """The ranges follow the values from the first step on."""
    train(tmp_path / "float", steps=3, seed=1)
    train(tmp_path / "delayed", steps=3, seed=1, quantize_delay=3)
    train(tmp_path / "at once", steps=3, seed=1, quantize_delay=2)
    expected = read(tmp_path / "float", "Net/Logits/weights")
    difference = np.abs(read(tmp_path / "delayed", "Net/Logits/weights") - expected)
    assert difference.max() < 1e-5
    quantized = np.abs(read(tmp_path / "at once", "Net/Logits/weights") - expected)
    assert quantized.max() > 1e-4
    assert read(tmp_path / "delayed", "fake_quantization_step") == 3
    assert read(tmp_path / "delayed", "Net/Logits/act_quant/max") != 6


def test_accumulated_batches_are_one_step_of_the_delay(tmp_path):
    options = {"seed": 1, "gradient_accumulation_steps": 2}
    train(tmp_path / "float", steps=2, **options)
    train(tmp_path / "delayed", steps=2, quantize_delay=2, **options)
    expected = read(tmp_path / "float", "Net/Logits/weights")
    found = read(tmp_path / "delayed", "Net/Logits/weights")
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert read(tmp_path / "delayed", "fake_quantization_step") == 4


def test_clones_averages_and_channels(tmp_path, monkeypatch):
    two = model_deploy.DeploymentConfig(num_clones=2, clone_on_cpu=True)
    monkeypatch.setattr(
        toy_training.model_deploy, "DeploymentConfig", lambda **options: two
    )
    spec = make_spec(moving_average_decay=0.5, quantize=True, quantize_per_channel=True)
    train(
        tmp_path, steps=30, quantize_delay=20, quantize_per_channel=True,
        quantize_freeze_bn_delay=25, spec=spec,
    )  # fmt: skip
    found = read_all(tmp_path)
    assert found.keys() >= RANGES
    assert not any(name.startswith("clone") for name in found)
    assert found["Net/Conv/weights_quant/min"].shape == (8,)
    assert found["Net/Logits/weights_quant/max"].shape == ()  # Of a whole layer.
    assert found["Net/Conv/act_quant/max/ExponentialMovingAverage"] > 0
    metrics = evaluate(tmp_path, moving_average_decay=0.5, quantize_per_channel=True)
    assert metrics["Accuracy"] > 0.9


def test_frozen_layers_keep_their_statistics(tmp_path, in_float):
    train(
        tmp_path, steps=3, quantize_delay=0, checkpoint_path=str(in_float),
        trainable_scopes="Net/Logits", freeze_batch_norm=True,
    )  # fmt: skip
    for name in ("weights", "BatchNorm/moving_mean", "BatchNorm/moving_variance"):
        name = f"Net/Conv/{name}"
        np.testing.assert_array_equal(read(tmp_path, name), read(in_float, name), name)
    assert read(tmp_path, "Net/Conv/act_quant/max") != 6
    assert evaluate(tmp_path)["Accuracy"] > 0.9


def test_logits_of_evaluation_are_quantized():
    spec = make_spec(quantize=True)
    network_fn = networks.in_evaluation(toy_training.network_in_evaluation, spec)
    with tf.Graph().as_default(), tf.Session() as session:
        logits, _ = network_fn(tf.constant(toy_training.IMAGES))
        session.run(tf.global_variables_initializer())
        steps = session.run(logits) / (12 / 255)  # Of the initial range, -6 to 6.
    assert len(np.unique(steps.round())) > 3
    np.testing.assert_allclose(steps, steps.round(), atol=1e-3)


def test_precision_is_float32_and_the_log_says_why(tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="absl")
    train(tmp_path, steps=1, quantize_delay=0, precision="auto")
    assert "Precision: float32, because fake quantization simulates" in caplog.text


def test_a_checkpoint_in_float_is_no_quantized_one(in_float):
    with pytest.raises(ValueError, match="does not hold Net/Conv/weights_quant/min"):
        evaluate(in_float)
