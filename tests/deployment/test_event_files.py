"""Event files are read by TensorBoard, and a full disk does not end a run."""

import numpy as np

from deployment.event_files import EventWriter
from tf_slim_compat import tf


def read(folder):
    (path,) = folder.iterdir()
    return list(tf.train.summary_iterator(str(path)))


def test_events_are_written_at_once(tmp_path):
    writer = EventWriter(str(tmp_path / "board"))
    summary = tf.Summary(value=[tf.Summary.Value(tag="loss", simple_value=0.5)])
    writer.add_summary(summary, 3)
    writer.add_summary(summary.SerializeToString(), np.int64(4))
    with tf.Graph().as_default() as graph:
        tf.constant(1.0, name="one")
        writer.add_graph(graph)
    first, *events = read(tmp_path / "board")
    assert first.file_version == "brain.Event:2"
    assert [event.step for event in events] == [3, 4, 0]
    assert all(e.summary.value[0].simple_value == 0.5 for e in events[:2])
    assert tf.GraphDef.FromString(events[2].graph_def).node[0].name == "one"
    writer.close()
    writer.add_summary(summary, 5)  # Dropped, as `tf.summary.FileWriter` does.
    assert len(read(tmp_path / "board")) == 4
    writer.reopen()
    writer.add_summary(summary, 6)
    writer.close()
    assert len(list((tmp_path / "board").iterdir())) == 2


def test_a_full_disk_is_one_warning(tmp_path, monkeypatch, caplog):
    class FullFile:
        def __init__(self, path):
            del path

        def write(self, record):
            raise tf.errors.ResourceExhaustedError(None, None, "e; No space left")

        close = flush = lambda self: self.write(b"")

    monkeypatch.setattr(tf.io, "TFRecordWriter", FullFile)
    writer = EventWriter(str(tmp_path))
    for step in range(3):
        writer.add_summary(tf.Summary(), step)
    writer.flush()
    writer.close()
    (message,) = caplog.messages
    assert f"event file in {str(tmp_path)!r} cannot be written (No space left)" in (
        message
    )
