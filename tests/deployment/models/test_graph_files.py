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
