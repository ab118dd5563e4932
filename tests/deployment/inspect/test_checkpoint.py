"""Reports on checkpoints and run cards, and differences of checkpoints."""

import dataclasses
import math

import numpy as np
import pytest
from saved_checkpoints import save

from deployment.inspect import checkpoint, differences
from deployment.models import run_card, variable_kinds
from deployment.models.checkpoint import Checkpoint

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
    return Checkpoint(save(path, values, "V2"))


def test_each_variable_has_a_kind():
    kinds = {name: variable_kinds.get_kind(name, VALUES) for name in VALUES}
    assert list(kinds.values()) == [
        "model", "average", "optimizer", "model", "optimizer", "step",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("optimizer/beta2_power_1", "optimizer"),
        ("loss_scale/good_steps", "optimizer"),
        ("Net/beta1_powers", "model"),
        ("Other/weights/Momentum", "model"),  # There is no Other/weights.
        ("Net/global_step", "step"),
        ("ExponentialMovingAverage", "model"),
    ],
)
def test_kinds_of_unusual_names(name, kind):
    assert variable_kinds.get_kind(name, VALUES) == kind


def test_statistics_over_parts_are_those_of_the_whole():
    values = np.random.default_rng(0).normal(100, 2, 10_001).astype(np.float32)
    values[::10] = 0
    found = checkpoint.compute_statistics(np.array_split(values, 7))
    wide = values.astype(np.float64)
    assert math.isclose(found.mean, wide.mean(), rel_tol=1e-12)
    assert math.isclose(found.std, wide.std(), rel_tol=1e-12)
    assert (found.min, found.max) == (values.min(), values.max())
    assert found.zeros == 1001 / 10_001 and found.non_finite == 0


def test_statistics_of_unusual_values():
    found = checkpoint.compute_statistics(
        [np.array([np.nan, 1, np.inf]), np.array([np.nan])]
    )
    assert (found.mean, found.std, found.non_finite) == (1, 0, 3)
    for nothing in ([], [np.empty(0)]):
        assert math.isnan(checkpoint.compute_statistics(nothing).mean)
    flags = checkpoint.compute_statistics([np.array([True, False])])
    assert (flags.mean, flags.zeros) == (0.5, 0.5)


def test_a_listing_has_all_variables_and_totals(tmp_path):
    reader = open_saved(tmp_path / "m", Net__names=np.array([b"a", b"b"]))
    lines = "\n".join(checkpoint.describe_checkpoint(reader, True)).splitlines()
    assert lines[0].split() == [
        *("variable", "type", "shape", "values", "size", "mean", "std", "min", "max"),
        *("zeros", "not", "finite"),
    ]
    (momentum,) = (line for line in lines if "Momentum" in line)
    assert momentum.split() == [
        *("Net/Conv/weights/Momentum", "float32", "[3,", "3,", "3,", "8]", "216"),
        *("864", "bytes", "0", "0", "0", "0", "100.0", "%"),
    ]
    assert lines[-4].endswith("format V2, 7 variables, 692 values, 2.8 kB")
    assert lines[-3].startswith("  model: 3 variables, 258 values")
    assert lines[-1].startswith("  optimizer state: 2 variables, 217 values")


def test_values_are_printed_whole(tmp_path):
    reader = open_saved(tmp_path / "m", Net__long=np.arange(3000))
    text = checkpoint.describe_values(reader, "Net/long")
    assert text.startswith("Net/long, int64 [3000]:\n[") and "..." not in text
    assert checkpoint.describe_values(reader, "global_step").endswith("\n900")


def test_differences_of_two_checkpoints_of_a_run(tmp_path):
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
    found = differences.compare_checkpoints(new, old)
    assert found.changed == (("global_step", 100.0), ("Net/Conv/weights", 0.5))
    assert found.misshapen == (("Net/Logits/weights", (8, 6), (8, 5)),)
    assert (found.only_here, found.only_there) == (
        ("Net/Extra/weights",),
        ("beta1_power",),
    )
    assert len(found.equal) == 2
    text = "\n".join(differences.describe_difference(found, "new", "old"))
    assert "1 variable only in new:\n  Net/Extra/weights\n" in text
    assert "only in old:\n  optimizer state (1): beta1_power" in text
    assert text.endswith("Equal in both: 2 variables.")
    line = differences.describe_warm_start(found, "old")
    assert line.endswith(
        "--checkpoint_path=old --checkpoint_exclude_scopes=Net/Logits,Net/Extra"
    )


def test_long_lists_are_cut():
    here = {f"Net/{i}": (i,) for i in range(25)}
    other = {f"Net/{i}": (i + 1,) for i in range(25)}
    for there in ({}, other):
        found = differences.compare_shapes(here, there)
        lines = "\n".join(differences.describe_difference(found, "a", "b")).split("\n")
        assert lines[0].startswith("25 variables ")
        assert lines[-2:] == ["  and 5 more", "Equal in both: 0 variables."]
        assert sum("Net/" in line for line in lines) == 20
    found = differences.compare_shapes(other, {})
    changed = tuple((name, 0.5) for name in other)
    found = dataclasses.replace(found, only_here=(), changed=changed)
    lines = list(differences.describe_difference(found, "a", "b"))
    assert lines[0] == "25 variables with different values:"
    assert lines[2] == "  and 5 more"


def test_strings_are_compared(tmp_path):
    here = open_saved(tmp_path / "a", a=np.array([b"x"]), b=np.array([b"y"]))
    there = open_saved(tmp_path / "b", a=np.array([b"x"]), b=np.array([b"z"]))
    found = differences.compare_checkpoints(here, there)
    assert "a" in found.equal and [name for name, _ in found.changed] == ["b"]


def test_equal_checkpoints_and_another_network(tmp_path):
    reader = open_saved(tmp_path / "m", Net__odd=np.array([np.nan, np.inf, 1]))
    same = differences.compare_checkpoints(reader, reader)
    assert len(same.equal) == 7
    assert "All variables fit" in differences.describe_warm_start(same, "m")
    other = differences.compare_shapes({"Other/w": (2,)}, {"Net/w": (2,)})
    said = differences.describe_warm_start(other, "m")
    assert said == "m belongs to another network: none of its variables fit."


def test_a_nan_is_a_difference_and_comes_first(tmp_path):
    here = open_saved(tmp_path / "a", a=np.array([1.0]), b=np.array([1.0, np.nan]))
    there = open_saved(tmp_path / "b", a=np.array([3.0]), b=np.array([1.0, 2.0]))
    changed = differences.compare_checkpoints(here, there).changed
    assert [name for name, _ in changed] == ["b", "a"] and math.isnan(changed[0][1])


def test_a_run_card_is_described():
    card = run_card.RunCard(
        model_name="mobilenet_v1_025",
        num_classes=2,
        image_size=128,
        preprocessing_name="inception",
        dataset_name="image_folder",
        dataset_split_name="train",
        num_samples=4000,
        dataset_dir="/data",
        class_names=("glacier", "forest"),
        moving_average_decay=0.999,
        sessions=(
            {"from_step": 0, "images_per_step": 8, "secs": 61.2},
            {"from_step": 9, "images_per_step": 8, "secs": 10},
            {"from_step": 99, "images_per_step": 8},
        ),
        results={
            "step": 1500,
            "loss": 0.9,
            "stopped_because": "early stopping",
            "best": {"metric": "accuracy", "value": 0.61, "step": 900},
        },
    )
    assert list(checkpoint.describe_card(card)) == [
        "Run: classification, mobilenet_v1_025, 2 outputs, image size 128, "
        "preprocessing inception",
        "  data: image_folder train, 4,000 images, /data",
        "  outputs: glacier, forest",
        "  moving averages of the weights: decay 0.999",
        "  trained to step 1,500 in 71 s, loss 0.9 (early stopping)",
        "  best accuracy: 0.61 at step 900",
    ]


def test_a_run_card_without_results_is_described():
    card = run_card.RunCard(
        task="regression",
        model_name="lenet",
        num_classes=5,
        image_size=28,
        preprocessing_name="lenet",
    )
    assert list(checkpoint.describe_card(card)) == [
        "Run: regression, lenet, 5 outputs, image size 28, preprocessing lenet"
    ]
