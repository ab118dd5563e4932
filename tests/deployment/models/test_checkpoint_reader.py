"""Checkpoints of both formats read without TensorFlow, and damaged ones noticed."""

import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT
from saved_checkpoints import save

from deployment.models import checkpoint_reader, checkpoint_tables, crc32c
from tf_slim_compat import tf

pytestmark = pytest.mark.usefixtures("graph")

FORMATS = ("V1", "V2")
VALUES = {
    "Net/Conv/weights": np.linspace(-1, 1, 24, dtype=np.float32).reshape(2, 3, 4),
    "Net/Conv/weights/Momentum": np.zeros((2, 3, 4), np.float32),
    "Net/double": np.array([1e300, -0.5]),
    "Net/half": np.array([0.5, -2.0, 65504], np.float16),
    "Net/negative": np.array([-5, 7, -(2**40)], np.int64),
    "Net/flag": np.array(True),
    "Net/none": np.zeros((0, 3), np.float32),
    "global_step": np.array(1500, np.int64),
}


@pytest.mark.parametrize("version", FORMATS)
def test_all_that_tensorflow_wrote_is_read(tmp_path, version):
    reader = checkpoint_reader.open_checkpoint(
        save(tmp_path / "model.ckpt", VALUES, version)
    )
    assert reader.format == version
    assert sorted(reader.variables) == list(reader.variables) == sorted(VALUES)
    for name, expected in VALUES.items():
        variable = reader.variables[name]
        assert (variable.dtype, variable.shape) == (expected.dtype.name, expected.shape)
        assert variable.num_bytes == expected.nbytes
        found = reader.read(name)
        assert found.shape == expected.shape and (found == expected).all(), name


@pytest.mark.parametrize("version", FORMATS)
def test_large_values_come_in_parts(tmp_path, version):
    values = np.arange(5_000_000, dtype=np.float32)
    reader = checkpoint_reader.open_checkpoint(
        save(tmp_path / "model.ckpt", {"w": values}, version)
    )
    parts = list(reader.chunks("w"))
    assert len(parts) == 3 and (np.concatenate(parts) == values).all()


@pytest.mark.parametrize("version", FORMATS)
def test_rare_kinds_are_left_to_tensorflow(tmp_path, version):
    with tf.variable_scope("", use_resource=False):
        partitioned = tf.get_variable(
            "w", [4, 3], partitioner=tf.fixed_size_partitioner(2)
        )
    writer = tf.train.Saver(write_version=getattr(tf.train.SaverDef, version))
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        expected = session.run(tf.convert_to_tensor(partitioned))
        path = writer.save(session, str(tmp_path / "model.ckpt"))
    reader = checkpoint_reader.open_checkpoint(path)
    assert reader.variables["w"].shape == (4, 3) and len(reader.variables) == 1
    if version == "V1":
        with pytest.raises(ValueError, match="w in .* cannot be read: Sliced"):
            reader.read("w")
    else:
        assert (reader.read("w") == expected).all()
        path = save(tmp_path / "text.ckpt", {"names": np.array([b"a", b"bc"])}, "V2")
        reader = checkpoint_reader.open_checkpoint(path)
        assert reader.read("names").tolist() == [b"a", b"bc"]


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
    reader = checkpoint_reader.open_checkpoint(path)
    assert reader.variables["w"].dtype == "bfloat16"
    assert (reader.read("w") == expected).all()


def test_a_folder_stands_for_its_newest(tmp_path):
    path = save(tmp_path / "model.ckpt-7", VALUES, "V2")
    tf.train.update_checkpoint_state(str(tmp_path), path)
    for given in (tmp_path, path, path + ".index", path + ".data-00000-of-00001"):
        assert checkpoint_reader.open_checkpoint(str(given)).path == path
    with pytest.raises(ValueError, match="its folder holds model.ckpt-7"):
        checkpoint_reader.open_checkpoint(str(tmp_path / "model.ckpt-8"))


def test_an_unknown_variable_names_the_nearest(tmp_path):
    reader = checkpoint_reader.open_checkpoint(save(tmp_path / "m", VALUES, "V2"))
    with pytest.raises(ValueError, match="nearest: Net/Conv/weights"):
        reader.read("conv/weights")
    with pytest.raises(ValueError, match="nearest: global_step"):
        reader.read("globl_step")


def flip(path, position):
    data = bytearray(path.read_bytes())
    data[position] ^= 0xFF
    path.write_bytes(data)


def test_damage_is_one_sentence(tmp_path):
    save(tmp_path / "m", VALUES, "V2")
    data = tmp_path / "m.data-00000-of-00001"
    flip(data, 8)
    reader = checkpoint_reader.open_checkpoint(str(tmp_path / "m"))
    with pytest.raises(ValueError, match="Net/Conv/weights .* checksum"):
        reader.read("Net/Conv/weights")
    data.write_bytes(data.read_bytes()[:-9])
    with pytest.raises(ValueError, match="cut short: it has 2.. bytes of at least"):
        checkpoint_reader.open_checkpoint(str(tmp_path / "m"))
    data.unlink()
    with pytest.raises(ValueError, match="m.data-00000-of-00001' is missing"):
        checkpoint_reader.open_checkpoint(str(tmp_path / "m"))
    flip(tmp_path / "m.index", 20)
    with pytest.raises(ValueError, match="checksum is wrong"):
        checkpoint_reader.open_checkpoint(str(tmp_path / "m"))


def test_damage_in_single_files(tmp_path):
    file = tmp_path / "m"
    save(file, VALUES, "V1")
    whole = file.read_bytes()
    file.write_bytes(whole[:-10])
    with pytest.raises(ValueError, match="another kind of file, or was cut short"):
        checkpoint_reader.open_checkpoint(str(file))
    for content in (b"", b"a text, and long enough to be a footer of forty-eight"):
        file.write_bytes(content)
        with pytest.raises(ValueError, match="cannot be read as a checkpoint"):
            checkpoint_reader.open_checkpoint(str(file))


@pytest.mark.parametrize("size", [0, 9, 16383, 16384, 70_001, 5_000_003])
def test_checksums_in_lanes_are_those_of_the_plain_loop(size):
    data = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    pieces = 0xFFFFFFFF
    for start in range(0, min(size, 200_000), 1000):
        pieces = crc32c.extend(pieces, data[start : start + 1000])
    assert crc32c.extend(0xFFFFFFFF, data[:200_000]) == pieces
    assert crc32c.compute_masked(b"123456789") == crc32c.mask(0xE3069283 ^ 0xFFFFFFFF)
    half = crc32c.extend(0xFFFFFFFF, data[: size // 2])
    assert crc32c.extend(half, data[size // 2 :]) == crc32c.extend(0xFFFFFFFF, data)


@pytest.mark.parametrize(
    ("packed", "plain"),
    [
        (b"\x05\x10hello", b"hello"),  # Literal.
        (b"\x0c\x00a\x0d\x01\x01\x01", b"a" * 12),  # Copies into themselves.
        (b"\x08\x0cabcd\x0e\x04\x00", b"abcdabcd"),  # A two-byte offset.
    ],
)
def test_snappy(packed, plain):
    assert checkpoint_tables.decompress_snappy(packed) == plain
    with pytest.raises(ValueError):
        checkpoint_tables.decompress_snappy(packed[:-1])


def test_nothing_of_this_imports_tensorflow():
    code = (
        "import sys; from deployment.models import checkpoint_reader; "
        "from deployment.inspect import "
        "inspection, inspection_differences, inspection_pictures; "
        "assert 'tensorflow' not in sys.modules"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
