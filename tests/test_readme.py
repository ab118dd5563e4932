"""Every command of README.md runs, in order, in one folder.

The commands run as they are written, except for what `SHORTER` and `EXTRA_FLAGS` make
small, so that the test takes a minute: another network instead of Inception v3, which
also stands in for its public checkpoint, and a few steps of training. `SKIPPED` are
commands that only prepare the environment, and the test suite itself.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap

import pytest
import quickstart
import script_runner
from conftest import ROOT, SATELLITE

import slim_classifier
from tf_slim_compat import tf

README = (ROOT / "README.md").read_text()
SKIPPED = ("source .venv/bin/activate", "pip install", "./scripts/test.sh")
FILES = ("my_networks.py", "estimator.py")
SHORTER = {
    "--head_first=500": "--head_first=2",
    "--model_name=inception_v3": "--model_name=mobilenet_v1_025",
    "--model_name=mobilenet_v1 ": "--model_name=mobilenet_v1_025 ",
}
TRAINING = (*("--max_number_of_steps=4", "--batch_size=8", "--train_image_size=32"),)
# Each validation saves a checkpoint; there must be several.
VALIDATION = ("--eval_every=2",)
EXTRA_FLAGS = {
    "quickstart": TRAINING + VALIDATION,
    "train": TRAINING,
    # After four steps, all scores are close: lossy formats would not agree.
    "export": ("--check_images=0", "--calibration_images=8"),
}
IMAGES_PER_CLASS = 12
OLD_PROGRAM = """\
import tensorflow as tf

tf.flags.DEFINE_integer("steps", 1, "How often.")

with tf.Session() as session:
    total = tf.layers.flatten(tf.ones([1, tf.flags.FLAGS.steps]))
    print "total", session.run(tf.reduce_sum(total))
"""


def list_blocks():
    """Returns the indented blocks of the README."""
    blocks = re.findall(r"(?:^ {4}.*\n|^\n(?= {4}))+", README, re.MULTILINE)
    return [textwrap.dedent(block).strip() for block in blocks]


def list_commands(block):
    """Returns the commands of a block, without comments."""
    lines = block.replace("\\\n", " ").splitlines()
    commands = (" ".join(shlex.split(line, comments=True)) for line in lines)
    return [command for command in commands if command]


def find_file_name(block):
    """Returns the name of the file that a block is to be put into; None if none."""
    name = block.splitlines()[0].removeprefix("# ")
    return name if name in FILES else None


@pytest.fixture(scope="module")
def folder(pictures_dir, tmp_path_factory):
    """A folder with `photos`, real ones if there are any, and what goes with them."""
    folder = tmp_path_factory.mktemp("readme")
    source = SATELLITE if SATELLITE.is_dir() else pictures_dir
    lines = []
    for label in sorted(path for path in source.iterdir() if path.is_dir()):
        (folder / "photos" / label.name).mkdir(parents=True)
        for path in sorted(label.iterdir())[:IMAGES_PER_CLASS]:
            shutil.copy(path, folder / "photos" / label.name)
            lines.append(f"{label.name}/{path.name},{label.name};image\n")
    shutil.copy(path, folder / "photo.jpg")
    (folder / "labels.csv").write_text("file,labels\n" + "".join(lines))
    write_public_checkpoint(folder / "inception_v3.ckpt")
    (folder / "old_program.py").write_text(OLD_PROGRAM)
    return folder


def write_public_checkpoint(path):
    """Writes a checkpoint of 1,001 classes in the form of 2016: a single file."""
    from nets import nets_factory

    network_fn = nets_factory.get_network_fn("mobilenet_v1_025", 1001)
    with tf.Graph().as_default(), tf.Session() as session:
        network_fn(tf.zeros([1, 32, 32, 3]))
        session.run(tf.global_variables_initializer())
        saver = tf.train.Saver(write_version=tf.train.SaverDef.V1)
        saver.save(session, str(path), write_meta_graph=False)


def run_script(name, arguments):
    status, out, err = script_runner.run_script(name, *arguments)
    assert not status, f"{name} {shlex.join(arguments)}:\n{out}{err}"


def run_subcommand(command, *arguments):
    run_script(f"{slim_classifier.COMMANDS[command]}.py", arguments)


def run_python(*arguments):
    subprocess.run([sys.executable, *arguments], check=True)


def run(command, monkeypatch):
    """Runs one command of the README in this process."""
    for name, other in SHORTER.items():
        command = command.replace(name, other)
    program, *arguments = shlex.split(command)
    if program == "./scripts/quickstart.sh":
        arguments += EXTRA_FLAGS["quickstart"]
        monkeypatch.setattr(sys, "argv", [program, *arguments])
        monkeypatch.setattr(quickstart, "run", run_subcommand)
        quickstart.main()
    elif program == "slim-classifier":
        extra = EXTRA_FLAGS.get(arguments[0], ())
        if arguments[0] == "train" and "--train_dir=run" in arguments:
            extra += VALIDATION
        run_subcommand(*arguments, *extra)
    elif program == "python" and arguments[0] == "-m":
        run_python(*arguments)
    elif program == "python" and arguments[0].startswith("scripts/"):
        run_python(str(ROOT / arguments[0]), *arguments[1:])
    else:
        assert program == "python", f"not covered: {command}"
        run_script(arguments[0], arguments[1:])


@pytest.mark.slow
def test_every_command_runs_in_order(folder, monkeypatch, caplog):
    monkeypatch.chdir(folder)
    count = 0
    for block in list_blocks():
        if name := find_file_name(block):
            (folder / name).write_text(block)
            if name == "estimator.py":
                run_python("-c", block.replace("1500", "2"))
            continue
        for command in list_commands(block):
            if not command.startswith(SKIPPED):
                run(command, monkeypatch)
                count += 1
    assert count > 15
    for name in ("curves.png", "mistakes.html", "frozen.pb"):
        assert (folder / name).stat().st_size
    # The run card remembers the user module and the dataset, from anywhere.
    monkeypatch.chdir(folder.parent)
    caplog.set_level("INFO", "absl")
    run_script("eval_image_classifier.py", [f"--checkpoint_path={folder}/tiny"])
    assert f"Importing the user module {folder}/my_networks.py" in caplog.text


def test_the_readme_is_short_and_its_links_exist():
    assert len(README.splitlines()) < 242
    for target in re.findall(r"\]\(([^)#]+)", README):
        assert (ROOT / target).exists(), target
    first = "\n".join(README.splitlines()[:20])
    assert "./scripts/quickstart.sh" in first and "classify" in first


def test_every_command_line_is_recognized():
    """A new kind of command must be run by the test, or be left out on purpose."""
    known = (*SKIPPED, "./scripts/quickstart.sh", "slim-classifier ", "python ")
    for block in list_blocks():
        if not find_file_name(block):
            for command in list_commands(block):
                assert command.startswith(known), command
                name = command.split()[1] if len(command.split()) > 1 else ""
                if command.startswith("slim-classifier "):
                    assert name in slim_classifier.COMMANDS, command
                if command.startswith("python ") and name != "-m":
                    assert os.path.isfile(ROOT / name), command
