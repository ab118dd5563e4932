"""Frozen graphs: of this project, and of others."""

import numpy as np
import pytest
import tiny_models
from tiny_models import IMAGES, SIZE

from deployment.formats import frozen
from deployment.models import graph_files
from tf_slim_compat import tf


@pytest.mark.parametrize("batch_size", [None, 1, 3, 8])
@pytest.mark.parametrize("softmax", [True, False])
def test_graphs_of_others(batch_size, softmax, tmp_path):
    path = tiny_models.write_frozen(tmp_path / "frozen.pb", batch_size, softmax)
    with frozen.FrozenPredictor(path) as predictor:
        assert predictor.image_size == (SIZE, SIZE) and predictor.channels == 3
        assert "Predictions" in predictor.scopes or not softmax
        assert predictor.spec is None
        for _ in range(2):
            tiny_models.check(predictor)


def test_an_output_is_chosen_by_name(tmp_path):
    path = tiny_models.write_frozen(tmp_path / "frozen.pb")
    with frozen.FrozenPredictor(path, "logits") as predictor:
        tiny_models.check(predictor)
    with pytest.raises(ValueError, match="no node 'logit'; the nearest: logits"):
        frozen.FrozenPredictor(path, "logit")
    with tf.Graph().as_default() as graph:
        images = tf.placeholder(tf.float32, [None, SIZE, SIZE, 3], "input")
        tiny_models.build(images)
        tf.argmax(images, -1, name="best")
        images + 1.0
    (tmp_path / "several.pb").write_bytes(graph.as_graph_def().SerializeToString())
    # Predictions are preferred to other outputs.
    with frozen.FrozenPredictor(str(tmp_path / "several.pb")) as predictor:
        tiny_models.check(predictor)
    with pytest.raises(ValueError, match="'best' .* is int64; scores are floating"):
        frozen.FrozenPredictor(str(tmp_path / "several.pb"), "best")


def load_plainly(path):
    """Loads a frozen graph as programs of TensorFlow 1 do."""
    graph_def = tf.GraphDef()
    with open(path, "rb") as file:
        graph_def.ParseFromString(file.read())
    tf.import_graph_def(graph_def, name="")


def test_the_graph_has_its_nodes_and_no_others(exported):
    with tf.Graph().as_default() as graph, tf.Session() as session:
        load_plainly(exported.paths["frozen"])
        kinds = {op.type for op in graph.get_operations()}
        assert not kinds & {
            "FusedBatchNormV3",
            "Identity",
            "RandomUniform",
            "VarHandleOp",
        }
        logits, probabilities = session.run(
            [
                "MobilenetV1/Logits/SpatialSqueeze:0",
                "MobilenetV1/Predictions/Reshape_1:0",
            ],
            {"input:0": exported.samples.pixels},
        )
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(
        probabilities, shifted / shifted.sum(axis=1, keepdims=True), atol=1e-6
    )


def test_the_specification_is_no_output(exported):
    graph_def = graph_files.load_graph_def(exported.paths["frozen"])
    assert graph_files.find_spec(graph_def) == exported.model.spec
    assert graph_files.find_outputs(graph_def) == ["MobilenetV1/Predictions/Reshape_1"]
    with frozen.FrozenPredictor(
        exported.paths["frozen"], spec=tiny_models.make_spec()
    ) as predictor:
        assert predictor.spec == exported.model.spec


def test_the_graph_without_a_specification_takes_the_given_one(tmp_path):
    path = tiny_models.write_frozen(tmp_path / "frozen.pb")
    spec = tiny_models.make_spec()
    with frozen.FrozenPredictor(path, spec=spec) as predictor:
        assert predictor.spec is spec
    graph_def = graph_files.load_graph_def(path)
    node = graph_def.node.add(name=graph_files.SPEC_NAME, op="Const")
    for value in ("no JSON", b"\xff", [1.0, 2.0], "[]"):
        node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))
        assert graph_files.find_spec(graph_def) is None


@pytest.mark.parametrize(
    "cut", [lambda data: data[: len(data) // 2], lambda _: b"words, words"]
)
def test_damaged_files(cut, tmp_path):
    path = tmp_path / "frozen.pb"
    tiny_models.write_frozen(path)
    path.write_bytes(cut(path.read_bytes()))
    with pytest.raises(ValueError, match=f"^'{path}' is not a binary GraphDef[^\n]*$"):
        frozen.FrozenPredictor(str(path))


def test_files_that_are_no_frozen_graphs(tmp_path):
    path = tmp_path / "frozen.pb"
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=f"{path}' is empty"):
        frozen.FrozenPredictor(str(path))
    graph_def = graph_files.build_inference_graph(
        tiny_models.network_fn, [None, SIZE, SIZE, 3]
    )
    graph_files.write_graph(graph_def, str(path))
    with pytest.raises(ValueError, match="is not frozen: its variables have no value"):
        frozen.FrozenPredictor(str(path))


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        ([], "its placeholders: none"),
        ([IMAGES.shape] * 2, "its placeholders: Placeholder, Placeholder_1"),
        ([[None, 3]], r"has the shape \(\?, 3\); images need"),
    ],
)
def test_inputs_that_are_no_images(shapes, said, tmp_path):
    with tf.Graph().as_default() as graph:
        inputs = [tf.placeholder(tf.float32, shape) for shape in shapes]
        tf.add_n([tf.reduce_sum(x) for x in inputs] or [tf.ones([])], name="scores")
    path = tmp_path / "frozen.pb"
    path.write_bytes(graph.as_graph_def().SerializeToString())
    with pytest.raises(ValueError, match=said):
        frozen.FrozenPredictor(str(path), "scores")
