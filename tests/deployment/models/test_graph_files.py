"""Graphs are written whole or not at all."""

import resource

import pytest

from deployment.models import graph_files
from tf_slim_compat import tf


@pytest.fixture
def little_space():
    """Ends every write to a file after 1000 bytes, as a full disk does."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("as_text", [False, True])
def test_a_failed_write_leaves_the_older_file_alone(as_text, tmp_path, little_space):
    path = tmp_path / "new" / "graph.pb"
    small, large = tf.GraphDef(), tf.GraphDef()
    small.node.add(name="small", op="NoOp")
    graph_files.write_graph(small, str(path), as_text)
    assert graph_files.load_graph_def(str(path), not as_text) == small
    large.node.add(name="l" * 10000, op="NoOp")
    with pytest.raises(OSError, match=f"^'{path}' cannot be written: [^\n]*$"):
        graph_files.write_graph(large, str(path), as_text)
    assert [file.name for file in path.parent.iterdir()] == ["graph.pb"]
    assert graph_files.load_graph_def(str(path), not as_text) == small


def test_outputs_are_found_in_any_order_of_nodes():
    with tf.Graph().as_default() as graph:
        images = tf.placeholder(tf.float32, [1, 4], name="input")
        logits = tf.identity(images * 2, name="logits")
        tf.identity(tf.nn.softmax(logits), name="Predictions")
        tf.add(tf.constant(1.0), 1.0, name="unrelated")
    graph_def = graph.as_graph_def()
    mixed = tf.GraphDef()
    mixed.node.extend(reversed(graph_def.node))
    assert graph_files.find_outputs(graph_def) == ["Predictions"]
    assert graph_files.find_outputs(mixed) == ["Predictions"]
