"""plot_training.py in this process: curves from files and events, and the table."""

import math

import numpy as np
import pytest
from PIL import Image
from script_runner import run_script

from deployment.compare import run_measurements, training_curves
from deployment.models import history, run_card
from tf_slim_compat import tf


def write_run(folder, learning_rate=0.1, card=True, **session):
    """A run of 200 steps of 16 images, of which 800 are an epoch."""
    measured = history.History(str(folder))
    folder.mkdir(parents=True, exist_ok=True)
    for step in range(10, 201, 10):
        value = math.exp(-step / 100)
        measured.append_training(
            {
                "step": step,
                "epoch": step / 50,
                "loss": 1 + value + 0.1 * (-1) ** (step // 10),
                "accuracy": 0.9 - value / 2,
                "learning_rate": learning_rate * value,
            }
        )
        if step % 50 == 0:
            measured.append(
                {
                    "step": step,
                    "epoch": step / 50,
                    "split": "validation",
                    "accuracy": 0.8 - abs(step - 150) / 1000,
                    "loss": 1 + value,
                }
            )
    if card:
        sessions = {"from_step": 0, "images_per_step": 16, "to_step": 200, "secs": 64}
        run_card.RunCard(
            model_name="lenet",
            num_classes=3,
            image_size=28,
            preprocessing_name="lenet",
            num_samples=800,
            flags={"learning_rate": learning_rate, "train_dir": str(folder)},
            sessions=({**sessions, **session},),
            results={
                "step": 200,
                "stopped_because": "the last step is reached",
                "best": {"metric": "accuracy", "value": 0.8, "step": 150},
            },
        ).save(str(folder))
    return folder


def write_events(folder, *scalars):
    """Scalars: (step, tag, value)."""
    with tf.Graph().as_default(), tf.summary.FileWriter(str(folder)) as writer:
        for step, tag, value in scalars:
            scalar = tf.Summary.Value(tag=tag, simple_value=value)
            writer.add_summary(tf.Summary(value=[scalar]), step)


def plot(*arguments):
    return run_script("plot_training.py", *arguments)


def count_colours(path):
    pixels = np.asarray(Image.open(path).convert("RGB"))
    assert pixels.shape[0] > 600 and pixels.shape[1] > 600
    return len(np.unique(pixels.reshape(-1, 3), axis=0))


def test_runs_are_drawn_over_one_another(tmp_path):
    write_run(tmp_path / "a")
    write_run(tmp_path / "b", 0.001, card=False)
    output = tmp_path / "new" / "curves.png"
    status, _, err = plot(f"--train_dir={tmp_path}/*", f"--output_file={output}")
    assert status == 0, err
    assert count_colours(output) > 100
    assert [path.name for path in output.parent.iterdir()] == ["curves.png"]
    status, _, err = plot(
        f"--train_dir={tmp_path}/a,{tmp_path}/b",
        f"--output_file={tmp_path}/curves.svg",
        "--x=epochs",
        "--smoothing=0",
    )
    assert status == 0, err
    assert "<svg" in (tmp_path / "curves.svg").read_text()


def test_curves_are_what_was_measured(tmp_path):
    write_run(tmp_path / "a")
    (run,) = run_measurements.read_runs([str(tmp_path / "a")])
    xs, ys = run.get_curve("evaluations", "accuracy", "epoch")
    assert xs == [1, 2, 3, 4] and ys == pytest.approx([0.7, 0.75, 0.8, 0.75])
    assert len(run.get_curve("training", "loss", "step")[0]) == 20
    assert run.split == "validation" and run.name == "a"


def test_older_runs_are_read_from_event_files(tmp_path):
    write_events(
        tmp_path / "run",
        (1, "total_loss", 2.5),
        (1, "clone_loss_1", 9),
        (1, "learning_rate", 0.125),
        (100, "total_loss", 1.5),
    )
    write_events(tmp_path / "run" / "eval", (100, "eval/Accuracy", 0.625))
    (path,) = (tmp_path / "run" / "eval").iterdir()
    path.write_bytes(path.read_bytes() + b"cut short")
    (run,) = run_measurements.read_runs([str(tmp_path / "run")])
    assert run.get_curve("training", "loss", "step") == ([1, 100], [2.5, 1.5])
    assert run.get_curve("training", "learning_rate", "step") == ([1], [0.125])
    assert run.get_curve("evaluations", "accuracy", "step") == ([100], [0.625])
    output = f"--output_file={tmp_path}/curves.png"
    status, _, err = plot(f"--train_dir={tmp_path}/run", output)
    assert status == 0, err
    status, _, err = plot(f"--train_dir={tmp_path}/run", output, "--x=epochs")
    assert status == 1 and "draw them with --x=steps" in err


def test_the_table_compares_settings_and_results(tmp_path):
    write_run(tmp_path / "a")
    write_run(tmp_path / "b", 0.001, secs=3600)
    write_run(tmp_path / "c", card=False)
    status, out, err = plot(f"--train_dir={tmp_path}/*", "--compare")
    assert status == 0
    assert err == "c: no run card (run.json) to compare.\n"
    rows = {line[:16].strip(): line[16:].split() for line in out.splitlines()}
    assert rows["learning_rate"] == ["0.1", "0.001"]
    assert rows["best metric"] == ["accuracy", "0.8000"] * 2
    assert rows["at step"] == ["150", "150"]
    assert rows["duration"] == ["0:01:04", "1:00:00"]
    assert rows["images/s"] == ["50.0", "0.9"]
    assert rows["trained epochs"] == ["4.0", "4.0"]
    assert "train_dir" not in rows and "model_name" not in rows


def test_names_are_as_short_as_they_can_be():
    assert run_measurements.name_runs(["x/a", "y/b/"]) == ["a", "b"]
    assert run_measurements.name_runs(["x/run", "y/run"]) == ["x/run", "y/run"]


def test_the_running_mean_stays_centred():
    line = np.arange(50.0)
    np.testing.assert_allclose(training_curves.smooth(line, 0.2), line)
    zigzag = line + np.tile([-1, 1], 25)
    assert np.abs(training_curves.smooth(zigzag, 0.2) - line)[5:-5].max() < 0.11
    assert list(training_curves.smooth([1.0], 1)) == [1]
    assert list(training_curves.smooth([], 0.1)) == []


def test_mistakes_are_one_sentence(tmp_path):
    (tmp_path / "empty").mkdir()
    run = write_run(tmp_path / "run", card=False)
    output = f"--output_file={tmp_path}/curves.png"
    for said, arguments in (
        ("Say which runs", [output]),
        ("Say what to do", [f"--train_dir={run}"]),
        ("There is no folder", [f"--train_dir={run},{tmp_path}/gone", output]),
        (
            "There is nothing to draw in 'empty'",
            [f"--train_dir={tmp_path}/empty", output],
        ),
        ("does not end like a picture", [f"--train_dir={run}", "--output_file=a.txt"]),
        ("nothing to compare", [f"--train_dir={run}", "--compare"]),
    ):
        status, _, err = plot(*arguments)
        assert status == 1 and said in err, err
        assert err.strip().splitlines()[-1].startswith("plot_training.py: error: ")
    (run / "metrics.jsonl").write_text("words\nwords\n")
    status, _, err = plot(f"--train_dir={run}", output)
    assert status == 1 and "Line 1 of" in err and err.count("\n") == 1
