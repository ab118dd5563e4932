"""Checkpoints of NumPy arrays, in both formats, and damage to their files."""

from tf_slim_compat import tf


def save(path, values, version):
    """Writes arrays as a checkpoint of format "V1" or "V2"; returns its prefix."""
    names, arrays = list(values), [tf.constant(v) for v in values.values()]
    if version == "V2":
        write = tf.raw_ops.SaveV2(
            prefix=str(path),
            tensor_names=names,
            shape_and_slices=[""] * len(names),
            tensors=arrays,
        )
    else:
        write = tf.raw_ops.Save(filename=str(path), tensor_names=names, data=arrays)
    with tf.Session() as session:
        session.run(write)
    return str(path)


def flip(path, position):
    """Inverts one byte of a file."""
    data = bytearray(path.read_bytes())
    data[position] ^= 0xFF
    path.write_bytes(data)
