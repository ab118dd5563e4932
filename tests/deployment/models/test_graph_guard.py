"""Hostile models are refused, by the name of what they would do, before it is done."""

import hostile_graphs
import hostile_models
import numpy as np
import pytest
import tiny_models
from script_runner import run_script

from deployment import formats
from deployment.inspect import graph as graph_report
from deployment.models import graph_freezing, graph_guard, safe_operations
from tf_slim_compat import tf

# What does no harm even when it is trusted, as the libraries have no such operation or
# refuse the path themselves.
HARMLESS = {
    "asset_outside",
    "onnx_custom_operation",
    "onnx_weights_outside",
    "table_of_a_file",
    "tflite_custom_operation",
    "tflite_operations_of_tensorflow",
}
IMAGES = tiny_models.IMAGES


def predict(path, **options):
    with formats.open_predictor(path, **options) as predictor:
        return predictor.predict(IMAGES)


def is_stolen(folder):
    return any(path.name.startswith("loot") for path in folder.iterdir())


def build(name, folder):
    op, builder = hostile_models.BUILDERS[name]
    (folder / "model").mkdir()
    (folder / "secret").write_text("3" * 48)
    path = builder(folder / "model", folder / "loot", folder / "secret")
    assert not is_stolen(folder)
    return op, path


@pytest.mark.parametrize("name", hostile_models.BUILDERS)
def test_hostile_models_are_refused(name, tmp_path):
    op, path = build(name, tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError) as error:
        predict(path)
    assert op in str(error.value) and "\n" not in str(error.value)
    assert sorted(tmp_path.rglob("*")) == before
    if name in HARMLESS:
        return
    # The model is a real one: trusted, it creates the file or changes the scores.
    scores = predict(path, trust=True)
    expected = tiny_models.compute_scores(IMAGES)
    assert is_stolen(tmp_path) or np.abs(scores - expected).max() > 0.1


def test_variables_and_assets_of_the_model_itself_are_read(tmp_path):
    (tmp_path / "words").write_text("a\nb\n")
    path = hostile_models.write_saved_model(
        tmp_path,
        variables=True,
        init=lambda: hostile_models.initialize_table(f"{tmp_path}/words"),
        assets_collection=lambda: tf.get_collection(tf.GraphKeys.ASSET_FILEPATHS),
    )
    (tmp_path / "words").unlink()
    scores = predict(path)
    np.testing.assert_allclose(scores, tiny_models.compute_scores(IMAGES), atol=1e-5)
    frozen = str(tmp_path / "frozen.pb")
    graph_freezing.freeze(frozen, "Predictions", input_saved_model_dir=path)
    np.testing.assert_allclose(predict(frozen), scores, atol=1e-5)


def test_freezing_refuses_hostile_graphs(tmp_path):
    cases = hostile_graphs.write_graphs_to_freeze(tmp_path, tmp_path / "loot")
    (tmp_path / "main").mkdir()
    _, saved = build("main_operation", tmp_path / "main")
    outputs = {name: "scores" for name in cases} | {"saved model": "Predictions"}
    cases["saved model"] = [f"--input_saved_model_dir={saved}"]
    for name, arguments in cases.items():
        arguments = [
            "freeze_graph.py", *arguments, f"--output_node_names={outputs[name]}",
            f"--output_graph={tmp_path}/frozen.pb",
        ]  # fmt: skip
        status, _, errors = run_script(*arguments)
        assert status == 1 and "WriteFile (node 'WriteFile')" in errors, (name, errors)
        folder = tmp_path / "main" if name == "saved model" else tmp_path
        assert not is_stolen(folder) and not (tmp_path / "frozen.pb").exists(), name
        status, _, errors = run_script(*arguments, "--trust_model")
        assert status == 0 and is_stolen(folder), (name, errors)
        (folder / "loot").unlink()
        # What was frozen does not depend on it, and needs no trust.
        predict(str(tmp_path / "frozen.pb"), output=outputs[name])
        (tmp_path / "frozen.pb").unlink()


def test_inspection_runs_nothing(tmp_path):
    """Importing alone makes TensorFlow read the file, to infer a shape."""
    (tmp_path / "secret").write_text("7")
    with tf.Graph().as_default() as graph:
        size = tf.strings.to_number(tf.io.read_file(f"{tmp_path}/secret"), tf.int32)
        tf.reshape(hostile_graphs.add_input(), [size, -1], name="scores")
    graph_def = graph.as_graph_def()
    with tf.Graph().as_default():
        (imported,) = tf.import_graph_def(graph_def, return_elements=["scores:0"])
    assert imported.shape.as_list() == [7, None]
    assert graph_report.import_graph(graph_def) is None
    (tmp_path / "graph.pb").write_bytes(graph_def.SerializeToString())
    status, found, _ = run_script(
        "inspect_model.py", f"--graph_path={tmp_path}/graph.pb", "--node=scores"
    )
    assert status == 0 and "scores: Reshape, ? ?" in found


def test_safe_operations_are_none_of_these():
    families = (
        "Dataset", "File", "Iterator", "PyFunc", "Queue", "Reader", "Save", "Restore",
        "Summary", "Print", "Send", "Recv", "Remote", "Rpc", "Collective", "Xla", "TPU",
        "Tpu", "Debug", "Dump", "Skipgram", "CandidateSampler", "Proto", "Mlir",
        "Stage", "Session", "ImmutableConst", "Vocab", "Checkpoint", "BatchFunction",
        "Copy", "Launch", "Infeed", "Outfeed", "FileSystem", "Barrier", "ImportEvent",
    )  # fmt: skip
    found = {
        op
        for op in safe_operations.SAFE_OPERATIONS
        if any(family in op for family in families)
    }
    assert found == {"DisableCopyOnRead"}
    assert len(safe_operations.SAFE_OPERATIONS) > 400
    # Each is one of TensorFlow's operations.
    assert all(hasattr(tf.raw_ops, op) for op in safe_operations.SAFE_OPERATIONS)


def test_constants_that_no_file_can_hold(tmp_path):
    with tf.Graph().as_default() as graph:
        tiny_models.build(hostile_graphs.add_input())
    graph_def = graph.as_graph_def()
    tensor = next(n for n in graph_def.node if n.op == "Const").attr["value"].tensor
    for size in (2**31, 2**62):
        tensor.tensor_shape.dim.add(size=size)
        with pytest.raises(ValueError, match=r"'g' is damaged or hostile.* GB\.$"):
            graph_guard.check(graph_def, "g")


def test_calls_with_other_arguments_do_not_pass_for_the_checkpoint():
    """An `If` hands its inputs on from the second one; the first is the condition."""
    with tf.Graph().as_default() as graph:
        fed = tf.placeholder_with_default("model", [], "fed")
        path = tf.constant("/secret", name="path")

        @tf.function(autograph=False)
        def read(first, second):
            return tf.raw_ops.RestoreV2(
                prefix=second, tensor_names=["a"], shape_and_slices=[""],
                dtypes=[tf.float32],
            )[0]  # fmt: skip

        concrete = read.get_concrete_function(*[tf.TensorSpec([], tf.string)] * 2)
        concrete(path, fed)
    right = graph.as_graph_def()
    graph_guard.check_reading(right, ["fed:0"], "g")
    (call,) = (n for n in right.node if "Call" in n.op)
    branches = tf.GraphDef()
    branches.CopyFrom(right)
    (other,) = (n for n in branches.node if "Call" in n.op)
    del other.input[:]
    # By position alone, the second argument, the path, would be taken for `fed`.
    other.op = "If"
    other.input.extend(["condition", "fed", "path"])
    branches.node.add(name="condition", op="Const")
    call.input[:] = ["fed", "path"]
    for graph_def in (right, branches):
        with pytest.raises(
            ValueError, match="RestoreV2 of a file that may not be its own"
        ):
            graph_guard.check_reading(graph_def, ["fed:0"], "g")
