"""What is told of checkpoints: kinds, statistics, values, differences, filters."""

import json
import math

import numpy as np
import pytest
from PIL import Image
from saved_checkpoints import save

from deployment import text
from deployment.inspect import (
    inspection,
    inspection_differences,
    inspection_pictures,
)
from deployment.models import checkpoint_reader, variable_kinds

pytestmark = pytest.mark.usefixtures("graph")

VALUES = {
    "Net/Conv/weights": np.linspace(-1, 1, 3 * 3 * 3 * 8, dtype=np.float32).reshape(
        3, 3, 3, 8
    ),
    "Net/Conv/weights/ExponentialMovingAverage": np.ones((3, 3, 3, 8), np.float32),
    "Net/Conv/weights/Momentum": np.zeros((3, 3, 3, 8), np.float32),
    "Net/Logits/weights": np.ones((8, 5), np.float32),
    "beta1_power": np.array(0.9, np.float32),
    "global_step": np.array(900, np.int64),
}


def open_saved(path, **changes):
    values = {**VALUES, **{k.replace("__", "/"): v for k, v in changes.items()}}
    values = {name: value for name, value in values.items() if value is not None}
    return checkpoint_reader.open_checkpoint(save(path, values, "V2"))


def test_each_variable_has_a_kind():
    kinds = {name: variable_kinds.get_kind(name, VALUES) for name in VALUES}
    assert list(kinds.values()) == [
        "model", "average", "optimizer", "model", "optimizer", "step",
    ]  # fmt: skip


def test_statistics_over_parts_are_those_of_the_whole():
    values = np.random.default_rng(0).normal(100, 2, 10_001).astype(np.float32)
    values[::10] = 0
    found = inspection.compute_statistics(np.array_split(values, 7))
    wide = values.astype(np.float64)
    assert math.isclose(found.mean, wide.mean(), rel_tol=1e-12)
    assert math.isclose(found.std, wide.std(), rel_tol=1e-12)
    assert (found.min, found.max) == (values.min(), values.max())
    assert found.zeros == 1001 / 10_001 and found.non_finite == 0


def test_statistics_of_odd_values():
    found = inspection.compute_statistics(
        [np.array([np.nan, 1, np.inf]), np.array([np.nan])]
    )
    assert (found.mean, found.std, found.non_finite) == (1, 0, 3)
    for nothing in ([], [np.empty(0)]):
        assert math.isnan(inspection.compute_statistics(nothing).mean)
    flags = inspection.compute_statistics([np.array([True, False])])
    assert (flags.mean, flags.zeros) == (0.5, 0.5)


def test_a_listing_has_all_variables_and_totals(tmp_path):
    reader = open_saved(tmp_path / "m", Net__names=np.array([b"a", b"b"]))
    lines = "\n".join(inspection.describe_checkpoint(reader, True)).splitlines()
    assert lines[0].split() == [
        *("variable", "type", "shape", "values", "size", "mean", "std", "min", "max"),
        *("zeros", "not", "finite"),
    ]
    (momentum,) = (line for line in lines if "Momentum" in line)
    assert momentum.split() == [
        *("Net/Conv/weights/Momentum", "float32", "[3,", "3,", "3,", "8]", "216"),
        *("864", "bytes", "0", "0", "0", "0", "100.0", "%"),
    ]
    assert "format V2, 7 variables" in lines[-4]
    assert lines[-3].startswith("  the model: 3 variables, 258 values")
    assert lines[-1].startswith("  the optimizer's state: 2 variables, 217 values")


def test_values_are_printed_whole(tmp_path):
    reader = open_saved(tmp_path / "m", Net__long=np.arange(3000))
    text = inspection.describe_values(reader, "Net/long")
    assert text.startswith("Net/long, int64 [3000]:\n[") and "..." not in text
    assert inspection.describe_values(reader, "global_step").endswith("\n900")


def test_two_checkpoints_of_a_run(tmp_path):
    changed = VALUES["Net/Conv/weights"].copy()
    changed[0, 0, 0, 0] += 0.5
    old = open_saved(tmp_path / "old")
    new = open_saved(
        tmp_path / "new",
        Net__Conv__weights=changed,
        Net__Logits__weights=np.ones((8, 6), np.float32),
        Net__Extra__weights=np.ones(2, np.float32),
        beta1_power=None,
        global_step=np.array(1000, np.int64),
    )
    found = inspection_differences.compare_checkpoints(new, old)
    assert found.changed == (("global_step", 100.0), ("Net/Conv/weights", 0.5))
    assert found.misshapen == (("Net/Logits/weights", (8, 6), (8, 5)),)
    assert (found.only_here, found.only_there) == (
        ("Net/Extra/weights",),
        ("beta1_power",),
    )
    assert len(found.equal) == 2
    text = "\n".join(inspection_differences.describe_difference(found, "new", "old"))
    assert "1 variable only in new:\n  Net/Extra/weights\n" in text
    assert "only in old:\n  1 of the optimizer's state: beta1_power" in text
    assert text.endswith("The same in both: 2 variables.")
    line = inspection_differences.describe_warm_start(found, "old")
    assert line.endswith(
        "--checkpoint_path=old --checkpoint_exclude_scopes=Net/Logits,Net/Extra"
    )


def test_a_checkpoint_and_itself_or_a_stranger(tmp_path):
    reader = open_saved(tmp_path / "m", Net__odd=np.array([np.nan, np.inf, 1]))
    same = inspection_differences.compare_checkpoints(reader, reader)
    assert len(same.equal) == 7
    assert "All variables fit" in inspection_differences.describe_warm_start(same, "m")
    other = inspection_differences.compare_shapes({"Other/w": (2,)}, {"Net/w": (2,)})
    said = inspection_differences.describe_warm_start(other, "m")
    assert said == "No variable of m fits: it is of another network."


def test_a_nan_is_a_difference_and_comes_first(tmp_path):
    here = open_saved(tmp_path / "a", a=np.array([1.0]), b=np.array([1.0, np.nan]))
    there = open_saved(tmp_path / "b", a=np.array([3.0]), b=np.array([1.0, 2.0]))
    changed = inspection_differences.compare_checkpoints(here, there).changed
    assert [name for name, _ in changed] == ["b", "a"] and math.isnan(changed[0][1])


def test_the_first_layers_filters_are_drawn(tmp_path):
    reader = open_saved(tmp_path / "m", Net__late=np.ones((3, 3, 3, 64), np.float32))
    name, width, height = inspection_pictures.write_filters(
        reader, str(tmp_path / "new" / "filters.png")
    )
    assert name == "Net/Conv/weights"
    picture = Image.open(tmp_path / "new" / "filters.png")
    assert picture.size == (width, height) and picture.mode == "RGB"
    pixels = np.asarray(picture)
    # Eight filters of 48 pixels, three apart, in rows of four.
    assert pixels.shape == (2 * 51 + 3, 4 * 51 + 3, 3)
    weights = VALUES["Net/Conv/weights"]
    largest = np.abs(weights[..., 5]).max()
    expected = np.rint(127.5 + 127.5 * weights[0, 2, :, 5] / largest)
    assert (pixels[3 + 51 + 2, 3 + 51 + 47] == expected).all()


def test_filters_of_other_shapes():
    assert inspection_pictures.draw_filters(np.ones((5, 5, 1, 20))).mode == "L"
    assert inspection_pictures.draw_filters(np.zeros((7, 7, 7, 3, 4))).mode == "RGB"
    with pytest.raises(ValueError, match="not finite"):
        inspection_pictures.draw_filters(np.full((3, 3, 3, 2), np.nan))
    with pytest.raises(ValueError, match=r"not \[2, 3\]"):
        inspection_pictures.draw_filters(np.ones((2, 3)))


def test_a_picture_that_cannot_be_made(tmp_path):
    path = save(tmp_path / "m", {"Net/fc/weights": np.ones((3, 3))}, "V2")
    reader = checkpoint_reader.open_checkpoint(path)
    with pytest.raises(ValueError, match="no filters of a first layer"):
        inspection_pictures.write_filters(reader, "filters.png")
    reader = open_saved(tmp_path / "m2")
    with pytest.raises(ValueError, match="use .png"):
        inspection_pictures.write_filters(reader, str(tmp_path / "filters.xyz"))
    assert not list(tmp_path.glob("*filters*"))


def test_a_run_card_is_found_and_told(tmp_path):
    assert inspection.find_card(str(tmp_path)) is None
    card = {
        "model_name": "mobilenet_v1_025",
        "num_classes": 6,
        "image_size": 128,
        "preprocessing_name": "inception",
        "dataset_name": "image_folder",
        "dataset_split_name": "train",
        "num_samples": 4000,
        "dataset_dir": "/data",
        "class_names": ["glacier", "forest"],
        "moving_average_decay": None,
        "sessions": [{"secs": 61.2}, {"secs": 10}, {}],
        "results": {
            "step": 1500,
            "loss": 0.9,
            "best": {"metric": "accuracy", "value": 0.61, "step": 900},
        },
    }
    (tmp_path / "run.json").write_text(json.dumps(card))
    (tmp_path / "best").mkdir()
    for place in ("", "model.ckpt-7", "best", "best/model.ckpt-7"):
        assert inspection.find_card(str(tmp_path / place)) == card
    text = "\n".join(inspection.describe_card(card))
    assert "mobilenet_v1_025, 6 classes, 128 pixels" in text
    assert "step 1,500 in 71 secs, loss 0.9" in text
    assert "best accuracy: 0.61 at step 900" in text
    assert list(inspection.describe_card({}))  # Whatever is missing.
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(ValueError, match="run.json' is damaged"):
        inspection.find_card(str(tmp_path))


def test_numbers_are_readable():
    assert text.format_bytes(553_446_564) == "553.4 MB"
    assert text.format_millions(5_713_216_096) == "5.7 G"
    assert text.format_shape([None, -1, 3]) == "[?, ?, 3]"
    table = text.format_table(["a", "b"], [["long", "1"]], {1})
    assert table == "a     b\n----  -\nlong  1"
