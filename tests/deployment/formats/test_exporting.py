"""Export writes what the checkpoint computes, completely or not at all."""

import dataclasses
import logging
import os

import exported_models
import numpy as np
import pytest
from exported_models import CLASSES, make_config, save_checkpoint

from deployment import formats
from deployment.formats import checking, exporting, freezing
from deployment.formats.base import ExportOptions
from deployment.models import graph_files
from nets import nets_factory
from tf_slim_compat import slim, tf


def export_and_check(config, path, folder, names, label=0):
    """Returns the model and the rows of the check."""
    model = freezing.freeze(config, str(path))
    samples = exported_models.read_samples(config, model, 3, label=label)
    options = ExportOptions(config.preprocessing_fn)
    paths = exporting.export(model, str(folder), names, options)
    return model, checking.check(config, model, paths, samples)


def test_labels_are_written_next_to_the_files(exported):
    text = (exported.folder / "labels.txt").read_text()
    assert text.split("\n") == ["0:a", "1:b", "2:c", "3:d", "4:e", ""]
    assert not [name for name in os.listdir(exported.folder) if name.startswith(".")]


@pytest.mark.slow
def test_a_frozen_inception_in_a_plain_loader(tmp_path):
    path = save_checkpoint(tmp_path / "model.ckpt", "inception_v3", (107, 107, 3))
    config = make_config("inception_v3", image_size=107)
    model = freezing.freeze(config, path)
    options = ExportOptions(config.preprocessing_fn)
    paths = exporting.export(model, str(tmp_path), ["frozen"], options)
    graph_def = tf.GraphDef()
    with open(paths["frozen"], "rb") as file:
        graph_def.ParseFromString(file.read())
    with tf.Graph().as_default(), tf.Session() as session:
        tf.import_graph_def(graph_def, name="")
        logits = session.run(
            "InceptionV3/Logits/SpatialSqueeze:0",
            {"input:0": np.zeros([2, 107, 107, 3])},
        )
    assert logits.shape == (2, len(CLASSES))


def test_moving_averages_are_exported(tmp_path):
    name = "softmax_regression"
    path = save_checkpoint(tmp_path / "model.ckpt", name, decay=0.5)
    results = []
    for decay in (None, 0.5):
        config = make_config(name, moving_average_decay=decay)
        folder = tmp_path / str(decay)
        model, (_, row) = export_and_check(config, path, folder, ["frozen"])
        assert row.comparison.difference < 1e-5
        results.append(model.graph_def.SerializeToString())
    assert results[0] != results[1]


@pytest.mark.parametrize("shape", [[-1, 5], [-1, 1, 1, 5]])
def test_a_network_without_predictions_gets_probabilities(shape, tmp_path):
    def network_fn(images):
        flat = slim.flatten(images)
        logits = slim.fully_connected(flat, len(CLASSES), None, scope="fc")
        return tf.reshape(logits, shape, name="logits"), {}

    size = exported_models.SIZE
    with tf.Graph().as_default(), tf.Session() as session:
        network_fn(tf.zeros([1, size, size, 3]))
        session.run(tf.global_variables_initializer())
        path = tf.train.Saver().save(session, f"{tmp_path}/model.ckpt")
    config = make_config(network_fn=network_fn, output_names=None)
    names = ["frozen", "saved_model", "tflite"]
    model, rows = export_and_check(config, path, tmp_path, names)
    assert model.spec.output_names == ("0", "1", "2", "3", "4")
    assert model.scores == "scores:0" and model.logits == "logits:0"
    with tf.Graph().as_default():
        logits, scores = model.build(tf.zeros([2, size, size, 3]))
    assert logits.shape.as_list() == scores.shape.as_list() == [2, 5]
    assert graph_files.find_outputs(model.graph_def) == ["scores"]
    assert max(row.comparison.difference for row in rows) < 1e-5


@pytest.mark.parametrize(
    ("task", "state"),
    [
        ("multilabel", {"thresholds": [0.5] * 5}),
        ("regression", {"mean": [3.0] * 5, "scale": [20.0, 1, 2, 3, 4]}),
    ],
)
def test_other_tasks_do_not_use_the_networks_softmax(task, state, tmp_path):
    name = "softmax_regression"
    path = save_checkpoint(tmp_path / "model.ckpt", name, (24, 24, 3))
    config = make_config(name, task=task, task_state=state, image_size=24)
    names = ["frozen", "tflite", "onnx"]
    model, rows = export_and_check(config, path, tmp_path, names, np.zeros(5, "f"))
    assert graph_files.find_outputs(model.graph_def) == ["scores"]
    assert "SoftmaxRegression/Predictions" not in str(model.graph_def)
    assert max(row.comparison.difference for row in rows) < 1e-5
    assert not any(any(row.verdict) for row in rows)
    for name in ("frozen_graph.pb", "model.tflite", "model.onnx"):
        with formats.open_predictor(f"{tmp_path}/{name}") as predictor:
            assert predictor.spec == config.spec


def test_export_checkpoint_replaces_the_older_export(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO, logger="absl")
    name = "softmax_regression"
    checkpoint = save_checkpoint(tmp_path / "model.ckpt", name)
    folder = tmp_path / "export" / "best"
    exporting.export_checkpoint(make_config(name), checkpoint, str(folder))
    names = {"SHA256SUMS", "frozen_graph.pb", "labels.txt", "saved_model"}
    assert {path.name for path in folder.iterdir()} == names
    assert f"Wrote {folder}/frozen_graph.pb." in caplog.messages
    changed = make_config(name, output_names=tuple("vwxyz"))
    exporting.export_checkpoint(changed, checkpoint, str(folder))
    assert "0:v" in (folder / "labels.txt").read_text()

    def fail(*_):
        raise OSError("the disk is full")

    failing = dataclasses.replace(formats.get_format("saved_model"), write=fail)
    known = {"frozen": formats.get_format("frozen"), "saved_model": failing}
    monkeypatch.setattr(formats, "get_format", known.get)
    with pytest.raises(OSError, match="the disk is full"):
        exporting.export_checkpoint(make_config(name), checkpoint, str(folder))
    assert "0:v" in (folder / "labels.txt").read_text()
    assert [path.name for path in folder.parent.iterdir()] == ["best"]


def test_files_and_folders_are_replaced(exported, tmp_path):
    names, options = (
        ["frozen", "saved_model"],
        ExportOptions(exported.config.preprocessing_fn),
    )
    (tmp_path / "frozen_graph.pb").write_bytes(b"older")
    (tmp_path / "saved_model").mkdir()
    (tmp_path / "saved_model" / "older").write_bytes(b"")
    paths = exporting.export(exported.model, str(tmp_path), names, options)
    for path in paths.values():
        formats.open_predictor(path).close()
    assert {path.name for path in (tmp_path / "saved_model").iterdir()} == {
        "saved_model.pb",
        "variables",
    }
    assert {path.name for path in tmp_path.iterdir()} == {
        "SHA256SUMS",
        "frozen_graph.pb",
        "labels.txt",
        "saved_model",
    }


def test_mistakes(exported, tmp_path):
    model = exported.model
    options = ExportOptions(exported.config.preprocessing_fn)
    with pytest.raises(ValueError, match="Unknown format 'froze'. Nearest: frozen"):
        exporting.export(model, str(tmp_path), ["froze"], options)
    with pytest.raises(ValueError, match="tflite_int8 needs images to calibrate"):
        exporting.export(model, str(tmp_path), ["frozen", "tflite_int8"], options)
    with pytest.raises(ValueError, match="5 outputs, but 2 names"):
        make_config(output_names=("a", "b"))
    assert os.listdir(tmp_path) == []


def test_checkpoints_that_do_not_fit(tmp_path):
    name = "softmax_regression"
    path = save_checkpoint(tmp_path / "model.ckpt", name)
    other = nets_factory.get_network_fn(name, 7)
    with pytest.raises(ValueError, match="network has 7 outputs, but .* 5"):
        freezing.freeze(make_config(name, network_fn=other), path)
    config = make_config(name, network_fn=other, num_outputs=7, output_names=None)
    with pytest.raises(ValueError, match="shape"):
        freezing.freeze(config, path)
    with pytest.raises(ValueError, match="no moving averages"):
        freezing.freeze(make_config(name, moving_average_decay=0.9), path)
    with pytest.raises(ValueError, match="no checkpoint"):
        freezing.freeze(make_config(name), f"{path}0")
