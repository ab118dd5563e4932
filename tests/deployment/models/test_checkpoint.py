"""Checkpoints of both formats are read, and damage is noticed."""

import os

import numpy as np
import pytest
from saved_checkpoints import flip, save

from deployment.models import checkpoint
from deployment.models.checkpoint import Checkpoint
from tf_slim_compat import tf

pytestmark = pytest.mark.usefixtures("graph")

FORMATS = ("V1", "V2")
VALUES = {
    "Net/Conv/weights": np.linspace(-1, 1, 24, dtype=np.float32).reshape(2, 3, 4),
    "Net/Conv/weights/Momentum": np.zeros((2, 3, 4), np.float32),
    "Net/complex": np.array([1 + 2j], np.complex64),
    "Net/double": np.array([1e300, -0.5]),
    "Net/half": np.array([0.5, -2.0, 65504], np.float16),
    "Net/negative": np.array([-5, 7, -(2**40)], np.int64),
    "Net/flag": np.array(True),
    "Net/none": np.zeros((0, 3), np.float32),
    "Net/short": np.array([65535], np.uint16),
    "global_step": np.array(1500, np.int64),
}


@pytest.mark.parametrize("version", FORMATS)
def test_variables_of_all_types_are_read(tmp_path, version):
    reader = Checkpoint(save(tmp_path / "model.ckpt", VALUES, version))
    assert reader.format == version
    assert sorted(reader.variables) == list(reader.variables) == sorted(VALUES)
    for name, expected in VALUES.items():
        variable = reader.variables[name]
        assert (variable.dtype, variable.shape) == (expected.dtype.name, expected.shape)
        assert variable.num_bytes == expected.nbytes
        found = reader.read(name)
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape), name
        assert (found == expected).all(), name


@pytest.mark.parametrize("version", FORMATS)
def test_large_values_come_in_parts(tmp_path, version):
    values = np.arange(5_000_000, dtype=np.float32)
    reader = Checkpoint(save(tmp_path / "model.ckpt", {"w": values}, version))
    parts = list(reader.chunks("w"))
    assert len(parts) == 3 and (np.concatenate(parts) == values).all()


@pytest.mark.parametrize("version", FORMATS)
def test_partitioned_variables_are_read_whole(tmp_path, version):
    with tf.variable_scope("", use_resource=False):
        partitioned = tf.get_variable(
            "w", [4, 3], partitioner=tf.fixed_size_partitioner(2)
        )
    writer = tf.train.Saver(write_version=getattr(tf.train.SaverDef, version))
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        expected = session.run(tf.convert_to_tensor(partitioned))
        path = writer.save(session, str(tmp_path / "model.ckpt"))
    reader = Checkpoint(path)
    assert reader.variables["w"].shape == (4, 3) and len(reader.variables) == 1
    assert (reader.read("w") == expected).all()


def test_strings_are_read_as_bytes(tmp_path):
    path = save(tmp_path / "m", {"names": np.array([b"a", b"bc"])}, "V2")
    reader = Checkpoint(path)
    assert reader.read("names").tolist() == [b"a", b"bc"]
    assert reader.variables["names"].num_bytes == 0


def test_bfloat16_is_read_as_float32(tmp_path):
    values = np.array([1.5, -2.25, 3e38], np.float32)
    path = str(tmp_path / "model.ckpt")
    narrow = tf.cast(values, tf.bfloat16)
    with tf.Session() as session:
        session.run(
            tf.raw_ops.SaveV2(
                prefix=path,
                tensor_names=["w"],
                shape_and_slices=[""],
                tensors=[narrow],
            )
        )
        expected = session.run(tf.cast(narrow, tf.float32))
    reader = Checkpoint(path)
    assert reader.variables["w"].dtype == "bfloat16"
    assert reader.variables["w"].num_bytes == 6
    found = reader.read("w")
    assert found.dtype == np.float32 and (found == expected).all()


def test_a_folder_stands_for_its_newest_checkpoint(tmp_path):
    path = save(tmp_path / "model.ckpt-7", VALUES, "V2")
    tf.train.update_checkpoint_state(str(tmp_path), path)
    for given in (tmp_path, path, path + ".index", path + ".data-00000-of-00001"):
        assert Checkpoint(str(given)).path == path
    with pytest.raises(ValueError, match="There is no checkpoint .*model.ckpt-8"):
        Checkpoint(str(tmp_path / "model.ckpt-8"))


def test_a_copied_folder_has_its_own_checkpoint(tmp_path):
    """Old runs name their newest checkpoint by an absolute path."""
    for name in ("original", "copy"):
        (tmp_path / name).mkdir()
        save(tmp_path / name / "model.ckpt-5", VALUES, "V2")
        (tmp_path / name / "checkpoint").write_text(
            f'model_checkpoint_path: "{tmp_path}/original/model.ckpt-5"\n'
        )
    expected = str(tmp_path / "copy" / "model.ckpt-5")
    assert Checkpoint(str(tmp_path / "copy")).path == expected
    for path in (tmp_path / "copy").glob("model*"):
        path.unlink()
    with pytest.raises(ValueError, match="holds no checkpoint.*names 'model.ckpt-5'"):
        Checkpoint(str(tmp_path / "copy"))


def test_the_folder_of_a_saved_model_is_a_checkpoint(tmp_path):
    (tmp_path / "variables").mkdir()
    path = save(tmp_path / "variables" / "variables", VALUES, "V2")
    assert Checkpoint(str(tmp_path)).path == path


def test_an_unknown_variable_is_answered_with_the_nearest(tmp_path):
    reader = Checkpoint(save(tmp_path / "m", VALUES, "V2"))
    with pytest.raises(ValueError, match="nearest: Net/Conv/weights"):
        reader.read("conv/weights")
    with pytest.raises(ValueError, match="nearest: global_step"):
        reader.read("globl_step")
    with pytest.raises(ValueError, match="nearest: none"):
        reader.read("xyz")


def expect_one_line(match):
    """Expects a ValueError with a message of one line."""
    return pytest.raises(ValueError, match=r"\A[^\n]*" + match + r"[^\n]*\Z")


def test_damage_in_v2_is_noticed(tmp_path):
    save(tmp_path / "m", VALUES, "V2")
    data = tmp_path / "m.data-00000-of-00001"
    flip(data, 8)
    reader = Checkpoint(str(tmp_path / "m"))
    with expect_one_line("Net/Conv/weights in .* are damaged: .*Checksum does not"):
        reader.read("Net/Conv/weights")
    assert reader.read("global_step") == 1500
    data.write_bytes(data.read_bytes()[:-9])
    with expect_one_line("m' is incomplete: a .data file is missing or was cut"):
        Checkpoint(str(tmp_path / "m"))
    data.unlink()
    with expect_one_line("m' is incomplete"):
        Checkpoint(str(tmp_path / "m"))
    flip(tmp_path / "m.index", 20)
    with expect_one_line("it is damaged: .*checksum mismatch"):
        Checkpoint(str(tmp_path / "m"))


def test_a_checkpoint_that_is_removed_while_it_is_opened(tmp_path, monkeypatch):
    save(tmp_path / "m", VALUES, "V2")
    glob = tf.gfile.Glob

    def list_and_remove(pattern):
        paths = glob(pattern)
        for path in paths:
            os.remove(path)
        return paths

    monkeypatch.setattr(tf.gfile, "Glob", list_and_remove)
    with expect_one_line("m' is incomplete"):
        Checkpoint(str(tmp_path / "m"))


@pytest.mark.parametrize("kept", [0, 47, 100, -1])
def test_an_index_that_was_cut_short_is_noticed(tmp_path, kept):
    save(tmp_path / "m", VALUES, "V2")
    index = tmp_path / "m.index"
    index.write_bytes(index.read_bytes()[:kept])
    with expect_one_line("m' is not a checkpoint, or it is damaged"):
        Checkpoint(str(tmp_path / "m"))


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_damaged_values_in_v1_are_noticed(tmp_path, dtype):
    """Blocks have a checksum each; the file is opened with the first and the last."""
    random = np.random.default_rng(0).normal(size=(2, 200_000)).astype(dtype)
    file = tmp_path / "m"
    save(file, {"a": random[0], "b": random[1]}, "V1")
    flip(file, file.stat().st_size * 3 // 4)
    reader = Checkpoint(str(file))
    assert (reader.read("a") == random[0]).all()
    with expect_one_line("values of b in .*m' are damaged"):
        reader.read("b")


def test_damaged_and_foreign_v1_files_are_noticed(tmp_path, capfd):
    file = tmp_path / "m"
    save(file, VALUES, "V1")
    whole = file.read_bytes()
    capfd.readouterr()
    text = b"a text, and long enough to be a footer of forty-eight bytes"
    for content in (whole[:-10], whole[:30] + b"?" + whole[31:], b"", text):
        file.write_bytes(content)
        with expect_one_line("m' is not a checkpoint, or it is damaged"):
            Checkpoint(str(file))
    assert capfd.readouterr().err == ""  # TensorFlow's warnings are held back.


def test_a_wrong_path_is_an_error_that_lists_what_exists(tmp_path):
    with pytest.raises(ValueError, match="holds no checkpoint"):
        checkpoint.find_prefix(str(tmp_path))
    save(tmp_path / "net.ckpt", VALUES, "V2")
    with pytest.raises(ValueError, match="its folder holds net.ckpt"):
        checkpoint.find_prefix(str(tmp_path / "nte.ckpt"))
    with pytest.raises(ValueError, match="its folder does not exist"):
        checkpoint.find_prefix(str(tmp_path / "none" / "net.ckpt"))


def test_the_newest_complete_checkpoint_of_a_folder_is_found(tmp_path):
    assert checkpoint.find_newest(str(tmp_path)) is None
    for step in (8, 16):
        values = {"global_step": np.array(step, np.int64)}
        save(tmp_path / f"model.ckpt-{step}", values, "V2")
    assert checkpoint.find_newest(str(tmp_path)).step == 16
    (tmp_path / "model.ckpt-16.index").write_bytes(b"damaged")
    assert checkpoint.find_newest(str(tmp_path)).step == 8


@pytest.mark.parametrize(
    "state", [None, b"", b"\0" * 40, b"\xff\xfe", b'model_checkpoint_path: "mod']
)
def test_a_damaged_list_leads_to_the_newest_whole_checkpoint(tmp_path, state, caplog):
    for step in (8, 9, 16):
        values = {**VALUES, "global_step": np.array(step, np.int64)}
        save(tmp_path / f"model.ckpt-{step}", values, "V1" if step == 9 else "V2")
    data = tmp_path / "model.ckpt-16.data-00000-of-00001"
    data.write_bytes(bytes(data.stat().st_size))
    if state is not None:
        (tmp_path / "checkpoint").write_bytes(state)
    assert checkpoint.find_prefix(str(tmp_path)) == f"{tmp_path}/model.ckpt-9"
    assert "model.ckpt-16' are damaged" in caplog.messages[0]
    assert caplog.messages[1].endswith(f"checkpoint is {tmp_path}/model.ckpt-9.")


def test_the_index_of_v2_is_not_a_checkpoint_of_v1(tmp_path):
    save(tmp_path / "m", VALUES, "V2")
    (tmp_path / "m.index").rename(tmp_path / "model.ckpt-5")
    with expect_one_line("ckpt-5' holds no variables.*without its extension .index"):
        Checkpoint(str(tmp_path / "model.ckpt-5"))
    assert checkpoint.find_newest(str(tmp_path)) is None


def test_a_global_step_that_is_no_number_is_damage(tmp_path):
    path = save(tmp_path / "model.ckpt-5", {"global_step": np.arange(3)}, "V2")
    with expect_one_line("global step in .*ckpt-5' is not a number"):
        _ = Checkpoint(path).step
    assert checkpoint.find_newest(str(tmp_path)) is None
