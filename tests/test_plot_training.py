"""plot_training.py: flags in, images and tables out."""

import numpy as np
from measured_runs import write_run
from PIL import Image
from script_runner import run_script


def plot(*arguments):
    return run_script("plot_training.py", *arguments)


def count_colors(path):
    pixels = np.asarray(Image.open(path).convert("RGB"))
    assert pixels.shape[0] > 600 and pixels.shape[1] > 600
    return len(np.unique(pixels.reshape(-1, 3), axis=0))


def test_runs_are_drawn_over_one_another(tmp_path):
    write_run(tmp_path / "a")
    write_run(tmp_path / "b", 0.001, card=False)
    output = tmp_path / "new" / "curves.png"
    status, _, err = plot(f"--train_dir={tmp_path}/*", f"--output_file={output}")
    assert status == 0, err
    assert count_colors(output) > 100
    assert [path.name for path in output.parent.iterdir()] == ["curves.png"]
    status, _, err = plot(
        f"--train_dir={tmp_path}/a,{tmp_path}/b",
        f"--output_file={tmp_path}/curves.svg",
        "--x=epochs",
        "--smoothing=0",
    )
    assert status == 0, err
    assert "<svg" in (tmp_path / "curves.svg").read_text()
    status, _, err = plot(
        f"--train_dir={tmp_path}/a",
        f"--output_file={tmp_path}/loss.png",
        "--metrics=loss",
    )
    assert status == 0, err
    with Image.open(output) as both, Image.open(tmp_path / "loss.png") as loss:
        assert 1.3 * loss.height < both.height and loss.width == both.width


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


def test_mistakes_are_one_line(tmp_path):
    (tmp_path / "empty").mkdir()
    run = write_run(tmp_path / "run", card=False)
    output = f"--output_file={tmp_path}/curves.png"
    for said, arguments in (
        ("No runs are given", [output]),
        ("Nothing to do", [f"--train_dir={run}"]),
        ("There is no folder", [f"--train_dir={run},{tmp_path}/gone", output]),
        (
            "There is nothing to draw in 'empty'",
            [f"--train_dir={tmp_path}/empty", output],
        ),
        (
            "has no extension of an image format",
            [f"--train_dir={run}", "--output_file=a.txt"],
        ),
        ("nothing to compare", [f"--train_dir={run}", "--compare"]),
        (
            "Unknown metric 'acuracy'. Nearest: accuracy. All: accuracy, loss, ",
            [f"--train_dir={run}", output, "--metrics=loss,acuracy"],
        ),
    ):
        status, _, err = plot(*arguments)
        assert status == 1 and said in err, err
        assert err.strip().splitlines()[-1].startswith("plot_training.py: error: ")
    (run / "metrics.jsonl").write_text("words\nwords\n")
    status, _, err = plot(f"--train_dir={run}", output)
    assert status == 1 and "Line 1 of" in err and err.count("\n") == 1
