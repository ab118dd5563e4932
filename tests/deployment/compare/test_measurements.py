"""Measurements of runs are read from their files or event files."""

import json

import pytest
from measured_runs import write_run

from deployment.compare import measurements
from deployment.compare.measurements import Best, Run, read_runs
from deployment.models.run_card import RunCard
from tf_slim_compat import tf


def write_events(folder, *scalars):
    """Scalars: (step, tag, value)."""
    with tf.Graph().as_default(), tf.summary.FileWriter(str(folder)) as writer:
        for step, tag, value in scalars:
            scalar = tf.Summary.Value(tag=tag, simple_value=value)
            writer.add_summary(tf.Summary(value=[scalar]), step)


def test_curves_are_what_was_measured(tmp_path):
    write_run(tmp_path / "a")
    (run,) = read_runs([str(tmp_path / "a")])
    xs, ys = run.get_curve("evaluations", "accuracy", "epoch")
    assert xs == [1, 2, 3, 4] and ys == pytest.approx([0.7, 0.75, 0.8, 0.75])
    assert len(run.get_curve("training", "loss", "step")[0]) == 20
    assert run.split == "validation" and run.name == "a"
    assert run.metrics == ["accuracy", "loss", "total_loss"]


def test_the_loss_of_older_runs_is_the_total_loss(tmp_path):
    rows = [{"step": 1, "loss": 2.5, "accuracy": 0.5}, {"step": 2, "accuracy": 0.5}]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "training.jsonl").write_text(text)
    (run,) = read_runs([str(tmp_path)])
    assert run.get_curve("training", "loss", "step") == ([], [])
    assert run.get_curve("training", "total_loss", "step") == ([1], [2.5])
    assert run.get_curve("training", "accuracy", "step") == ([1, 2], [0.5, 0.5])


def test_metrics_are_the_numeric_columns():
    evaluations = [
        {"step": 1, "epoch": 0.1, "split": "validation", "num_images": 9, "secs": 1.5,
         "time": "now", "train_loss": 1.0, "learning_rate": 0.1, "mae": None,
         "r2": 0.5, "checked": True},
        {"step": 2, "mae": 3, "r2": None},
    ]  # fmt: skip
    training = [{"step": 1, "images_per_sec": 9.5, "data_wait_share": 0.1, "loss": 2.0}]
    run = Run("a", None, training, evaluations)
    assert run.metrics == ["r2", "mae", "loss"]
    assert run.get_curve("evaluations", "mae", "step") == ([2], [3])


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("accuracy", False),
        ("r2", False),
        ("top_5", False),
        ("mean_average_precision", False),
        ("loss", True),
        ("mae", True),
        ("rmse", True),
        ("clone_loss", True),
        ("lossless", False),
    ],
)
def test_losses_and_errors_are_better_if_lower(metric, expected):
    assert measurements.is_lower_better(metric) is expected


def make_run(*rows, **results):
    card = RunCard(
        model_name="lenet",
        num_classes=3,
        image_size=28,
        preprocessing_name="lenet",
        results=results,
    )
    return Run("a", card, [], list(rows))


def test_the_best_evaluation_is_that_of_the_run_card():
    best = {"metric": "r2", "value": 0.4, "step": 2}
    run = make_run({"step": 1, "mae": 1.0, "r2": 0.5}, best=best)
    assert run.find_best() == Best("r2", 0.4, 2)


def test_the_best_evaluation_is_found_by_the_first_metric_but_the_loss():
    rows = (
        {"step": 1, "loss": 1.0, "mae": 2.0, "f1": 0.5},
        {"step": 2, "loss": 9.0, "mae": 1.0, "f1": 0.4},
    )
    assert make_run(*rows).find_best() == Best("mae", 1.0, 2)
    swapped = [{"step": row["step"], "f1": row["f1"]} for row in rows]
    assert make_run(*swapped).find_best() == Best("f1", 0.5, 1)
    assert make_run({"step": 1, "loss": 1.0}).find_best() == Best("loss", 1.0, 1)
    assert make_run().find_best() is None
    assert Run("a", None, [{"step": 1, "loss": 1.0}], []).find_best() is None


def test_another_split_than_that_of_training_is_preferred(tmp_path):
    rows = [
        {"step": 1, "split": "train", "accuracy": 0.9},
        {"step": 1, "split": "test", "accuracy": 0.5},
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "metrics.jsonl").write_text(text)
    (run,) = read_runs([str(tmp_path)])
    assert run.split == "test" and run.evaluations == rows[1:]


def test_runs_without_files_are_read_from_event_files(tmp_path):
    write_events(
        tmp_path / "run",
        (1, "total_loss", 2.5),
        (1, "clone_loss_1", 9),
        (1, "learning_rate", 0.125),
        (100, "total_loss", 1.5),
        (100, "training_accuracy", 0.5),
    )
    write_events(
        tmp_path / "run" / "eval",
        *((100, "eval/Accuracy", 0.625), (100, "eval/mae", 3)),
        *((100, "eval/Recall_5", 0.75), (50, "eval/accuracy", 0.25)),
    )
    (path,) = (tmp_path / "run" / "eval").iterdir()
    path.write_bytes(path.read_bytes() + b"cut short")
    (run,) = read_runs([str(tmp_path / "run")])
    assert run.get_curve("training", "total_loss", "step") == ([1, 100], [2.5, 1.5])
    assert run.get_curve("training", "loss", "step") == ([1], [9])
    assert run.get_curve("training", "accuracy", "step") == ([100], [0.5])
    assert run.get_curve("training", "learning_rate", "step") == ([1], [0.125])
    accuracies = run.get_curve("evaluations", "accuracy", "step")
    assert accuracies == ([50, 100], [0.25, 0.625])
    assert run.metrics == ["accuracy", "mae", "top_5", "total_loss", "loss"]


def test_the_run_card_gives_epochs_to_event_files(tmp_path):
    write_events(tmp_path, (100, "total_loss", 1.5))
    RunCard(
        model_name="lenet",
        num_classes=3,
        image_size=28,
        preprocessing_name="lenet",
        num_samples=800,
        sessions=({"from_step": 0, "images_per_step": 16},),
    ).save(str(tmp_path))
    (run,) = read_runs([str(tmp_path)])
    assert run.get_curve("training", "total_loss", "epoch") == ([2.0], [1.5])


def test_names_are_as_short_as_possible():
    assert measurements.name_runs(["x/a", "y/b/"]) == ["a", "b"]
    assert measurements.name_runs(["/a", "/b"]) == ["a", "b"]
    assert measurements.name_runs(["x/run", "y/run"]) == ["x/run", "y/run"]
