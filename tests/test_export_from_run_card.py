"""export_inference_graph.py and freeze_graph.py with a run card, in this process."""

import importlib.util
import json

import numpy as np
import pytest
from absl import flags
from conftest import ROOT
from google.protobuf import text_format
from saved_checkpoints import save

from deployment.formats import frozen
from deployment.models import averages, graph_files, run_card
from deployment.models.checkpoint import Checkpoint
from nets import nets_factory
from tf_slim_compat import slim, tf


def call(script, *arguments):
    """Runs an entry script's `main` with these flags."""
    before = set(flags.FLAGS)
    spec = importlib.util.spec_from_file_location(f"{script}_here", ROOT / script)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        flags.FLAGS([script, *map(str, arguments)])
        module.main([])
    finally:
        for name in set(flags.FLAGS) - before:
            delattr(flags.FLAGS, name)


def make_run(folder, moving_average_decay=None, **changes):
    """Returns the folder of a lenet on grayscale images: 7 labels without the first."""
    with tf.Graph().as_default(), tf.Session() as session:
        network_fn = nets_factory.get_network_fn("lenet", 6)
        network_fn(tf.zeros([1, 32, 32, 1]))
        tf.train.create_global_step()
        averages = tf.train.ExponentialMovingAverage(0.5)
        if moving_average_decay:
            averages.apply(slim.get_model_variables())
        session.run(tf.global_variables_initializer())
        biases = slim.get_variables("LeNet/fc4/biases")
        session.run([variable.assign(variable + 1) for variable in biases[:1]])
        tf.train.Saver().save(session, str(folder / "model.ckpt"), 3)
    values = {
        "model_name": "lenet",
        "num_classes": 6,
        "labels_offset": 1,
        "image_size": 32,
        "use_grayscale": True,
        "preprocessing_name": "lenet",
        "dataset_name": "image_folder",
        "dataset_dir": "/gone",
        "moving_average_decay": moving_average_decay,
    }
    run_card.RunCard(**{**values, **changes}).save(str(folder))
    return folder


def export(path, *arguments):
    """Exports as text; returns the input's shape and the number of outputs."""
    call(
        "export_inference_graph.py",
        f"--output_file={path}",
        "--write_text_graphdef",
        *arguments,
    )
    graph_def = text_format.Parse(path.read_text(), tf.GraphDef())
    nodes = {node.name: node for node in graph_def.node}
    shape = [dim.size for dim in nodes["input"].attr["shape"].shape.dim]
    (classes,) = nodes["LeNet/fc4/biases"].attr["shape"].shape.dim
    return shape, classes.size


@pytest.mark.parametrize("checkpoint", ["", "model.ckpt-3", "model.ckpt-3.index"])
def test_the_card_gives_network_outputs_and_images(tmp_path, checkpoint):
    make_run(tmp_path)
    flag = f"--checkpoint_path={tmp_path / checkpoint}"
    assert export(tmp_path / "graph.pb", flag) == ([-1, 32, 32, 1], 6)


def test_flags_may_repeat_the_card(tmp_path):
    shape, _ = export(
        tmp_path / "graph.pb",
        f"--checkpoint_path={make_run(tmp_path)}",
        "--model_name=lenet",
        "--dataset_name=image_folder",
        "--labels_offset=1",
        "--use_grayscale",
        "--batch_size=2",
    )
    assert shape == [2, 32, 32, 1]


def test_flags_that_contradict_the_card_need_ignore_run_card(tmp_path, data_dir):
    run = [f"--checkpoint_path={make_run(tmp_path)}"]
    graph, force = tmp_path / "graph.pb", "--ignore_run_card"
    for flag, said in (
        ("--image_size=28", "--image_size is 28, but the run was trained with 32"),
        ("--model_name=cifarnet", "--model_name is 'cifarnet'"),
        ("--nouse_grayscale", "--use_grayscale is False"),
        ("--labels_offset=0", "--labels_offset is 0"),
        (f"--dataset_dir={data_dir}", "The dataset given has 5 classes, but .* with 7"),
        ("--dataset_name=cifar10", "The dataset given has 10 classes"),
    ):
        with pytest.raises(ValueError, match=said):
            export(graph, *run, flag)
    assert export(graph, *run, force, "--image_size=28") == ([-1, 28, 28, 1], 6)
    assert export(graph, *run, force, "--labels_offset=0") == ([-1, 32, 32, 1], 7)
    assert export(graph, *run, force, f"--dataset_dir={data_dir}")[1] == 4


def test_without_a_card_the_flags_are_needed(tmp_path, data_dir):
    make_run(tmp_path)
    (tmp_path / "run.json").unlink()
    graph = tmp_path / "graph.pb"
    with pytest.raises(ValueError, match="There is no run.json with .* give --model_n"):
        export(graph, f"--checkpoint_path={tmp_path}")
    with pytest.raises(ValueError, match="its folder holds model.ckpt-3"):
        export(graph, f"--checkpoint_path={tmp_path}/model.ckpt-4")
    arguments = ["--model_name=lenet", "--dataset_name=image_folder"]
    shape, num_classes = export(
        graph, *arguments, f"--dataset_dir={data_dir}", "--use_grayscale"
    )
    assert (shape, num_classes) == ([-1, 28, 28, 1], 5)


def freeze(folder, *arguments):
    """Freezes with default flags; returns the biases of the last layer."""
    if not (folder / "graph.pb").exists():
        export(folder / "graph.pb", f"--checkpoint_path={folder}")
    call(
        "freeze_graph.py",
        f"--input_graph={folder}/graph.pb",
        f"--input_checkpoint={folder}",
        f"--output_graph={folder}/frozen.pb",
        *arguments,
    )
    graph_def = tf.GraphDef.FromString((folder / "frozen.pb").read_bytes())
    nodes = {node.name: node for node in graph_def.node}
    return tf.make_ndarray(nodes["LeNet/fc4/biases"].attr["value"].tensor)


def test_averages_are_frozen_if_training_kept_them(tmp_path):
    make_run(tmp_path, moving_average_decay=0.5)
    assert (freeze(tmp_path) == 0).all()
    assert (freeze(tmp_path, "--nouse_moving_averages") == 1).all()
    (tmp_path / "run.json").unlink()
    assert (freeze(tmp_path) == 1).all()
    assert (freeze(tmp_path, "--use_moving_averages") == 0).all()


def test_weights_are_frozen_if_training_kept_no_averages(tmp_path):
    make_run(tmp_path)
    assert (freeze(tmp_path) == 1).all()
    with pytest.raises(ValueError, match="model.ckpt-3' holds no moving averages"):
        freeze(tmp_path, "--use_moving_averages")
    with pytest.raises(ValueError, match="a SavedModel already contains its weights"):
        call(
            "freeze_graph.py",
            "--use_moving_averages",
            f"--input_saved_model_dir={tmp_path}",
        )


def write_graph(path, size=32, num_outputs=6, channels=1):
    """Writes a graph as TensorFlow programs do, without a specification."""
    network_fn = nets_factory.get_network_fn("lenet", num_outputs)
    graph_def = graph_files.build_inference_graph(
        network_fn, [None, size, size, channels]
    )
    graph_files.write_graph(graph_def, str(path), as_text=True)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"size": 28}, "takes images of 28 pixels, but the run was trained with 32"),
        (
            {"num_outputs": 7},
            r"has the shape \[1024, 7\] in the graph .* but \[1024, 6\]",
        ),
        ({"channels": 3}, r"has the shape \[5, 5, 3, 32\] in the graph"),
    ],
)
def test_a_graph_that_contradicts_the_card_is_not_frozen(tmp_path, changes, said):
    make_run(tmp_path)
    write_graph(tmp_path / "graph.pb", **changes)
    command = f"export_inference_graph.py --checkpoint_path={tmp_path} --output_file="
    with pytest.raises(ValueError, match=f"{said}.*{command}{tmp_path}/graph.pb"):
        freeze(tmp_path)
    assert not (tmp_path / "frozen.pb").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_name": "lenet5"}, "is of the network lenet, but in the run it is len"),
        ({"num_classes": 9}, "has the number of outputs 6, but in the run it is 9"),
        ({"task": "multilabel"}, "the task classification, but in the run it is multi"),
        ({"task_state": {"mean": [1]}}, "contains another mean than the run"),
    ],
)
def test_the_graph_of_another_run_is_not_frozen(tmp_path, changes, said):
    make_run(tmp_path)
    export(tmp_path / "graph.pb", f"--checkpoint_path={tmp_path}")
    make_run(tmp_path, **changes)
    with pytest.raises(ValueError, match=said):
        freeze(tmp_path)


def test_freezing_adds_the_card_to_any_graph(tmp_path):
    make_run(tmp_path, preprocessing_name="cifarnet")
    write_graph(tmp_path / "graph.pb")
    freeze(tmp_path)
    with frozen.FrozenPredictor(str(tmp_path / "frozen.pb")) as predictor:
        assert predictor.spec == run_card.find(str(tmp_path)).spec
        assert predictor.spec.preprocessing_name == "cifarnet"
    freeze(tmp_path, "--ignore_run_card")
    with frozen.FrozenPredictor(str(tmp_path / "frozen.pb")) as predictor:
        assert predictor.spec is None


def test_export_without_a_card_writes_what_the_flags_say(tmp_path, data_dir):
    arguments = ["--model_name=lenet", "--dataset_name=image_folder"]
    arguments += [f"--dataset_dir={data_dir}", "--labels_offset=1", "--image_size=32"]
    export(tmp_path / "graph.pb", *arguments)
    graph_def = graph_files.load_graph_def(str(tmp_path / "graph.pb"), is_binary=False)
    spec = graph_files.find_spec(graph_def)
    assert (spec.model_name, spec.image_size, spec.num_outputs) == ("lenet", 32, 4)
    assert spec.output_names == ("dots", "rings", "stripes", "zigzags")


def test_the_best_checkpoint_is_frozen(tmp_path):
    make_run(tmp_path)
    biases = freeze(tmp_path)
    newest = Checkpoint(str(tmp_path))
    values = {name: newest.read(name) for name in newest.variables}
    values["LeNet/fc4/biases"] += 1
    (tmp_path / "best").mkdir()
    with tf.Graph().as_default():
        save(tmp_path / "best" / "model.ckpt-2", values, "V2")
    ranking = {"metric": "accuracy", "checkpoints": [{"step": 2, "value": 0.75}]}
    (tmp_path / "best" / "best.json").write_text(json.dumps(ranking))
    assert (freeze(tmp_path) == biases + 1).all()
    assert (freeze(tmp_path, "--checkpoint=latest") == biases).all()
    with pytest.raises(ValueError, match="--checkpoint needs --input_checkpoint"):
        call(
            "freeze_graph.py",
            "--checkpoint=best",
            f"--input_saved_model_dir={tmp_path}",
        )


def test_errors_name_the_checkpoint_given(tmp_path):
    make_run(tmp_path, moving_average_decay=0.5)
    with pytest.raises(ValueError) as error:
        run = f"--checkpoint_path={tmp_path}"
        export(tmp_path / "graph.pb", run, "--labels_offset=0", "--ignore_run_card")
        freeze(tmp_path, "--ignore_run_card")
    assert f"in the checkpoint '{tmp_path}/model.ckpt-3'" in str(error.value)


def test_an_averaged_checkpoint_keeps_other_variables(tmp_path):
    make_run(tmp_path, moving_average_decay=0.5)
    theirs = tf.train.NewCheckpointReader(str(tmp_path / "model.ckpt-3"))
    with averages.averaged_checkpoint(str(tmp_path)) as path:
        ours = tf.train.NewCheckpointReader(path)
        names = theirs.get_variable_to_shape_map()
        assert ours.get_variable_to_shape_map() == names
        changed = [
            name
            for name in names
            if not np.array_equal(ours.get_tensor(name), theirs.get_tensor(name))
        ]
    assert changed == ["LeNet/fc4/biases"]
    assert not tf.train.checkpoint_exists(path)


def test_the_specification_reaches_the_frozen_graph(tmp_path):
    names = tuple(f"label {i}" for i in range(7))
    make_run(tmp_path, class_names=names)
    freeze(tmp_path)
    with frozen.FrozenPredictor(str(tmp_path / "frozen.pb")) as predictor:
        assert predictor.spec == run_card.find(str(tmp_path)).spec
        assert predictor.spec.output_names == names[1:]


def test_a_frozen_graph_returns_the_scores_of_its_task(tmp_path):
    state = {"mean": [5.0] * 6, "scale": [2.0] * 6}
    make_run(tmp_path, task="regression", task_state=state, labels_offset=0)
    freeze(tmp_path)
    images = np.random.RandomState(0).uniform(-1, 1, [3, 32, 32, 1])
    found = []
    for output in (None, "LeNet/fc4/BiasAdd"):
        with frozen.FrozenPredictor(str(tmp_path / "frozen.pb"), output) as predictor:
            found.append(predictor.predict(images))
    scores, logits = found
    np.testing.assert_allclose(scores, logits * 2 + 5, rtol=1e-5)


def test_the_graph_of_a_classifier_has_no_other_outputs(tmp_path):
    make_run(tmp_path)
    export(tmp_path / "graph.pb", f"--checkpoint_path={tmp_path}")
    graph_def = text_format.Parse((tmp_path / "graph.pb").read_text(), tf.GraphDef())
    assert graph_files.find_outputs(graph_def) == ["Predictions/Reshape_1"]
