"""The check compares exported files with their checkpoint."""

import dataclasses

import exported_models
import numpy as np
import probe_weights
import pytest

from deployment import formats, tasks
from deployment.formats import base, checking, exporting, freezing
from deployment.formats.base import ExportOptions
from deployment.models.spec import ModelSpec

SPEC = ModelSpec(model_name=None, num_outputs=5)


def test_all_formats_agree(exported):
    samples = exported.samples
    assert len(samples) == 6 and samples.pixels.shape == (6, 64, 64, 3)
    with formats.open_predictor(exported.paths["frozen"]) as frozen:
        probe_weights.assert_varied(frozen.predict(samples.pixels))
    rows = checking.check(exported.config, exported.model, exported.paths, samples)
    by_name = {row.format: row for row in rows}
    assert by_name.keys() >= {"saved_model, pixels", "saved_model, image_bytes"}
    titles, exact = ["checkpoint"], []
    for format_ in map(formats.get_format, formats.list_formats()):
        own = [format_.name + (f", {s}" if s else "") for s in format_.signatures]
        titles += own
        exact += own if format_.tolerance == base.MaxDifference(1e-4) else []
    assert list(by_name) == titles and len(exact) >= 5
    for name in exact:
        assert by_name[name].comparison.difference < 1e-5, name
        assert by_name[name].comparison.agreement == 1
    assert 0 < by_name["tflite_float16"].comparison.difference < 1e-2
    assert by_name["tflite_int8"].comparison.difference < 0.1
    assert by_name["tflite_int8"].size < by_name["tflite"].size / 2
    assert all(row.size > 0 and row.millisecs > 0 for row in rows)
    checking.raise_failures(rows)
    table = checking.format_table(rows).split("\n")
    assert len({len(line) for line in table}) == 1 and len(table) == len(rows) + 2


def test_a_difference_is_a_failure(tmp_path):
    name = "softmax_regression"
    config = exported_models.make_config(name)
    paths = [
        exported_models.save_checkpoint(tmp_path / f"model{i}.ckpt", name, seed=i)
        for i in range(2)
    ]
    model = freezing.freeze(config, paths[0])
    samples = exported_models.read_samples(config, model, 3)
    options = ExportOptions(config.preprocessing_fn)
    files = exporting.export(model, str(tmp_path), ["frozen"], options)
    checking.raise_failures(checking.check(config, model, files, samples))
    other = dataclasses.replace(model, path=paths[1])
    rows = checking.check(config, other, files, samples)
    with pytest.raises(ValueError, match="frozen: scores differ by .*1e-04"):
        checking.raise_failures(rows)


def compare(found, expected, labels):
    """Compares predicted classes as `checking.check` does."""
    task = tasks.get_task("classification")
    found, expected = np.eye(5)[found], np.eye(5)[expected]
    return task.compare(found, expected, np.array(labels), SPEC)


def find_failure(found, expected, labels, name="tflite_int8"):
    comparison = compare(found, expected, labels)
    return formats.get_format(name).tolerance.find_failure(comparison, len(found))


def test_integers_are_judged_by_accuracy():
    right = [0] * 100
    assert find_failure([0] * 98 + [1] * 2, right, right) is None
    assert "scores 97.0%, 3.0% less" in find_failure([0] * 97 + [1] * 3, right, right)
    assert find_failure([1] + [0] * 19, right[:20], right[:20]) is None
    unknown = [-1] * 100
    assert find_failure([0] * 90 + [1] * 10, right, unknown) is None
    assert "11.0%" in find_failure([0] * 89 + [1] * 11, right, unknown)
    assert compare([0], [0], [0]).score == 1
    assert compare([0], [0], [-1]).score is None


def test_what_is_not_a_number_fails():
    nan = np.full([1, 5], np.nan)
    comparison = tasks.get_task("classification").compare(
        nan, np.eye(5)[:1], np.array([0]), SPEC
    )
    for name in ("frozen", "tflite_float16", "tflite_int8"):
        assert formats.get_format(name).tolerance.find_failure(comparison, 1), name


def test_tolerances_of_floating_point():
    one = compare([0], [0], [0])
    for name, limit in (("frozen", 1e-4), ("onnx", 1e-4), ("tflite_float16", 1e-2)):
        tolerance = formats.get_format(name).tolerance
        within, beyond = (
            tolerance.find_failure(dataclasses.replace(one, difference=d), 1)
            for d in (limit * 0.99, limit * 1.01)
        )
        assert within is None and beyond.endswith(f"more than {limit:.0e}")


@pytest.mark.parametrize("name", ["frozen", "saved_model", "tflite"])
def test_a_damaged_file_is_one_sentence(name, exported, tmp_path):
    path = tmp_path / formats.get_format(name).file_name
    paths = {name: str(path)}
    if name == "saved_model":
        path.mkdir()
        path /= "saved_model.pb"
    path.write_bytes(b"no model")
    with pytest.raises(ValueError, match="^[^\n]*$"):
        checking.check(exported.config, exported.model, paths, exported.samples)


def test_samples_are_needed(exported):
    with pytest.raises(ValueError, match="no images to check"):
        checking.read_samples(
            lambda: exported_models.build_mosaics(1).take(0),
            exported.model,
            exported.config.preprocessing_fn,
            100,
        )
