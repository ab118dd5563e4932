"""Mistakes that users make: each ends in one sentence with rule, value and remedy.

They are listed in mistakes.txt; the files there are those of the fixture `place`.
"""

import contextlib
import os
import re
import resource
import shlex
import shutil
import signal
import socket
import string
import subprocess
import sys

import pytest
from conftest import ROOT
from script_runner import run_script

from deployment.cluster import servers

TRAIN = "train_image_classifier.py"
CONVERT = "convert_dataset.py"
EXPORT = "export_model.py"
GRAPH = "export_inference_graph.py"
FREEZE = "freeze_graph.py"
PLOT = "plot_training.py"
EDIT = "edit_checkpoint.py"
INSPECT = "inspect_model.py"
CLASSIFY = "classify_image.py"
EVALUATE = "eval_image_classifier.py"

# What goes before most mistakes, and is right.
SMALL = "--train_image_size=16 --batch_size=8 --max_number_of_steps=2"
FOLDER = "--dataset_name=image_folder --recipe=classic"
NEW = f"--train_dir=new {FOLDER}"
SOFTMAX = f"{NEW} --dataset_dir=data --model_name=softmax_regression {SMALL} "
VALIDATED = f"{SOFTMAX}--eval_split_name=validation "
LINEAR = f"{NEW} --model_name=linear_regression {SMALL} "
RESUME = SOFTMAX.replace("=new", "=run")
CONVERTED = "--source=photos --dataset_dir=new --workers=1 "
RUN = "--checkpoint_path=run "
OUT = f"{RUN}--output_dir=new "
WRITTEN = "--output_file=new.pb "
FROZEN = "--input_graph=graph.pb --input_binary --input_checkpoint=run "
MODEL = "--model_path=out/frozen_graph.pb photo.jpg "
DRAWN = "--train_dir=run --output_file=new.png "
EDITED = f"{RUN}--output_path=new/model.ckpt "


def read_mistakes():
    """Returns the rows of mistakes.txt: (script, what was typed, what is said)."""
    rows = []
    for line in (ROOT / "tests" / "mistakes.txt").read_text().split("\n"):
        if line.startswith("    "):
            rows[-1][2].append(line[4:])
        elif line and not line.startswith("#"):
            script, _, typed = line.partition(" ")
            typed = string.Template(typed).substitute(ABBREVIATIONS)
            rows.append((f"{script}.py", typed, []))
    return [(script, typed, "\n".join(said)) for script, typed, said in rows]


ABBREVIATIONS = {
    name: value
    for name, value in globals().items()
    if name.isupper() and name != "ROOT"
}
MISTAKES = read_mistakes()


def succeed(script, arguments):
    status, out, err = run_script(script, *shlex.split(arguments))
    assert status == 0, out + err


@pytest.fixture(scope="module")
def place(pictures_dir, data_dir, tmp_path_factory):
    """A folder with data of all tasks, a run, its exports, and files that are wrong."""
    folder = tmp_path_factory.mktemp("mistakes")
    (folder / "photos").symlink_to(pictures_dir)
    (folder / "data").symlink_to(data_dir)
    (folder / "folder").mkdir()
    (folder / "empty").touch()
    (folder / "text.jpg").write_text("not an image")
    (folder / "photo.jpg").symlink_to(pictures_dir / "dots" / "0.jpg")
    (folder / "broken.py").write_text("1 / 0\n")
    (folder / "syntax.py").write_text("def f(:\n")
    names = sorted(path.relative_to(pictures_dir) for path in pictures_dir.glob("*/*"))
    rows = [(name, number % 2, number % 3 == 0) for number, name in enumerate(names)]
    many = "".join(f"{name},{wet},{int(green)}\n" for name, wet, green in rows)
    numbers = "".join(f"{name},{wet + green}\n" for name, wet, green in rows)
    (folder / "many.csv").write_text(f"file,wet,green\n{many}")
    (folder / "numbers.csv").write_text(f"file,score\n{numbers}")
    (folder / "words.csv").write_text(f"file,score\n{names[0]},good\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        labeled = "--source=photos --workers=1 --shards=1 "
        succeed(
            CONVERT,
            f"{labeled}--labels=many.csv --task=multilabel --dataset_dir=many",
        )
        succeed(
            CONVERT,
            f"{labeled}--labels=numbers.csv --task=regression --dataset_dir=numbers",
        )
        succeed(TRAIN, f"{RESUME}--seed=1 --save_summaries_secs=0")
        succeed(EXPORT, f"{RUN}--output_dir=out --formats=frozen --check_images=0")
        succeed(GRAPH, f"{RUN}--output_file=graph.pb")
        succeed(FREEZE, f"{FROZEN}--output_graph=frozen.pb")
    return folder


def check_one_sentence(script, status, err, said):
    assert status == 1, err
    assert "Traceback" not in err
    message = err[err.index(f"{script}: error: ") :]
    assert message.count(f"{script}: error: ") == 1
    assert said in message
    # A command to paste may follow in a second line.
    assert message.rstrip("\n").count("\n") == said.count("\n")


@pytest.mark.parametrize(
    "script, typed, said", MISTAKES, ids=[f"{row[0][:-3]} {row[1]}" for row in MISTAKES]
)
def test_a_mistake_ends_in_one_sentence(script, typed, said, place, monkeypatch):
    monkeypatch.chdir(place)
    status, out, err = run_script(script, *shlex.split(typed))
    check_one_sentence(script, status, err, said)
    assert out == ""


@contextlib.contextmanager
def full_disk():
    """Within, no file can be longer than a few bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize(
    "script, typed, file",
    [
        (PLOT, "--train_dir=run --output_file=full/a.pdf", "full/a.pdf"),
        (EDIT, f"{EDITED}--to_v2 --output_path=full/model.ckpt", "full/model.ckpt"),
        (INSPECT, f"{RUN}--filters_png=full/a.png", "full/a.png"),
        (INSPECT, f"{RUN}--tensorboard_dir=full", "full/events.out.tfevents."),
        (INSPECT, "--graph_path=graph.pb --names_file=names", "names"),
        (CLASSIFY, f"{MODEL}--output_file=full/a.csv", "full/a.csv"),
        (EVALUATE, f"{RUN}--eval_dir= --predictions_csv=full/a.csv", "full/a.csv"),
        (EVALUATE, f"{RUN}--eval_dir= --gallery=full/a.html", "full/a.html"),
        (EVALUATE, f"{RUN}--eval_dir=full", "full/eval.json"),
    ],
)
def test_a_full_disk_ends_in_one_sentence_and_leaves_nothing(
    script, typed, file, place, monkeypatch
):
    monkeypatch.chdir(place)
    before = set(os.listdir())
    with full_disk():
        status, _, err = run_script(script, *shlex.split(typed))
    check_one_sentence(script, status, err, file)
    assert re.search(f"{file}.* cannot be written: File too large", err), err
    left = [path.name for path in (place / "full").glob("*")]
    # TensorBoard's file of an evaluation grows as it goes.
    assert all(name.startswith("events.") and "eval" in script for name in left), left
    assert set(os.listdir()) - before <= {"full"}
    shutil.rmtree("full", ignore_errors=True)


def test_there_are_at_least_a_hundred_mistakes():
    assert len({row[:2] for row in MISTAKES}) == len(MISTAKES) >= 100


def start(script, arguments, folder):
    return subprocess.Popen(
        [sys.executable, str(ROOT / script), *shlex.split(arguments)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Shells let commands in the background, and what these start, ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


@pytest.mark.parametrize(
    "script, typed, said",
    [
        (CONVERT, "--data=photos", "did you mean --source=photos?"),
        (PLOT, "--train_dir=runn --compare", "There is no folder 'runn'"),
        (TRAIN, f"{SOFTMAX}--lr=0.1", "did you mean --learning_rate=0.1?"),
    ],
)
def test_a_mistake_in_a_process_of_its_own(script, typed, said, place):
    process = start(script, typed, place)
    out, err = process.communicate()
    check_one_sentence(script, process.returncode, err, said)
    assert out == ""


def test_a_server_that_cannot_be_reached_is_no_wait_without_end(place, monkeypatch):
    monkeypatch.chdir(place)
    with socket.socket() as closed:  # Bound, but it accepts no connections.
        closed.bind(("127.0.0.1", 0))
        address = f"grpc://127.0.0.1:{closed.getsockname()[1]}"
        status, out, err = run_script(TRAIN, *SOFTMAX.split(), f"--master={address}")
    said = (
        f"The server --master={address} cannot be reached (Connection refused): start"
    )
    check_one_sentence(TRAIN, status, err, said)
    assert out == ""


def test_ctrl_c_ends_the_wait_for_a_server_that_does_not_answer(place):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        process = start(TRAIN, f"{SOFTMAX}--master=grpc://127.0.0.1:{port}", place)
        seen = []
        for line in process.stderr:
            seen.append(line)
            if re.match("Waiting for the cluster", line):
                break
        else:
            pytest.fail("It ended without waiting:\n" + "".join(seen))
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert process.returncode == 130, err
    assert err.endswith("interrupted.\n")


def test_a_process_that_asks_a_silent_server_ends_by_itself():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        master = f"grpc://127.0.0.1:{silent.getsockname()[1]}"
        ask = [sys.executable, "-c", servers._ASK, master, "1"]
        done = subprocess.run(ask, capture_output=True, cwd=ROOT)
    assert done.returncode == -signal.SIGALRM
