"""Training on features that the frozen layers computed once."""

import logging

import numpy as np
import pytest
import toy_training as toy

from deployment import files
from deployment.config_flags import SettingError
from deployment.evaluate import evaluation
from deployment.model_deploy import DeploymentConfig
from deployment.models.history import History
from deployment.optimize.learning_rates import Schedule
from deployment.optimize.optimizers import OptimizerConfig
from deployment.train import cached_features, feature_store, training
from deployment.train.config import ValidationConfig
from tf_slim_compat import slim, tf

NUM_COPIES = 12  # More than two chunks.


@pytest.fixture(scope="module")
def trunk(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trunk")
    toy.train(folder, steps=10, seed=1, network_fn=network, save_summaries_secs=0)
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The folder of the features, empty at first."""
    monkeypatch.setattr(files, "get_cache_folder", lambda: str(tmp_path / "cache"))
    return tmp_path / "cache" / "features"


def network(images, is_training=True):
    """The toy network with dropout above the layers that are frozen."""
    with slim.arg_scope([slim.batch_norm], is_training=is_training):
        net = slim.conv2d(
            images, 8, 3, stride=2, normalizer_fn=slim.batch_norm, scope="Net/Conv"
        )
    net = slim.dropout(slim.flatten(net), 0.9, is_training=is_training)
    logits = slim.fully_connected(net, 3, activation_fn=None, scope="Net/Logits")
    return logits, {"Flat": net, "Logits": logits}


def plain_network(images):
    return toy.network(images)


def build_distorted(seed, start_image, batch_size=toy.BATCH_SIZE):
    """The toy images, each distorted by its index in the stream."""

    def distort(index):
        image = tf.gather(toy.IMAGES, index % 48)
        noise = tf.random.stateless_normal(image.shape, [seed, index])
        return image + noise / 10, tf.gather(toy.LABELS.astype(np.int64), index % 48)

    indices = tf.data.Dataset.range(start_image, 2**40)
    return indices.map(distort).batch(batch_size, drop_remainder=True)


def make_config(folder, trunk, steps=20, **options):
    options.setdefault("checkpoint_path", str(trunk))
    options.setdefault("trainable_scopes", "Net/Logits")
    return toy.make_config(folder, steps, seed=3, save_summaries_secs=0, **options)


def train(folder, trunk, build=build_distorted, network_fn=network, **options):
    others = {"build_evaluator": options.pop("build_evaluator", None)}
    config = make_config(folder, trunk, **options)
    return training.train(config, network_fn, build, **others)


def compute(trunk, copies=1, build=build_distorted, **options):
    """Computes features as a run does before its first step."""
    config = make_config("run", trunk, feature_copies=copies, **options)
    cached_features.Trunk(config, None, network, build).replace(config)


def count_images(caplog):
    """Returns the images whose features were computed, and forgets the log."""
    counts = [r.args[0] for r in caplog.records if r.msg.startswith("Computed the")]
    caplog.clear()
    return [int(count.split()[0]) for count in counts]


def assert_equal_bits(first, second):
    first, second = toy.read_all(first), toy.read_all(second)
    assert set(first) == set(second)
    for name, value in first.items():
        assert value.tobytes() == second[name].tobytes(), name


def test_a_head_trained_on_features_is_the_head_trained_on_images(trunk, tmp_path):
    """Batches of all images make the order of the images meaningless."""
    options = {
        "network_fn": plain_network,
        "batch_size": 48,
        "schedule": Schedule("fixed", 0.1),
        "optimizer": OptimizerConfig("momentum"),
        "steps": 5,
    }

    def build(seed, start_image):
        return toy.build_batches(seed, start_image, 48)

    options["build"] = build
    train(tmp_path / "plain", trunk, **options)
    train(tmp_path / "cached", trunk, feature_copies=1, **options)
    plain, cached = (toy.read_all(tmp_path / name) for name in ("plain", "cached"))
    assert set(plain) == set(cached)
    for name, value in plain.items():
        np.testing.assert_allclose(cached[name], value, atol=1e-5, err_msg=name)
    start = toy.read(trunk, "Net/Logits/weights")
    assert np.abs(plain["Net/Logits/weights"] - start).max() > 1e-3


def test_a_run_that_is_resumed_equals_one_that_was_not(trunk, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    train(tmp_path / "whole", trunk, feature_copies=2)
    assert count_images(caplog) == [96]
    train(tmp_path / "parts", trunk, steps=7, feature_copies=2)
    train(tmp_path / "parts", trunk, steps=20, feature_copies=2)
    assert_equal_bits(tmp_path / "whole", tmp_path / "parts")
    assert count_images(caplog) == []  # Both used the features of the first.
    train(tmp_path / "one", trunk, feature_copies=1)
    one, two = (
        toy.read(tmp_path / name, "Net/Logits/weights") for name in ("one", "whole")
    )
    assert not np.array_equal(one, two)


def test_a_killed_computation_goes_on_and_damage_is_computed_again(
    trunk, caplog, cache, monkeypatch
):
    caplog.set_level(logging.INFO)
    compute(trunk, NUM_COPIES)
    (path,) = cache.glob("*/features.bin")
    expected = path.read_bytes()
    assert count_images(caplog) == [48 * NUM_COPIES]
    chunk = cached_features._ROWS_PER_CHUNK
    for content, count in (
        (expected, []),
        (expected[:-1], [48 * NUM_COPIES - 2 * chunk]),
        (b"\xff" + expected[1:], [48 * NUM_COPIES]),
    ):
        path.write_bytes(content)
        compute(trunk, NUM_COPIES)
        assert path.read_bytes() == expected
        assert count_images(caplog) == count

    append, calls = feature_store.FeatureStore.append, []

    def append_once(*args):
        if calls:
            raise KeyboardInterrupt
        calls.append(args)
        append(*args)

    path.unlink()
    monkeypatch.setattr(feature_store.FeatureStore, "append", append_once)
    with pytest.raises(KeyboardInterrupt):
        compute(trunk, NUM_COPIES)
    monkeypatch.setattr(feature_store.FeatureStore, "append", append)
    compute(trunk, NUM_COPIES)
    assert path.read_bytes() == expected
    assert count_images(caplog) == [48 * NUM_COPIES - chunk]


def test_features_of_other_images_or_weights_are_others(trunk, tmp_path, cache):
    def build_brighter(seed, start_image):
        batches = build_distorted(seed, start_image)
        return batches.map(lambda images, labels: (images + 1, labels))

    def is_new(*args, **options):
        before = set(cache.glob("*"))
        compute(*args, **options)
        return set(cache.glob("*")) != before

    assert is_new(trunk)
    assert not is_new(trunk, label_smoothing=0.1, batch_size=4)
    assert is_new(trunk, build=build_brighter)
    assert is_new(trunk, copies=2)
    assert is_new(trunk, precision="bfloat16")
    other = tmp_path / "other"
    toy.train(other, 2, network_fn=network, save_summaries_secs=0)
    assert is_new(other)


def test_validation_uses_features_as_well(trunk, tmp_path, cache):
    def build_evaluator(**options):
        config = evaluation.EvaluationConfig(
            None,
            None,
            toy.make_spec(),
            num_images=48,
            batch_size=7,
            show_progress=False,
        )
        return evaluation.Evaluator(
            config, lambda images: network(images, False), toy.build_one_pass, **options
        )

    for copies in (0, 1):
        train(
            tmp_path / "run",
            trunk,
            steps=6 * copies + 6,
            feature_copies=copies,
            validation=ValidationConfig("validation"),
            build_evaluator=build_evaluator,
        )
    rows = History(str(tmp_path / "run")).rows("validation")
    assert [row["num_images"] for row in rows] == [48, 48]
    with build_evaluator() as evaluator:
        expected = evaluator.evaluate(str(tmp_path / "run"))
    for name in ("accuracy", "loss"):
        assert rows[-1][name] == pytest.approx(expected[name], abs=1e-5)
    assert len(list(cache.glob("*"))) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trainable_scopes": None}, "all layers are trained"),
        ({"freeze_batch_norm": False}, "set freeze_batch_norm, or set feature_copies"),
        ({"mixup_alpha": 0.2}, "mixed anew in every step"),
        ({"cutmix_alpha": 1.0}, "mixed anew in every step"),
        ({"master": "grpc://host:1"}, "one clone in one process"),
        ({"feature_copies": -1}, "feature_copies must be 0 or more"),
        ({"trainable_scopes": "Net/Conv"}, "because the first layer changes"),
        ({"checkpoint_path": None}, "give a trained network with checkpoint_path"),
        ({"checkpoint_exclude_scopes": "Net"}, "checkpoint_exclude_scopes leaves"),
    ],
)
def test_why_features_cannot_be_computed_once(trunk, tmp_path, options, message):
    options = {"feature_copies": 1, **options}
    with pytest.raises(SettingError, match=message):
        train(tmp_path, trunk, **options)


def test_several_clones_are_refused():
    with pytest.raises(SettingError, match="leave num_clones at 1"):
        training.TrainingConfig(
            train_dir="run",
            spec=toy.make_spec(),
            num_samples=48,
            deployment=DeploymentConfig(num_clones=2, clone_on_cpu=True),
            trainable_scopes="Net/Logits",
            feature_copies=1,
        )


def test_a_rehearsal_computes_few_features(trunk, caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(cached_features, "_ROWS_PER_CHUNK", 31)
    compute(trunk, copies=2, is_rehearsal=True)
    assert count_images(caplog) == [62]
