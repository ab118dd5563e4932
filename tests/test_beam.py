"""The two commands with --runner, in several processes, against those without."""

import csv
import filecmp
import os
import sys

import pytest
import tiny_models
from conversions import draw_pets
from script_runner import run_script

pytest.importorskip("apache_beam")
IN_PROCESSES = "--direct_num_workers=2 --direct_running_mode=multi_processing"


def succeed(script, *arguments):
    status, out, err = run_script(script, *arguments)
    assert status == 0, err
    return out, err


@pytest.fixture
def photos(tmp_path):
    """Twenty images; one cannot be read."""
    folder = draw_pets(tmp_path / "photos")
    (folder / "cat" / "5.png").write_bytes(b"no image")
    return folder


@pytest.mark.slow
def test_conversion_in_processes(photos, tmp_path):
    flags = [f"--source={photos}", "--workers=2", "--shards=2", "--seed=5"]
    for name, runner in ("local", []), ("beam", ["--runner=direct"]):
        folder = tmp_path / name
        out, err = succeed(
            "convert_dataset.py", *flags, f"--dataset_dir={folder}", *runner
        )
        assert "Left out, as listed above: 1." in out and "5.png': not a JPEG" in err
    names = sorted(os.listdir(tmp_path / "local"))
    assert len(names) == 2 + 2 + 2 and names == sorted(os.listdir(tmp_path / "beam"))
    pair = (tmp_path / "local", tmp_path / "beam")
    assert filecmp.cmpfiles(*pair, names, shallow=False)[0] == names


@pytest.fixture
def model(tmp_path, photos, monkeypatch):
    """What classifies relative paths; returns the arguments."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "labels.txt").write_text("a\nb\nc\nd\n")
    tiny_models.write_frozen(tmp_path / "frozen.pb")
    return [
        *("--model_path=frozen.pb", "--label_path=labels.txt"),
        *("--preprocessing_name=cifarnet", "photos", "gone.jpg"),
    ]


def read_csv(*paths):
    return [row for path in paths for row in csv.DictReader(path.open())]


@pytest.fixture
def expected(model, tmp_path, monkeypatch):
    """What the command writes without --runner, and without Beam."""
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "apache_beam", None)
        succeed("classify_image.py", *model, "--output_file=out/local.csv")
    return read_csv(tmp_path / "out" / "local.csv")


@pytest.mark.slow
def test_classification_in_processes(model, expected, tmp_path):
    out = tmp_path / "out"
    stale = out / "names-00003-of-00004.csv"
    stale.write_text("of an earlier run")
    _, err = succeed(
        *("classify_image.py", *model, "--output_file=out/names.csv"),
        *("--runner=direct", "--output_shards=3"),
        f"--runner_options={IN_PROCESSES}",
    )
    assert err.endswith("2 could not be read, 15 were.\n")
    names = [f"names-{i:05d}-of-00003.csv" for i in range(3)]
    assert sorted(os.listdir(out)) == ["local.csv", *names]
    found = read_csv(*(out / name for name in names))
    errors = [row.pop("error") for row in found]
    [bad] = [i for i, error in enumerate(errors) if error]
    assert errors[bad] == "not a JPEG, PNG, BMP, GIF or WebP image"
    assert found.pop(bad) == {
        **dict.fromkeys(expected[0], ""), "file": "photos/cat/5.png"
    }  # fmt: skip
    assert found == expected and len(expected) == 15 * 4


def test_classification_into_parquet(model, expected, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    files = ["out/one.parquet", "out/many.parquet"]
    succeed("classify_image.py", *model, f"--output_file={files[0]}")
    succeed(
        *("classify_image.py", *model, f"--output_file={files[1]}"),
        *("--runner=direct", "--output_shards=2"),
    )
    one = parquet.read_table(tmp_path / files[0]).to_pylist()
    assert sorted(p.name for p in (tmp_path / "out").glob("many*")) == [
        "many-00000-of-00002.parquet",
        "many-00001-of-00002.parquet",
    ]
    many = [
        row
        for i in range(2)
        for row in parquet.read_table(
            tmp_path / "out" / f"many-{i:05d}-of-00002.parquet"
        ).to_pylist()
    ]
    assert many == one
    read = [row for row in one if row["error"] is None]
    assert len(one) == len(read) + 1
    for row, line in zip(read, expected, strict=True):
        assert row["file"] == line["file"] and row["name"] == line["name"]
        assert (row["rank"], row["class"]) == (int(line["rank"]), int(line["class"]))
        assert row["score"] == float(line["score"])


def test_nothing_is_written_if_no_image_can_be_read(model, photos, tmp_path):
    status, _, err = run_script(
        *("classify_image.py", *model[:-2], photos / "cat" / "5.png"),
        *("--runner=direct", "--output_file=out/names.csv"),
    )
    assert status == 1 and err.endswith("error: None of 1 images could be read.\n")
    assert not os.listdir(tmp_path / "out")
