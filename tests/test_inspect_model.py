"""inspect_model.py and edit_checkpoint.py: flags in, printed text and files out."""

import importlib
import os
import shutil
import sys

import numpy as np
import pytest
from absl import flags
from PIL import Image
from saved_checkpoints import save
from script_runner import run_script

from deployment.models.checkpoint import Checkpoint
from deployment.models.run_card import RunCard
from tf_slim_compat import slim, tf


def call(script, *arguments):
    """Calls the main function of a script, and then undefines its flags."""
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
    """A training folder of lenet: a checkpoint with its graph, and the run card."""
    from nets import nets_factory

    folder = tmp_path_factory.mktemp("run")
    with tf.Graph().as_default(), tf.Session() as session:
        images = tf.placeholder(tf.float32, [1, 28, 28, 1])
        nets_factory.get_network_fn("lenet", 5, is_training=True)(images)
        tf.train.create_global_step()
        session.run(tf.global_variables_initializer())
        tf.train.Saver().save(session, str(folder / "model.ckpt"), global_step=3)
        assert len(slim.get_model_variables()) == 8
    RunCard(
        model_name="lenet", num_classes=5, image_size=28, preprocessing_name="lenet"
    ).save(str(folder))
    return folder


def test_the_networks(inspect):
    listed = inspect("--list_networks").splitlines()
    assert len(listed) > 45 and listed[-1].startswith("Add --count")
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
    assert "LeNet/conv1" in told and "trainable parameters" in told
    board = f"--tensorboard_dir={tmp_path}"
    assert "tensorboard --logdir" in inspect("--model_name=lenet", board)
    assert any("tfevents" in name for name in os.listdir(tmp_path))
    assert "Public checkpoints" not in told
    told = inspect("--model_name=resnet_v2_50", "--image_size=33")
    assert (
        told.rstrip().split("\n")[-1].startswith("Public checkpoints: trained on 299")
    )


def test_a_run(inspect, run_dir, tmp_path):
    run = f"--checkpoint_path={run_dir}"
    told = inspect(run)
    assert "LeNet/conv1/weights" in told and "format V2, 9 variables" in told
    assert inspect(run, "--values=global_step") == "global_step, int64 []:\n0\n"
    picture = tmp_path / "filters.png"
    assert "LeNet/conv1/weights" in inspect(run, f"--filters_png={picture}")
    assert picture.exists()
    assert "nodes; view" in inspect(run, f"--tensorboard_dir={tmp_path}")
    with pytest.raises(ValueError, match="nearest: LeNet/conv1/weights"):
        inspect(run, "--values=conv1/weight")
    told = inspect(run, "--statistics")
    assert (
        told.startswith("Run: classification, lenet, 5 outputs")
        and "not finite" in told
    )
    assert told.count("Run: ") == 1


def test_a_run_and_a_network(inspect, run_dir):
    run = f"--checkpoint_path={run_dir}"
    lenet = (run, "--model_name=lenet", "--use_grayscale")
    told = inspect(*lenet, "--num_classes=7")
    assert "LeNet/fc4/biases   [7]" in told
    assert told.endswith("model.ckpt-3 --checkpoint_exclude_scopes=LeNet/fc4\n")
    assert "All variables fit" in inspect(*lenet)  # The run has 5 classes.
    assert "Equal in both: 8 variables" in inspect(*lenet)
    assert "belongs to another network" in inspect(run, "--model_name=cifarnet")


def test_edited_checkpoints_are_inspected(inspect, run_dir, tmp_path):
    output = str(tmp_path / "new" / "model.ckpt")
    edit(
        f"--checkpoint_path={run_dir}", "--strip_optimizer",
        "--rename=LeNet/fc4:LeNet/old", f"--output_path={output}",
    )  # fmt: skip
    assert "LeNet/old/weights" in Checkpoint(output).variables
    told = inspect(f"--checkpoint_path={run_dir}", f"--compare_to={tmp_path / 'new'}")
    assert f"2 variables only in {run_dir}" in told
    assert "Equal in both: 7 variables." in told
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
        ([], "Nothing to inspect"),
        (["--checkpoint_path=a", "--node=b"], "--node does not go with --checkp"),
        (["--graph_path=a", "--checkpoint_path=b"], "does not go with --graph_path"),
        (["--model_name=lenet", "--count"], "--count does not go with --model_name"),
        (["--checkpoint_path=/none/model.ckpt"], "There is no checkpoint '/none/mod"),
    ],
)
def test_mistakes(inspect, arguments, said):
    with pytest.raises(ValueError, match=said):
        inspect(*arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "No output"),
        (["--output_path=a"], "Give checkpoints in one way"),
        (["--output_path=a", "--average=a,b", "--checkpoint_path=c"], "in one way"),
        (["--output_path=a", "--checkpoint_path=RUN"], "Nothing to change"),
        (
            ["--output_path=a", "--checkpoint_path=RUN", "--best=3"],
            "no best checkpoints",
        ),
        (
            ["--output_path=a", "--checkpoint_path=RUN", "--rename=a"],
            "as OLD:NEW, not 'a'",
        ),
    ],
)
def test_mistakes_in_editing(run_dir, arguments, said):
    with pytest.raises(ValueError, match=said):
        edit(*(argument.replace("RUN", str(run_dir)) for argument in arguments))


@pytest.mark.parametrize("place", ["", "best", "export/best"])
def test_the_run_card_is_found_from_folders_below(inspect, run_dir, tmp_path, place):
    shutil.copytree(run_dir, tmp_path / "run")
    folder = tmp_path / "run" / place
    for path in list((tmp_path / "run").glob("model.ckpt-3.*")):
        folder.mkdir(parents=True, exist_ok=True)
        path.rename(folder / path.name)
    told = inspect(f"--checkpoint_path={folder / 'model.ckpt-3'}")
    assert told.startswith("Run: classification, lenet, 5 outputs")
    network = f"--checkpoint_path={folder / 'model.ckpt-3'}", "--model_name=lenet"
    assert "All variables fit" in inspect(*network, "--use_grayscale")


USER_MODULE = """
from nets import nets_factory
from tf_slim_compat import slim

def tiny(images, num_classes=10, is_training=False):
    net = slim.fully_connected(slim.flatten(images), num_classes, None, scope="tiny")
    return net, {}

network = nets_factory.Network("tiny", tiny, lambda **_: {}, default_image_size=4)
nets_factory.register(network)
"""


def test_networks_of_user_modules_are_inspected(tmp_path):
    module = tmp_path / "my_networks.py"
    module.write_text(USER_MODULE)
    with tf.Graph().as_default():
        weights = {"tiny/weights": np.ones((48, 2)), "tiny/biases": np.ones(2)}
        path = save(tmp_path / "model.ckpt", weights, "V2")
    RunCard(
        model_name="tiny",
        num_classes=2,
        image_size=4,
        preprocessing_name="lenet",
        user_modules=(str(module),),
    ).save(str(tmp_path))
    network = "--model_name=tiny"
    status, out, err = run_script(
        "inspect_model.py", network, f"--checkpoint_path={path}"
    )
    assert status == 0 and "Equal in both: 2 variables." in out, err
    status, out, err = run_script(
        "inspect_model.py", network, "--num_classes=2", f"--user_module={module}"
    )
    assert status == 0 and "98 trainable parameters" in out, err


def test_the_weights_of_a_linear_model_are_drawn(inspect, tmp_path):
    with tf.Graph().as_default():
        weights = {"Linear/Logits/weights": np.eye(75, 2, dtype=np.float32)}
        path = save(tmp_path / "model.ckpt", weights, "V2")
    output = tmp_path / "weights.png"
    told = inspect(f"--checkpoint_path={path}", f"--filters_png={output}")
    with Image.open(output) as image:
        width, height = image.size
    assert told == (
        f"Drew Linear/Logits/weights to {output}, {width}x{height} pixels.\n"
    )


def test_a_large_checkpoint_is_listed(inspect, tmp_path):
    """As many variables as a large network has with its optimizer state."""
    values = {f"Net/layer_{i}/weights": np.ones(9, "f4") for i in range(2500)}
    with tf.Graph().as_default():
        path = save(tmp_path / "model.ckpt", values, "V2")
    lines = inspect(f"--checkpoint_path={path}").splitlines()
    assert len(lines) == 2500 + 5
    assert "2,500 variables, 22,500 values, 90.0 kB" in lines[-2]


def test_a_mistake_is_one_line_and_a_nonzero_status(tmp_path):
    (tmp_path / "model.ckpt").write_text("a text")
    path = f"--checkpoint_path={tmp_path / 'model.ckpt'}"
    status, out, err = run_script("inspect_model.py", path)
    assert (status, out) == (1, "")
    assert err.startswith("inspect_model.py: error: '")
    assert "is not a checkpoint" in err
    assert err.count("\n") == 1


def test_noise_of_8_bits_by_layer(inspect, tmp_path):
    from nets import nets_factory

    rng = np.random.RandomState(0)
    photos, run = tmp_path / "photos", tmp_path / "run"
    photos.mkdir()
    for number in range(3):
        pixels = rng.randint(0, 256, [40, 30, 3]).astype(np.uint8)
        Image.fromarray(pixels).save(photos / f"{number}.png")
    with tf.Graph().as_default(), tf.Session() as session:
        nets_factory.get_network_fn("lenet", 5)(tf.zeros([1, 28, 28, 3]))
        session.run(tf.global_variables_initializer())
        tf.train.Saver().save(session, str(run / "model.ckpt"), global_step=3)
    options = ("--quantization_noise", f"--checkpoint_path={run}")
    with pytest.raises(ValueError, match="has no run card .*: give the folder of a"):
        inspect(*options)
    RunCard(
        model_name="lenet", num_classes=5, image_size=28, preprocessing_name="lenet"
    ).save(str(run))
    with pytest.raises(ValueError, match="no images to show: give --image_dir"):
        inspect(*options)
    chart = tmp_path / "new" / "noise.png"
    told = inspect(*options, f"--image_dir={photos}", f"--noise_png={chart}")
    lines = told.splitlines()
    assert lines[0] == "Signal-to-noise ratio of 8 bits in dB, on 3 images:"
    layers = [line.split()[0] for line in lines[3:7]]
    assert layers == [f"LeNet/{name}" for name in ("conv1", "conv2", "fc3", "fc4")]
    assert lines[7].startswith("Most is lost in LeNet/")
    assert lines[8] == f"Drew the ratios to {chart}."
    assert Image.open(chart).width > 600


def test_a_sheet_of_augmented_images(inspect, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for name, shape in {"gray.png": (20, 30), "color.png": (30, 20, 3)}.items():
        Image.fromarray(np.full(shape, 90, np.uint8)).save(photos / name)
    RunCard(
        model_name="vgg_16", num_classes=5, image_size=16, preprocessing_name="vgg",
        flags={"augment": "random_resized_crop(0.5, 1)|erase(1)"},
    ).save(tmp_path / "run")  # fmt: skip
    sheet = tmp_path / "sheet.png"
    options = (
        "--show_augmentation", f"--image_dir={photos}", f"--augmentation_png={sheet}",
    )  # fmt: skip
    told = inspect(*options, f"--checkpoint_path={tmp_path / 'run'}")
    assert "Drew 2 images" in told and "erase(1)" in told and "vgg" in told
    pixels = np.array(Image.open(sheet))
    assert pixels.shape == (2 * 20 + 4, 9 * 20 + 16, 3)
    for top in (4, 24):
        # What evaluation sees has the color of the image; training's part is erased.
        assert np.abs(pixels[top : top + 16, 4:20].astype(int) - 90).max() <= 1
        part = pixels[top : top + 16, 36:52]
        assert 0 < (part == 90).all(-1).sum() < 256
    told = inspect(*options, "--model_name=lenet", "--augment=letterbox|flip")
    assert "letterbox+lenet and --augment='letterbox|flip'" in told
    assert Image.open(sheet).size == (9 * 32 + 16, 2 * 32 + 4)
    for arguments, message in (
        (("--show_augmentation",), "no images to show: give --image_dir"),
        ((*options, "--augment=flipp"), "did you mean 'flip'"),
        ((*options, "--augmentation_png=a.b"), "no extension of an image format"),
        (("--show_augmentation", "--image_dir=/none"), "cannot be used"),
        (("--model_name=lenet", "--augment=flip"), "--augment does not go with"),
    ):
        with pytest.raises(ValueError, match=message):
            inspect(*arguments)
