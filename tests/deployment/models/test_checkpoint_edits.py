"""Checkpoints are averaged, stripped, renamed and converted."""

import json
import os

import numpy as np
import pytest
from saved_checkpoints import save

from deployment.models import checkpoint_writing
from deployment.models.checkpoint_edits import Edit, choose_checkpoints, write_edited
from tf_slim_compat import tf

pytestmark = pytest.mark.usefixtures("graph")


def values_at(step, weight):
    """What a training run keeps: weights, slots, averages, powers, the step."""
    return {
        "Net/Conv/weights": np.full((2, 2), weight, np.float32),
        "Net/Conv/weights/ExponentialMovingAverage": np.full((2, 2), -weight, "f4"),
        "Net/Conv/weights/Adam": np.full((2, 2), 10 * weight, np.float32),
        "Net/half": np.array([weight], np.float16),
        "Net/counts": np.array([step], np.int32),
        "beta1_power": np.array(1 / step, np.float32),
        "global_step": np.array(step, np.int64),
    }


def save_at(folder, step, weight, **changes):
    values = {**values_at(step, weight), **changes}
    values = {name: value for name, value in values.items() if value is not None}
    return save(folder / f"model.ckpt-{step}", values, "V2")


def load(path):
    reader = tf.train.NewCheckpointReader(str(path))
    return {
        name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()
    }


def snapshot(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_averaging(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    paths = [save_at(run, step, weight) for step, weight in ((30, 3), (40, 4), (10, 8))]
    before = snapshot(run)
    result = write_edited(Edit(tuple(paths)), str(tmp_path / "new" / "mean.ckpt"))
    assert snapshot(run) == before
    found = load(tmp_path / "new" / "mean.ckpt")
    assert found.keys() == values_at(1, 1).keys()
    assert (found["Net/Conv/weights"] == 5).all()
    assert (found["Net/Conv/weights/ExponentialMovingAverage"] == -5).all()
    assert found["Net/half"] == 5 and found["Net/half"].dtype == np.float16
    # Of the newest, which need not be the first or last: integers and the optimizer's.
    assert found["global_step"] == 40 and found["Net/counts"] == 40
    assert (found["Net/Conv/weights/Adam"] == 40).all()
    assert found["beta1_power"] == np.float32(1 / 40)
    assert (result.step, result.num_variables, result.num_averaged) == (40, 7, 3)
    assert result.num_bytes == sum(value.nbytes for value in found.values())
    # Nothing else is left, and the folder names its checkpoint.
    assert sorted(os.listdir(tmp_path / "new")) == [
        "checkpoint", "mean.ckpt.data-00000-of-00001", "mean.ckpt.index",
    ]  # fmt: skip
    assert tf.train.latest_checkpoint(str(tmp_path / "new")).endswith("mean.ckpt")


def test_means_are_exact_where_the_type_is_narrow(tmp_path):
    large = {"Net/half": np.array([60000], np.float16)}  # Two of them overflow.
    paths = tuple(save_at(tmp_path, step, 1, **large) for step in (1, 2, 3))
    write_edited(Edit(paths), str(tmp_path / "mean"))
    assert load(tmp_path / "mean")["Net/half"] == 60000


def test_bfloat16_stays_bfloat16(tmp_path):
    for step, value in ((1, 1.0), (2, 2.0)):
        with tf.Session() as session:
            write = tf.raw_ops.SaveV2(
                prefix=str(tmp_path / f"m-{step}"),
                tensor_names=["w"],
                shape_and_slices=[""],
                tensors=[tf.constant([value], tf.bfloat16)],
            )
            session.run(write)
    sources = tuple(str(tmp_path / f"m-{step}") for step in (1, 2))
    write_edited(Edit(sources), str(tmp_path / "mean"))
    reader = tf.train.NewCheckpointReader(str(tmp_path / "mean"))
    assert reader.get_variable_to_dtype_map()["w"] == tf.bfloat16
    assert reader.get_tensor("w").astype(np.float32) == 1.5


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"Net/half": np.ones(2, np.float16)}, r"float16 \[1\] in .*float16 \[2\] in"),
        ({"Net/half": np.ones(1, np.float32)}, r"float16 \[1\] in .*float32 \[1\] in"),
        ({"Net/half": None}, "is float16 .* but missing in"),
        (
            {"Net/more": np.ones(1, np.float32)},
            "more is missing in .* but float32",
        ),
    ],
)
def test_other_networks_are_not_averaged(tmp_path, change, said):
    paths = save_at(tmp_path, 1, 1, **change), save_at(tmp_path, 2, 1)
    before = snapshot(tmp_path)
    with pytest.raises(ValueError, match="same network can be averaged: Net/.*" + said):
        write_edited(Edit(paths), str(tmp_path / "mean"))
    assert snapshot(tmp_path) == before


def test_stripping_and_moving_averages(tmp_path):
    path = save_at(tmp_path, 7, 1)
    result = write_edited(Edit((path,), strip_optimizer=True), str(tmp_path / "small"))
    kept = ["Net/Conv/weights", "Net/counts", "Net/half", "global_step"]
    assert sorted(load(tmp_path / "small")) == kept and result.num_left_out == 3
    assert (load(tmp_path / "small")["Net/Conv/weights"] == 1).all()
    both = Edit((path,), strip_optimizer=True, use_moving_averages=True)
    write_edited(both, str(tmp_path / "average"))
    assert sorted(load(tmp_path / "average")) == kept
    assert (load(tmp_path / "average")["Net/Conv/weights"] == -1).all()
    with pytest.raises(ValueError, match="has no moving averages"):
        write_edited(
            Edit((str(tmp_path / "small"),), use_moving_averages=True),
            str(tmp_path / "none"),
        )


def test_a_single_file_becomes_v2(tmp_path):
    values = values_at(7, 1)
    write_edited(Edit((save(tmp_path / "old", values, "V1"),)), str(tmp_path / "new"))
    found = load(tmp_path / "new")
    assert found.keys() == values.keys()
    for name, value in values.items():
        assert found[name].dtype == value.dtype and (found[name] == value).all()


def test_renaming(tmp_path):
    path = save_at(tmp_path, 7, 1)

    def rename(*pairs):
        output = str(tmp_path / f"new-{len(os.listdir(tmp_path))}")
        write_edited(Edit((path,), renames=pairs), output)
        return sorted(load(output))

    assert rename(("Net/Conv", "Old/Conv"), ("Net", "Other")) == [
        "Old/Conv/weights",
        "Old/Conv/weights/Adam",
        "Old/Conv/weights/ExponentialMovingAverage",
        "Other/counts",
        "Other/half",
        "beta1_power",
        "global_step",
    ]
    assert "Conv/weights/Adam" in rename(("Net", ""))
    into = rename(("", "Backbone"))
    assert "Backbone/Net/Conv/weights/Adam" in into and "global_step" in into
    for pairs, said in (
        ([("Net/Con", "A")], "scope 'Net/Con' to rename; the nearest: Net/Conv"),
        ([("Net/half", "Net/counts")], "and Net/half the same name 'Net/counts'"),
        ([("Net/half", "")], "'Net/half' leaves the variable without a name"),
    ):
        with pytest.raises(ValueError, match=said):
            rename(*pairs)


def test_nothing_is_overwritten_and_no_half_is_left(tmp_path, monkeypatch):
    path = save_at(tmp_path, 7, 1)
    for there in (path, save(tmp_path / "single", values_at(7, 1), "V1")):
        with pytest.raises(ValueError, match="exists and is not overwritten"):
            write_edited(Edit((path,)), there)
    with pytest.raises(ValueError, match="is a folder: append a name"):
        write_edited(Edit((path,)), str(tmp_path) + "/")
    before = snapshot(tmp_path)

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint_writing, "_SHARD_BYTES", 1)
    monkeypatch.setattr(checkpoint_writing.os, "replace", fail)
    with pytest.raises(OSError, match="No space left"):
        write_edited(Edit((path,)), str(tmp_path / "new"))
    assert snapshot(tmp_path) == before
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


def test_large_ones_are_written_in_parts(tmp_path, monkeypatch):
    path = save_at(tmp_path, 7, 1)
    monkeypatch.setattr(checkpoint_writing, "_SHARD_BYTES", 16)
    write_edited(Edit((path,)), str(tmp_path / "new"))
    assert len(list(tmp_path.glob("new.data-*"))) > 2
    found, expected = load(tmp_path / "new"), load(path)
    assert found.keys() == expected.keys()
    assert all((found[name] == expected[name]).all() for name in expected)


def test_the_best_and_the_last_of_a_run(tmp_path):
    best = tmp_path / "best"
    best.mkdir()
    rows = [{"step": 20, "value": 0.9}, {"step": 10, "value": 0.8}]
    ranking = {"metric": "accuracy", "checkpoints": rows}
    (best / "best.json").write_text(json.dumps(ranking))
    for step in (20, 10):
        save_at(best, step, 1)
    for step in (5, 100, 20):
        save_at(tmp_path, step, 1)
    expected = tuple(str(best / f"model.ckpt-{step}") for step in (20, 10))
    for place in (tmp_path, best):
        assert choose_checkpoints(str(place), best=2) == expected
    assert choose_checkpoints(str(tmp_path), last=2) == tuple(
        str(tmp_path / f"model.ckpt-{step}") for step in (100, 20)
    )
    for mistake in ({"best": 0}, {"last": 0}):
        with pytest.raises(ValueError, match="must be 1 or more, but is 0"):
            choose_checkpoints(str(tmp_path), **mistake)
    for folder in (tmp_path / "none", best / "none"):
        with pytest.raises(ValueError, match="There is no folder"):
            choose_checkpoints(str(folder), last=1)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="kept no best checkpoints, .* with --last=3"):
        choose_checkpoints(str(tmp_path / "empty"), best=1)
    with pytest.raises(ValueError, match="holds no checkpoints of a training run"):
        choose_checkpoints(str(tmp_path / "empty"), last=1)
    (best / "best.json").write_text('{"checkpoints": 3}')
    with pytest.raises(ValueError, match="best.json' is damaged"):
        choose_checkpoints(str(tmp_path), best=1)


def test_fewer_are_averaged_with_a_word_about_it(tmp_path, caplog):
    save_at(tmp_path, 5, 1)
    said = "kept 1 checkpoint for --last=3, and one alone .*: use --best=3, or train"
    with pytest.raises(ValueError, match=said):
        choose_checkpoints(str(tmp_path), last=3)
    assert len(choose_checkpoints(str(tmp_path), last=1)) == 1
    save_at(tmp_path, 6, 1)
    assert not caplog.messages
    assert len(choose_checkpoints(str(tmp_path), last=3)) == 2
    (message,) = caplog.messages
    assert "kept 2 checkpoints for --last=3: averaging these 2" in message
    assert "--max_checkpoints_to_keep=3" in message
