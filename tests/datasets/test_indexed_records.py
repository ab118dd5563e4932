"""Processes that share the stream of a large dataset: what each of them reads."""

import os
import pathlib

import pytest

from datasets import shuffled_stream
from tf_slim_compat import tf


def count_read_bytes():
    """Returns the bytes that this process has read from files."""
    (line,) = (
        line
        for line in pathlib.Path("/proc/self/io").read_text().splitlines()
        if line.startswith("rchar")
    )
    return int(line.split()[1])


@pytest.mark.skipif(
    not os.path.exists("/proc/self/io"), reason="the system does not count"
)
def test_a_process_reads_its_own_records_only(tmp_path, monkeypatch):
    monkeypatch.setattr(shuffled_stream, "SHUFFLE_BYTES", 2**20)
    records = [bytes([i]) * 2**16 for i in range(100)]  # One ends with zeros.
    files = [str(tmp_path / name) for name in ("a", "b")]
    for path, part in zip(files, (records[:50], records[50:]), strict=True):
        with tf.io.TFRecordWriter(path) as writer:
            for record in part:
                writer.write(record)
    with tf.Graph().as_default(), tf.Session() as session:
        stream = shuffled_stream.build_stream(
            files, lambda paths: paths, 100, 2, None, seed=1, part=(1, 4)
        )
        iterator = tf.data.make_initializable_iterator(stream)
        record, _ = iterator.get_next()
        session.run(iterator.initializer)
        before = count_read_bytes()
        own = [session.run(record) for _ in range(25)]
    assert len(set(own)) == 25 and set(own) <= set(records)
    assert count_read_bytes() - before < 2 * 25 * 2**16
