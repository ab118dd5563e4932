"""The script that measures models side by side."""

import json

import exported_models
import pytest
from script_runner import run_script

from deployment.formats import exporting, freezing
from deployment.formats.base import ExportOptions
from deployment.models.run_card import RunCard
from deployment.predict import running, speed

SCRIPT = "benchmark_model.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Returns a folder with a run and its exports."""
    folder = tmp_path_factory.mktemp("benchmark")
    config = exported_models.make_config()
    path = exported_models.save_checkpoint(folder / "run" / "model.ckpt")
    RunCard.from_spec(config.spec).save(str(folder / "run"))
    model = freezing.freeze(config, path)
    options = ExportOptions(config.preprocessing_fn)
    names = ["frozen", "saved_model", "tflite"]
    exporting.export(model, str(folder / "out"), names, options)
    return folder


def measure(*arguments):
    return run_script(SCRIPT, "--secs=0", "--batch_size=4", *arguments)


def test_models_are_measured_side_by_side(folder, data_dir, tmp_path):
    found = tmp_path / "new" / "speed.json"
    status, out, err = measure(
        f"--model_path={folder}/out,{folder}/run",
        f"--dataset_dir={data_dir}",
        f"--output_file={found}",
        "--precision=float32",
    )
    assert (status, out) == (0, ""), err
    rows = json.loads(found.read_text())
    names = ["frozen_graph.pb", "saved_model", "model.tflite"]
    paths = [*(f"{folder}/out/{name}" for name in names), f"{folder}/run"]
    assert [(r["model"], r["batch_size"]) for r in rows] == [
        (path, size) for path in paths for size in (1, 4)
    ]
    # The same network: the same answers on the same images.
    (score,) = {row["score"] for row in rows}
    assert 0 <= score <= 1
    size = (folder / "out" / "frozen_graph.pb").stat().st_size
    assert rows[0]["size_bytes"] == size
    for row in rows:
        assert row["precision"] == "float32" and row["size_bytes"] > size / 2
        assert row["images_per_sec"] > 0
        assert 0 < row["p50_millisecs"] <= row["p99_millisecs"]
        assert row["num_batches"] == speed._BLOCKS


def test_a_table_of_all_precisions(folder, monkeypatch):
    path = folder / "out" / "frozen_graph.pb"
    status, out, _ = measure(f"--model_path={path}")
    header, _, *lines = out.splitlines()
    assert status == 0 and header.split()[:4] == [
        "model", "precision", "batch", "images/s",
    ]  # fmt: skip
    found = [line.split()[1:3] for line in lines]
    assert found[:2] == [["float32", "1"], ["float32", "4"]]
    assert all(name in running.PRECISIONS for name, _ in found)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Give the models to measure: --model_path=out,run."),
        (["--model_path=nothing"], "There is no model 'nothing'"),
        (["--model_path={out}/model.tflite", "--precision=bfloat16"],
         "cannot be computed in --precision=bfloat16 on this machine: choose float32"),
        (["--model_path={run}/model.ckpt", "--checkpoint=5"], "--checkpoint=5"),
    ],
)  # fmt: skip
def test_mistakes_are_one_sentence(arguments, said, folder):
    places = {"out": folder / "out", "run": folder / "run"}
    status, _, err = measure(*(text.format(**places) for text in arguments))
    assert status == 1 and said in err.splitlines()[-1], err
