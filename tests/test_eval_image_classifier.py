"""The evaluation script with a run card and with flags; one process for all cases."""

import json
import re
import subprocess
import sys

import probe_weights
import pytest
from conftest import ROOT

from datasets import dataset_factory
from deployment.models import run_card
from nets import nets_factory
from tf_slim_compat import tf

MODEL = "softmax_regression"
# Calls `main` once for each list of arguments; prints a JSON list of the outcomes.
RUNNER = """
import contextlib, io, json, logging, sys
from absl.testing import flagsaver
import eval_image_classifier as script
from deployment.config_flags import SettingError

outcomes = []
for arguments in json.loads(sys.argv[1]):
    out, error = io.StringIO(), None
    with flagsaver.flagsaver(), contextlib.redirect_stdout(out):
        script.FLAGS(["eval_image_classifier.py", *arguments])
        try:
            script.main(None)
        except SettingError as caught:
            error = caught.explain()
        except (ValueError, OSError) as caught:
            error = str(caught)
    outcomes.append([out.getvalue(), error])
print("OUTCOMES", json.dumps(outcomes))
"""

# A user module that gives every dataset another task.
OTHER_TASK = """
from datasets import dataset_factory

get_dataset = dataset_factory.get_dataset

def get_other(*arguments):
    dataset = get_dataset(*arguments)
    dataset.task = "regression"
    return dataset

dataset_factory.get_dataset = get_other
"""


def run_all(cases):
    """Runs the script's `main` for each list of arguments: [(output, error)]."""
    result = subprocess.run(
        [sys.executable, "-c", RUNNER, json.dumps(cases)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=1800,  # Ends what hangs.
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return json.loads(result.stdout.rpartition("OUTCOMES ")[2])


def save_run(folder, data_dir):
    """Saves an untrained network in `run`, with a run card, and in `bare`."""
    names = dataset_factory.get_dataset(
        "image_folder", "train", str(data_dir)
    ).labels_to_names
    network_fn = nets_factory.get_network_fn(MODEL, len(names))
    with tf.Graph().as_default(), tf.Session() as session:
        network_fn(tf.zeros([1, 20, 20, 3]))
        step = tf.train.get_or_create_global_step()
        probe_weights.initialize(session)
        for number in (1, 2):
            session.run(step.assign(number))
            tf.train.Saver().save(session, f"{folder}/run/model.ckpt", number)
            tf.train.Saver().save(session, f"{folder}/bare/model.ckpt", number)
    card = run_card.RunCard(
        model_name=MODEL,
        num_classes=len(names),
        class_names=tuple(names[i] for i in range(len(names))),
        image_size=20,
        preprocessing_name="inception",
        dataset_name="image_folder",
        dataset_dir=str(data_dir),
        results={"step": 2, "stopped_because": "the last step is reached"},
    )
    card.save(f"{folder}/run")


@pytest.fixture(scope="module")
def outcomes(data_dir, tmp_path_factory):
    """The outcomes of evaluating an untrained network in many ways."""
    folder = tmp_path_factory.mktemp("script")
    save_run(folder, data_dir)
    (folder / "other_task.py").write_text(OTHER_TASK)
    by_card = [f"--checkpoint_path={folder}/run"]
    by_flags = [
        f"--checkpoint_path={folder}/bare",
        f"--model_name={MODEL}",
        "--dataset_name=image_folder",
        f"--dataset_dir={data_dir}",
        "--dataset_split_name=validation",
        "--preprocessing_name=inception",
        "--eval_image_size=20",
        f"--eval_dir={folder}/eval",
    ]
    cases = {
        "card": [
            *by_card,
            f"--predictions_csv={folder}/predictions.csv",
            f"--gallery={folder}/gallery.html",
        ],
        "flags": by_flags,
        "card and the same flags": [
            f"--checkpoint_path={folder}/run/model.ckpt-2",
            *by_flags[1:],
        ],
        "one image a batch": [*by_flags, "--batch_size=1", "--eval_dir="],
        "training split": [*by_card, "--dataset_split_name=train", "--batch_size=33"],
        "all": [*by_card, "--all_checkpoints"],
        "follow": [*by_card, "--eval_interval_secs=0.1"],
        "contradiction": [*by_card, "--model_name=lenet"],
        "forced contradiction": [*by_card, "--model_name=lenet", "--ignore_run_card"],
        "size": [*by_card, "--eval_image_size=28"],
        "no split": [*by_card, "--dataset_split_name=test"],
        "quantize": [*by_card, "--quantize"],
        "metric": [*by_card, "--all_checkpoints", "--metric=top_5"],
        "batch size": [*by_card, "--batch_size=0"],
        "step": [*by_card, "--checkpoint=1", "--eval_dir="],
        "no step": [*by_card, "--checkpoint=7"],
        "two ways": [*by_card, "--checkpoint=best", "--all_checkpoints"],
        "no run": [f"--checkpoint_path={folder}/rum"],
        # The last, as its user module affects all that follow.
        "other task": [*by_card, f"--user_module={folder}/other_task.py"],
    }
    results = dict(zip(cases, run_all(list(cases.values())), strict=True))
    return folder, results


@pytest.mark.slow
def test_run_card_and_flags_give_the_same_results(outcomes):
    folder, results = outcomes
    text, error = results["card"]
    assert error is None and "macro average" in text and "\naccuracy " in text
    # Both steps have the same weights.
    for same in (
        "flags",
        "card and the same flags",
        "one image a batch",
        "follow",
        "step",
    ):
        assert results[same] == [text, None], same
    by_card, by_flags = (
        json.loads((folder / place / "eval.json").read_text())
        for place in ("run/eval", "eval")
    )
    assert by_card["split"] == by_flags["split"] == "validation"
    assert by_card["num_images"] == 20 and by_card["classes"] == by_flags["classes"]


@pytest.mark.slow
def test_predictions_csv_and_gallery(outcomes, pictures_dir):
    folder, _ = outcomes
    lines = (folder / "predictions.csv").read_text().splitlines()[1:]
    assert len(lines) == 20
    for line in lines:
        name, _, label_name, *_ = line.split(",")
        assert (pictures_dir / name).exists() and name.startswith(label_name + "/")
    page = (folder / "gallery.html").read_text()
    wrong = sum(line.split(",")[1] != line.split(",")[3] for line in lines)
    assert page.count("<img ") == wrong > 0


@pytest.mark.slow
def test_other_splits_and_checkpoints(outcomes):
    _, results = outcomes
    text, error = results["training split"]
    assert error is None and re.search(r"macro average +80 ", text)
    text, error = results["all"]
    assert error is None
    assert [line.split()[0] for line in text.splitlines()[:3]] == [
        "checkpoint",
        "model.ckpt-1",
        "model.ckpt-2",
    ]


@pytest.mark.slow
def test_errors_are_one_sentence(outcomes):
    _, results = outcomes
    for case, said in (
        ("contradiction", "--model_name is 'lenet', but the run was trained with"),
        ("forced contradiction", "is of another network"),
        ("size", "--eval_image_size is 28, but"),
        ("no split", "There is no split 'test'"),
        ("quantize", "--quantize is True, but the run was trained with False"),
        ("metric", "--metric is 'top_5', but task classification with 5 outputs"),
        ("batch size", "--batch_size must be 1 or more, but is 0"),
        ("no step", "no checkpoint of step 7"),
        ("two ways", "--checkpoint=best chooses one checkpoint, but --all_checkpoint"),
        ("no run", "its folder holds run"),
        ("other task", "is for task regression, but the run was trained for classif"),
    ):
        text, error = results[case]
        assert not text and said in error and "\n" not in error, case
