"""An evaluator runs many checkpoints in one session, on every image once."""

import logging

import numpy as np
import pytest

from deployment import processor
from deployment.evaluate import evaluation
from deployment.models.spec import ModelSpec
from deployment.tasks import classification
from tf_slim_compat import slim, tf

NUM_CLASSES = 12
RNG = np.random.RandomState(0)
IMAGES = RNG.normal(size=[23, 2, 3, 1]).astype(np.float32)
LABELS = RNG.randint(0, NUM_CLASSES, 23).astype(np.int64)


def network(images, num_classes=NUM_CLASSES):
    logits = slim.fully_connected(
        slim.flatten(images), num_classes, activation_fn=None, scope="Net/Logits"
    )
    return logits, {}


def build_batches(batch_size=5, count=23):
    examples = tf.data.Dataset.from_tensor_slices((IMAGES[:count], LABELS[:count]))
    return examples.batch(batch_size)


def save(folder, step, version=tf.train.SaverDef.V2, scope="Net", decay=None):
    """Saves a random network; returns its prefix and its logits for `IMAGES`."""
    rng = np.random.RandomState(step)
    weights = rng.normal(size=[6, NUM_CLASSES]).astype(np.float32)
    biases = rng.normal(size=[NUM_CLASSES]).astype(np.float32)
    suffix = "/ExponentialMovingAverage" if decay else ""
    with tf.Graph().as_default(), tf.Session() as session:
        values = {f"weights{suffix}": weights, f"biases{suffix}": biases}
        if decay:
            values |= {"weights": weights * 0, "biases": biases * 0}
        for name, value in values.items():
            tf.get_variable(f"{scope}/Logits/{name}", initializer=value)
        tf.get_variable("global_step", initializer=np.int64(step))
        session.run(tf.global_variables_initializer())
        saver = tf.train.Saver(write_version=version)
        path = saver.save(session, f"{folder}/model.ckpt", step)
    return path, IMAGES.reshape(23, 6) @ weights + biases


def make_spec(decay=None):
    return ModelSpec(
        model_name=None, num_outputs=NUM_CLASSES, moving_average_decay=decay
    )


def make_config(path=None, eval_dir=None, decay=None, **options):
    return evaluation.EvaluationConfig(path, eval_dir, make_spec(decay), **options)


def make_evaluator(batch_size=5, path=None, **options):
    config = make_config(path, **options)
    return evaluation.Evaluator(config, network, lambda: build_batches(batch_size))


@pytest.mark.parametrize("batch_size", [1, 5, 23, 100])
def test_every_image_is_evaluated_once_with_any_batch_size(tmp_path, batch_size):
    path, logits = save(tmp_path, 3)
    with make_evaluator(batch_size) as evaluator:
        predictions = evaluator.predict(path)
    np.testing.assert_array_equal(predictions.labels, LABELS)
    np.testing.assert_allclose(predictions.logits, logits, atol=1e-5)
    assert (predictions.step, predictions.path) == (3, path)
    assert predictions.secs > 0


def test_many_checkpoints_of_both_formats(tmp_path):
    saved = [
        save(tmp_path, step, version)
        for step, version in ((1, tf.train.SaverDef.V2), (2, tf.train.SaverDef.V1))
    ]
    with make_evaluator() as evaluator:
        for path, logits in saved + saved[::-1]:
            predictions = evaluator.predict(path)
            np.testing.assert_allclose(predictions.logits, logits, atol=1e-5)
            values = evaluator.evaluate(path)
            expected = classification.TASK.compute(predictions, make_spec())
            assert values == {**expected, "num_images": 23}


def test_a_checkpoint_that_is_removed_while_it_is_restored(tmp_path, monkeypatch):
    path, _ = save(tmp_path, 1)
    check_fit = evaluation.restoring.check_fit

    def check_and_remove(*args):
        check_fit(*args)
        for file in tmp_path.glob("model.ckpt-1.data*"):
            file.unlink()

    with make_evaluator() as evaluator:
        monkeypatch.setattr(evaluation.restoring, "check_fit", check_and_remove)
        with pytest.raises(ValueError, match="ckpt-1' was removed or damaged while it"):
            evaluator.predict(path)
        monkeypatch.undo()
        path, logits = save(tmp_path, 2)
        np.testing.assert_allclose(evaluator.predict(path).logits, logits, atol=1e-5)


def test_other_graphs_and_sessions_are_not_changed(tmp_path):
    path, logits = save(tmp_path, 3)
    with tf.Graph().as_default() as graph, tf.Session() as session:
        network(tf.zeros([1, 2, 3, 1]))
        before = len(graph.get_operations())
        with make_evaluator() as evaluator:
            predictions = evaluator.predict(path)
        assert tf.get_default_session() is session
        assert tf.get_default_graph() is graph
        assert len(graph.get_operations()) == before
        graph.finalize()
    np.testing.assert_allclose(predictions.logits, logits, atol=1e-5)


def test_the_latest_checkpoint_of_a_folder_is_evaluated(tmp_path):
    save(tmp_path, 3)
    _, logits = save(tmp_path, 4)
    predictions = evaluation.predict(make_config(str(tmp_path)), network, build_batches)
    np.testing.assert_allclose(predictions.logits, logits, atol=1e-5)


def test_moving_averages_are_restored_if_training_kept_them(tmp_path):
    path, logits = save(tmp_path, 3, decay=0.99)
    with make_evaluator(decay=0.99) as evaluator:
        found = evaluator.predict(path).logits
    np.testing.assert_allclose(found, logits, atol=1e-5)
    with make_evaluator() as evaluator:
        assert not evaluator.predict(path).logits.any()


def test_every_evaluation_starts_at_the_first_image(tmp_path):
    path, _ = save(tmp_path, 3)
    with make_evaluator(max_num_batches=2) as evaluator:
        for _ in range(2):
            np.testing.assert_array_equal(evaluator.predict(path).labels, LABELS[:10])


@pytest.mark.parametrize("show_progress", [False, True])
def test_progress_can_be_hidden(tmp_path, capsys, caplog, show_progress):
    caplog.set_level(logging.INFO, logger="absl")
    path, _ = save(tmp_path, 3)
    with make_evaluator(show_progress=show_progress) as evaluator:
        evaluator.predict(path)
    assert bool(capsys.readouterr().err) == show_progress
    assert ("Restoring" in caplog.text) == show_progress


def test_a_split_without_images_is_an_error(tmp_path):
    path, _ = save(tmp_path, 3)
    with (
        pytest.raises(ValueError, match="the split has no images"),
        evaluation.Evaluator(
            make_config(), network, lambda: build_batches(count=0)
        ) as evaluator,
    ):
        evaluator.predict(path)


def test_every_checkpoint_is_checked(tmp_path):
    good, _ = save(tmp_path, 3)
    other, _ = save(tmp_path, 4, scope="Other")
    with make_evaluator() as evaluator:
        evaluator.predict(good)
        with pytest.raises(ValueError, match="is of another network: it holds Other"):
            evaluator.predict(other)
        with pytest.raises(ValueError, match="There is no checkpoint"):
            evaluator.predict(str(tmp_path / "model.ckpt-5"))
    with (
        pytest.raises(ValueError, match="Net.*needed|Give the --model_name, classes"),
        evaluation.Evaluator(
            make_config(), lambda images: network(images, 3), build_batches
        ) as evaluator,
    ):
        evaluator.predict(good)


@pytest.mark.parametrize("name", ["batch_size", "max_num_batches"])
def test_numbers_below_one_are_errors(name):
    with pytest.raises(ValueError, match=f"^{name} must be 1 or more, but is 0"):
        make_config(**{name: 0})


def test_evaluate_logs_and_writes_its_metrics(tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="absl")
    path, logits = save(tmp_path, 3)
    config = make_config(path, str(tmp_path / "eval"))
    values = evaluation.evaluate(config, network, build_batches)
    assert list(values) == ["Accuracy", "Loss", "Recall_5"]
    assert values["Accuracy"] == np.mean(logits.argmax(axis=1) == LABELS)
    assert f"eval/Accuracy[{values['Accuracy']:.4f}]" in caplog.text
    assert "Evaluated 23 images at step 3" in caplog.text
    (events,) = (tmp_path / "eval").glob("events*")
    written = {
        value.tag: (event.step, value.simple_value)
        for event in tf.train.summary_iterator(str(events))
        for value in event.summary.value
    }
    assert written == {
        f"eval/{name}": (3, pytest.approx(value)) for name, value in values.items()
    }


def test_bfloat16_computes_with_fewer_bits_where_the_processor_has_it(tmp_path):
    path, expected = save(tmp_path, 1)
    errors = {}
    for precision in ("auto", "float32", "bfloat16"):
        with make_evaluator(precision=precision) as evaluator:
            logits = evaluator.predict(path).logits
        errors[precision] = np.abs(logits - expected).max()
    assert errors["auto"] == errors["float32"] < 1e-5
    assert errors["bfloat16"] < 0.1
    assert (errors["bfloat16"] > 1e-3) == processor.has_bfloat16()
