"""Graph files are loaded and described, and damage is noticed."""

import glob

import numpy as np
import pytest

from deployment.inspect import graph as graph_report
from deployment.inspect import tensorboard
from deployment.inspect.graph_loading import GraphFile, load_graph
from tf_slim_compat import slim, tf


def build_net():
    """A network with one large constant, whose names do not tell its outputs."""
    images = tf.placeholder(tf.float32, [None, 8, 8, 3], name="pixels")
    kernel = np.linspace(0, 1, 1350, dtype=np.float32).reshape(3, 3, 3, 50)
    kernel = tf.constant(kernel, name="kernel")
    net = tf.nn.relu(tf.nn.conv2d(images, kernel, 1, "SAME"), name="mid")
    return images, tf.reduce_mean(net, [1, 2], name="end")


def write(folder, kind):
    """Writes the network as a file or folder of a kind; returns its path."""
    with tf.Graph().as_default() as graph, tf.Session() as session:
        images, end = build_net()
        graph_def = graph.as_graph_def()
        path = str(folder / kind)
        if kind == "graph.pb":
            tf.train.write_graph(graph_def, str(folder), kind, as_text=False)
        elif kind == "graph.pbtxt":
            tf.train.write_graph(graph_def, str(folder), kind)
        elif kind == "model.meta":
            tf.train.export_meta_graph(path)
        else:
            tf.saved_model.simple_save(session, path, {"x": images}, {"y": end})
        return path


KINDS = {
    "graph.pb": "GraphDef",
    "graph.pbtxt": "GraphDef",
    "model.meta": "MetaGraphDef",
    "saved": "SavedModel",
}


@pytest.mark.parametrize("name", KINDS)
def test_graphs_of_all_kinds_are_read(tmp_path, name):
    graph = load_graph(write(tmp_path, name))
    assert graph.kind == KINDS[name]
    inputs, outputs = graph_report.find_candidates(graph)
    assert [(c.name, c.shape, c.reason) for c in inputs] == [
        ("pixels", "[?, 8, 8, 3]", "fed from outside")
    ]
    assert [(c.name, c.dtype, c.shape) for c in outputs] == [
        ("end", "float32", "[?, 50]")
    ]
    text = "\n".join(graph_report.describe_graph(graph))
    assert KINDS[name] in text.splitlines()[0] and "Conv2D" in text
    assert ("output y: end:0, float32 [?, 50]" in text) == (name == "saved")
    assert ("(tags serve)" in text) == (name == "saved")


@pytest.mark.parametrize("name", KINDS)
def test_a_graph_cut_short_is_one_sentence(tmp_path, name):
    path = write(tmp_path, name)
    if name == "saved":
        path += "/saved_model.pb"
    with open(path, "rb+") as file:
        file.truncate(len(file.read()) - 300)
    with pytest.raises(ValueError, match="cut short"):
        load_graph(path)


def test_a_graph_cut_between_two_nodes(tmp_path):
    with open(write(tmp_path, "graph.pb"), "rb") as file:
        graph_def = tf.GraphDef.FromString(file.read())
    del graph_def.node[0]
    (tmp_path / "part.pb").write_bytes(graph_def.SerializeToString())
    with pytest.raises(ValueError, match="'Conv2D' reads 'pixels', which is missing"):
        load_graph(str(tmp_path / "part.pb"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not a graph"),
        (b"A text about graphs.\nIts second line.", "it is text"),
        (b"\0\0\0\0TFL3 and so on", "is a TFLite model"),
        (b"\x89HDF\r\n and so on", "is an HDF5 file"),
        (bytes(range(256)), "another kind of file"),
        (b"key 1" + (0xDB4775248B80FB57).to_bytes(8, "little"), "--checkpoint_path"),
    ],
)
def test_foreign_files_are_one_sentence(tmp_path, content, said):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ValueError, match=said) as caught:
        load_graph(str(tmp_path / "file"))
    assert "\n" not in str(caught.value)


def test_missing_files_and_wrong_folders(tmp_path):
    with pytest.raises(ValueError, match="There is no graph file"):
        load_graph(str(tmp_path / "none.pb"))
    with pytest.raises(ValueError, match="has no saved_model.pb"):
        load_graph(str(tmp_path))


def test_one_node_and_the_nearest_to_a_mistake(tmp_path):
    graph = load_graph(write(tmp_path, "graph.pb"))
    lines = list(graph_report.describe_node(graph, "mid:0"))
    assert lines[:3] == [
        "mid: Relu, float32 [?, 8, 8, 50]",
        "  reads Conv2D",
        "  read by end",
    ]
    axes = "\n".join(graph_report.describe_node(graph, "end/reduction_indices"))
    assert "values: [1 2]" in axes
    for mistake, nearest in (("pixel", "pixels"), ("mud", "mid"), ("zzz", "none")):
        with pytest.raises(ValueError, match=f"nearest: {nearest}"):
            graph_report.get_node(graph, mistake)


def test_the_graph_of_a_training_run_has_its_predictions(tmp_path):
    with tf.Graph().as_default() as graph:
        step = tf.train.create_global_step()
        data = tf.data.Dataset.from_tensors(np.ones((4, 8), np.float32)).repeat()
        images = tf.data.make_one_shot_iterator(data).get_next()
        net = slim.fully_connected(images, 3, None, scope="Logits")
        tf.nn.softmax(net, name="Predictions")
        loss = tf.reduce_mean(net)
        train = tf.train.GradientDescentOptimizer(0.1).minimize(loss, step)
        tf.summary.scalar("loss", loss)
        tf.train.Saver()
        assert train is not None
        tf.train.write_graph(graph, str(tmp_path), "graph.pbtxt")
    loaded = load_graph(str(tmp_path / "graph.pbtxt"))
    inputs, outputs = graph_report.find_candidates(loaded)
    assert [(c.op, c.reason) for c in inputs] == [("IteratorGetNext", "read from data")]
    assert outputs[0].name == "Predictions"
    assert "Logits/BiasAdd" in [c.name for c in outputs]
    assert not any(c.name.startswith(("save/", "gradients/")) for c in outputs)


def test_long_lists_of_operations_are_cut():
    graph_def = tf.GraphDef()
    for i in range(35):
        for j in range(1 + (i == 34)):
            graph_def.node.add(name=f"{i}_{j}", op=f"Op{i}")
    graph = GraphFile("g.pb", "GraphDef", graph_def, {})
    lines = "\n".join(graph_report.describe_graph(graph)).splitlines()
    assert lines[0].startswith("g.pb: GraphDef, 36 nodes, ")
    table = lines.index("operation  count")
    assert lines[table + 2].split() == ["Op34", "2"]
    assert lines[table + 32] == "and 5 less frequent operations"
    assert "Likely inputs: none found" in lines


def test_the_operations_of_functions_are_counted():
    with tf.Graph().as_default() as graph:
        data = tf.data.Dataset.range(3).map(lambda value: value + 1)
        tf.data.make_one_shot_iterator(data).get_next()
        graph_def = graph.as_graph_def()
    inside = sum(len(f.node_def) for f in graph_def.library.function)
    lines = "\n".join(
        graph_report.describe_graph(GraphFile("g.pb", "GraphDef", graph_def, {}))
    ).splitlines()
    count = len(graph_def.library.function)
    assert count and lines[1] == f"  functions: {count}, with {inside:,} more nodes"
    assert "AddV2" not in {node.op for node in graph_def.node}
    assert any(line.startswith("AddV2 ") for line in lines)


def test_unknown_operations_do_not_stop_it(tmp_path):
    graph_def = tf.GraphDef()
    graph_def.node.add(name="in", op="Placeholder").attr["dtype"].type = 1
    graph_def.node.add(name="out", op="OfSomeoneElse", input=["in"])
    (tmp_path / "g.pb").write_bytes(graph_def.SerializeToString())
    graph = load_graph(str(tmp_path / "g.pb"))
    _, (output,) = graph_report.find_candidates(graph)
    assert (output.name, output.op, output.shape) == ("out", "OfSomeoneElse", "?")


def test_names_and_tensorboard(tmp_path):
    graph = load_graph(write(tmp_path, "graph.pb"))
    graph_report.write_names(graph, str(tmp_path / "names.txt"))
    names = (tmp_path / "names.txt").read_text().splitlines()
    assert names == [node.name for node in graph.graph_def.node]
    tensorboard.write_graph(graph.graph_def, str(tmp_path / "board"))
    (path,) = glob.glob(str(tmp_path / "board" / "*tfevents*"))
    (event,) = (e for e in tf.train.summary_iterator(path) if e.graph_def)
    shown = tf.GraphDef.FromString(event.graph_def)
    assert [node.name for node in shown.node] == names
    kernels = [
        next(n for n in g.node if n.name == "kernel").attr["value"].tensor
        for g in (graph.graph_def, shown)
    ]
    assert kernels[1].ByteSize() < 100
    assert kernels[1].tensor_shape == kernels[0].tensor_shape
