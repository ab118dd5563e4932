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
    checking.report(rows)
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
    checking.report(checking.check(config, model, files, samples))
    other = dataclasses.replace(model, path=paths[1])
    rows = checking.check(config, other, files, samples)
    with pytest.raises(ValueError, match="frozen: scores differ by .*1e-04"):
        checking.report(rows)
    nowhere = dataclasses.replace(samples, pixels=np.full_like(samples.pixels, np.nan))
    with pytest.raises(ValueError, match="3 of 3 images have scores that are not"):
        checking.check(config, model, files, nowhere)


def compare(found, expected, labels):
    """Compares predicted classes as `checking.check` does."""
    task = tasks.get_task("classification")
    found, expected = np.eye(5)[found], np.eye(5)[expected]
    return task.compare(found, expected, np.array(labels), SPEC)


def judge(found, expected, labels, name="tflite_int8"):
    comparison = compare(found, expected, labels)
    return formats.get_format(name).tolerance.judge(comparison)


APPROXIMATE = ("tflite_float16", "tflite_int8")


@pytest.mark.parametrize("name", APPROXIMATE)
def test_scores_may_differ_where_answers_do_not(name):
    comparison = dataclasses.replace(compare([0], [0], [0]), difference=0.5)
    assert formats.get_format(name).tolerance.judge(comparison) == base.Verdict()


def test_the_interval_of_a_fraction():
    # Published values, such as in Brown, Cai and DasGupta 2001.
    for fraction, count, low, high in (
        (1, 8, 0.6756, 1),
        (7 / 8, 8, 0.5291, 0.9776),
        (0.5, 10, 0.2366, 0.7634),
        (0, 20, 0, 0.1611),
    ):
        found = base.compute_wilson_interval(fraction, count)
        assert found == pytest.approx((low, high), abs=1e-4)


@pytest.mark.parametrize("name", APPROXIMATE)
def test_answers_without_labels_are_judged_by_agreement(name):
    def judge_changed(changed, count):
        found = [1] * changed + [0] * (count - changed)
        return judge(found, [0] * count, [-1] * count, name)

    assert judge_changed(10, 100) == base.Verdict()
    few = judge_changed(1, 8)
    assert few.failure is None
    assert "87.5% of 8 images (52.9% to 97.8% with 95 % confidence)" in few.doubt
    assert "less than 90%" in judge_changed(4, 8).failure
    assert judge_changed(16, 128).failure is None
    assert "75.0% of 128 images" in judge_changed(32, 128).failure


def test_answers_with_labels_are_judged_by_accuracy_too():
    right = [0] * 100
    assert judge([0] * 98 + [1] * 2, right, right) == base.Verdict()
    # As many become right as become wrong.
    swapped = [1] * 4 + [0] * 4
    assert judge(swapped + right[8:], right, [1] * 2 + right[2:]).failure is None
    for lost, is_certain in ((3, False), (9, True)):
        verdict = judge([1] * lost + right[lost:], right, right)
        assert (verdict.failure is not None) == is_certain
        said = verdict.failure or verdict.doubt
        assert f"it scores {100 - lost}.0%, {lost}.0% ± " in said
    assert judge([1] + [0] * 7, right[:8], right[:8]).failure is None
    assert compare([0], [0], [0]).score == 1
    assert compare([0], [0], [-1]).score is None


def test_doubts_are_logged_and_failures_raised(caplog):
    rows = [
        checking.Row("int8", 1, compare([0], [0], [0]), 1.0, verdict)
        for verdict in (base.Verdict(), base.Verdict(doubt="it is unclear"))
    ]
    checking.report(rows)
    (message,) = caplog.messages
    assert message.startswith("int8 may be worse than the checkpoint: it is unclear.")
    rows.append(dataclasses.replace(rows[0], verdict=base.Verdict("it is bad")))
    with pytest.raises(ValueError, match="do not match the checkpoint: int8: it is ba"):
        checking.report(rows)


def test_what_is_not_a_number_fails():
    nan = np.full([1, 5], np.nan)
    comparison = tasks.get_task("classification").compare(
        nan, np.eye(5)[:1], np.array([0]), SPEC
    )
    for name in ("frozen", "tflite_float16", "tflite_int8"):
        assert formats.get_format(name).tolerance.judge(comparison).failure, name


def test_exact_formats_are_judged_by_the_largest_difference():
    one = compare([0], [0], [0])
    for name in ("frozen", "saved_model", "tflite", "onnx"):
        tolerance = formats.get_format(name).tolerance
        within, beyond = (
            tolerance.judge(dataclasses.replace(one, difference=d))
            for d in (0.99e-4, 1.01e-4)
        )
        assert within == base.Verdict()
        assert beyond.failure.endswith("more than 1e-04")


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
