"""inspect_model.py and edit_checkpoint.py as they are called: flags to what is said."""

import importlib
import os
import subprocess
import sys

import numpy as np
import pytest
from absl import flags
from conftest import ROOT
from saved_checkpoints import save

from deployment.models import checkpoint_reader
from tf_slim_compat import slim, tf


def call(script, *arguments):
    """Calls the main of a script; its flags are gone afterwards, for the next one."""
    before = set(flags.FLAGS)
    try:
        module = importlib.import_module(script)
        flags.FLAGS([script, *arguments])
        module.main([])
    finally:
        for flag in set(flags.FLAGS) - before:
            delattr(flags.FLAGS, flag)
        sys.modules.pop(script, None)


@pytest.fixture
def inspect(capsys):
    def run(*arguments):
        call("inspect_model", *arguments)
        return capsys.readouterr().out

    return run


def edit(*arguments):
    call("edit_checkpoint", *arguments)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    """The folder of a run of lenet: a checkpoint with its graph."""
    from nets import nets_factory

    folder = tmp_path_factory.mktemp("run")
    with tf.Graph().as_default(), tf.Session() as session:
        images = tf.placeholder(tf.float32, [1, 28, 28, 1])
        nets_factory.get_network_fn("lenet", 5, is_training=True)(images)
        tf.train.create_global_step()
        session.run(tf.global_variables_initializer())
        tf.train.Saver().save(session, str(folder / "model.ckpt"), global_step=3)
        assert len(slim.get_model_variables()) == 8
    return folder


def test_the_networks(inspect):
    listed = inspect("--list_networks").splitlines()
    assert len(listed) > 45 and listed[-1].startswith("--count adds")
    assert "mobilenet_v1_025" in "\n".join(listed)
    counted = inspect(
        "--list_networks", "--count", "--model_name=lenet*", "--use_grayscale"
    )
    assert [line.split()[0] for line in counted.splitlines()] == [
        "network", "lenet", "lenet5",
    ]  # fmt: skip


def test_an_unknown_network_names_the_nearest(inspect):
    for more in ([], ["--list_networks"]):
        with pytest.raises(ValueError, match="Nearest: inception_v3"):
            inspect("--model_name=inceptoin_v3", *more)


def test_one_network(inspect, tmp_path):
    told = inspect("--model_name=lenet", "--num_classes=5", "--use_grayscale")
    assert "LeNet/conv1" in told and "parameters to train" in told
    board = f"--tensorboard_dir={tmp_path}"
    assert "tensorboard --logdir" in inspect("--model_name=lenet", board)
    assert any("tfevents" in name for name in os.listdir(tmp_path))
    assert "Public checkpoints" not in told
    told = inspect("--model_name=resnet_v2_50", "--image_size=33")
    assert told.rstrip().split("\n")[-1].startswith("Public checkpoints: they were")


def test_a_run(inspect, run_dir, tmp_path):
    run = f"--checkpoint_path={run_dir}"
    told = inspect(run)
    assert "LeNet/conv1/weights" in told and "format V2, 9 variables" in told
    assert inspect(run, "--values=global_step") == "global_step, int64 []:\n0\n"
    picture = tmp_path / "filters.png"
    assert "LeNet/conv1/weights" in inspect(run, f"--filters_png={picture}")
    assert picture.exists()
    assert "nodes: look" in inspect(run, f"--tensorboard_dir={tmp_path}")
    with pytest.raises(ValueError, match="nearest: LeNet/conv1/weights"):
        inspect(run, "--values=conv1/weight")
    (run_dir / "run.json").write_text('{"model_name": "lenet", "num_classes": 5}')
    assert inspect(run, "--statistics").startswith("Run: lenet, 5 classes")


def test_a_run_and_a_network(inspect, run_dir):
    run = f"--checkpoint_path={run_dir}"
    lenet = (run, "--model_name=lenet", "--use_grayscale")
    told = inspect(*lenet, "--num_classes=7")
    assert "LeNet/fc4/biases   [7]" in told
    assert told.endswith("model.ckpt-3 --checkpoint_exclude_scopes=LeNet/fc4\n")
    assert "All variables fit" in inspect(*lenet, "--num_classes=5")
    assert "The same in both: 8 variables" in inspect(*lenet, "--num_classes=5")
    assert "of another network" in inspect(run, "--model_name=cifarnet")


def test_edited_checkpoints_are_inspected(inspect, run_dir, tmp_path):
    output = str(tmp_path / "new" / "model.ckpt")
    edit(
        f"--checkpoint_path={run_dir}", "--strip_optimizer",
        "--rename=LeNet/fc4:LeNet/old", f"--output_path={output}",
    )  # fmt: skip
    assert "LeNet/old/weights" in checkpoint_reader.open_checkpoint(output).variables
    told = inspect(f"--checkpoint_path={run_dir}", f"--compare_to={tmp_path / 'new'}")
    assert f"2 variables only in {run_dir}" in told
    assert "The same in both: 7 variables." in told
    assert told.endswith("--checkpoint_exclude_scopes=LeNet/fc4\n")


def test_a_graph(inspect, run_dir, tmp_path):
    graph = f"--graph_path={run_dir / 'model.ckpt-3.meta'}"
    assert "MetaGraphDef" in inspect(graph)
    assert "Placeholder, float32 [1, 28, 28, 1]" in inspect(graph, "--node=Placeholder")
    names = tmp_path / "names.txt"
    assert "Wrote" in inspect(graph, f"--names_file={names}")
    assert "LeNet/conv1/weights" in names.read_text().splitlines()
    with pytest.raises(ValueError, match="nearest: Placeholder"):
        inspect(graph, "--node=Placehold")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Say what to inspect"),
        (["--checkpoint_path=a", "--node=b"], "--node has no meaning with --checkp"),
        (["--graph_path=a", "--checkpoint_path=b"], "no meaning with --graph_path"),
        (["--model_name=lenet", "--count"], "--count has no meaning with --model_name"),
        (["--checkpoint_path=/none/model.ckpt"], "There is no checkpoint '/none/mod"),
    ],
)
def test_mistakes(inspect, arguments, said):
    with pytest.raises(ValueError, match=said):
        inspect(*arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Say where to write"),
        (["--output_path=a"], "Say which checkpoints"),
        (["--output_path=a", "--average=a,b", "--checkpoint_path=c"], "Say which"),
        (["--output_path=a", "--checkpoint_path=RUN"], "Say what to do"),
        (["--output_path=a", "--checkpoint_path=RUN", "--best=3"], "use --last"),
        (["--output_path=a", "--checkpoint_path=RUN", "--rename=a"], "takes OLD:NEW"),
    ],
)
def test_mistakes_in_editing(run_dir, arguments, said):
    with pytest.raises(ValueError, match=said):
        edit(*(argument.replace("RUN", str(run_dir)) for argument in arguments))


def run_script(*arguments):
    """Runs inspect_model.py in a process of its own, and tells if TensorFlow came."""
    code = (
        "import runpy, sys; sys.argv = sys.argv[1:]\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "finally: print('tensorflow' in sys.modules)"
    )
    return subprocess.run(
        [sys.executable, "-c", code, "inspect_model.py", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


def test_a_large_checkpoint_is_listed_at_once(tmp_path):
    """As many variables as a large network with its optimizer's state has."""
    values = {f"Net/layer_{i}/weights": np.ones(9, "f4") for i in range(2500)}
    with tf.Graph().as_default():
        path = save(tmp_path / "model.ckpt", values, "V2")
    result = run_script(f"--checkpoint_path={path}")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert "2,500 variables" in lines[-3]
    assert lines[-1] == "False", "the listing imported TensorFlow"


def test_a_mistake_is_one_sentence_and_a_status(tmp_path):
    (tmp_path / "model.ckpt").write_text("a text")
    result = run_script(f"--checkpoint_path={tmp_path / 'model.ckpt'}")
    assert result.returncode == 1
    assert result.stderr.startswith("inspect_model.py: error: '")
    assert "cannot be read as a checkpoint" in result.stderr
    assert result.stderr.count("\n") == 1
