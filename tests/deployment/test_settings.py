"""Settings from flags and run cards."""

import pytest
from absl import flags
from saved_checkpoints import save

from deployment import settings
from deployment.models.run_card import RunCard


def make_card(**changes):
    values = {
        "model_name": "mobilenet_v1_025",
        "num_classes": 3,
        "class_names": ("glacier", "harbor", "wood"),
        "image_size": 128,
        "preprocessing_name": "inception",
    }
    return RunCard(**{**values, **changes})


class Network:
    default_image_size = 224
    preprocessing = "vgg"


def define(*arguments, **defaults):
    """Flag values of a script with some flags, parsed from a command line."""
    values = flags.FlagValues()
    define_by_type = {bool: flags.DEFINE_boolean, int: flags.DEFINE_integer}
    for name, default in {"ignore_run_card": False, **defaults}.items():
        kind = define_by_type.get(type(default), flags.DEFINE_string)
        kind(name, default, "", flag_values=values)
    values(["program", *arguments])
    return values


def test_without_a_card_flags_and_the_networks_defaults_count():
    values = define("--model_name=net", model_name=None, image_size=64)
    spec = settings.read_spec(values, None, lambda name: Network)
    assert (spec.model_name, spec.image_size, spec.num_outputs) == ("net", 64, 0)
    assert (spec.preprocessing_name, spec.task) == ("vgg", "classification")
    spec = settings.read_spec(define(), None, lambda name: Network)
    assert (spec.model_name, spec.image_size) == (None, None)


def test_the_card_counts_and_flags_must_not_contradict_it():
    card = make_card(task="multilabel", task_state={"thresholds": [0.5, 0.5, 0.1]})
    defaults = {"model_name": "net", "eval_image_size": 32}
    spec = settings.read_spec(define(**defaults), card, lambda name: Network)
    assert spec == card.spec
    other = define("--eval_image_size=48", **defaults)
    with pytest.raises(ValueError, match="--eval_image_size is 48, but .* 128"):
        settings.read_spec(other, card, lambda name: Network)
    free = settings.read_spec(other, card, lambda name: Network, free=["image_size"])
    assert free == card.spec.replace(image_size=48)
    forced = define("--eval_image_size=48", "--ignore_run_card", **defaults)
    found = settings.read_spec(forced, card, lambda name: Network)
    assert found == card.spec.replace(image_size=48)


def test_the_datasets_task_counts():
    assert settings.choose_task(None, None) == "classification"
    assert settings.choose_task(None, "regression") == "regression"
    assert settings.choose_task("regression", None) == "regression"
    with pytest.raises(ValueError, match="converted for regression"):
        settings.choose_task("multilabel", "regression")


def test_flags_are_reconciled_with_the_card():
    names = {"model_name": "model_name", "eval_image_size": "image_size"}
    card = make_card()
    expected = {"model_name": "mobilenet_v1_025", "eval_image_size": 128}
    assert settings.reconcile(card, {}, names) == expected
    assert settings.reconcile(card, {"eval_image_size": 128}, names) == expected
    assert settings.reconcile(card, {}, ["image_size"]) == {"image_size": 128}
    given = {"eval_image_size": 64, "batch_size": 3}
    with pytest.raises(ValueError) as error:
        settings.reconcile(card, given, names)
    assert str(error.value) == (
        "--eval_image_size is 64, but the run was trained with 128 (image_size in "
        "run.json): leave the flag out, or add --ignore_run_card to override it."
    )
    forced = {**expected, "eval_image_size": 64}
    assert settings.reconcile(card, given, names, force=True) == forced
    assert settings.reconcile(card, given, names, free=["eval_image_size"]) == forced


def test_what_means_the_same_is_no_contradiction(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    card = make_card(dataset_dir=str(tmp_path / "data"))
    given = {"dataset_dir": "data/", "moving_average_decay": 0.0}
    assert settings.reconcile(card, given, list(given)) == given


def test_flags_on_the_command_line_are_told_from_defaults():
    values = flags.FlagValues()
    flags.DEFINE_integer("image_size", 3, "", flag_values=values)
    flags.DEFINE_boolean("grey", False, "", flag_values=values)
    flags.DEFINE_string("name", None, "", flag_values=values)
    values(["program", "--image_size=3", "--nogrey"])
    names = ["image_size", "grey", "name"]
    assert settings.get_given_flags(values, names) == {"image_size": 3, "grey": False}


def test_the_checkpoint_chosen_is_logged(tmp_path, graph, caplog):
    caplog.set_level("INFO", logger="absl")
    path = save(tmp_path / "model.ckpt-5", {"global_step": 5}, "V2")
    given = {"checkpoint": None, "model_path": None}
    values = define(f"--model_path={path}", **given)
    assert settings.choose_checkpoint(values, "Using", "model_path") == path
    values = define("--checkpoint=5", **given)
    found = settings.choose_checkpoint(values, "Using", "model_path", str(tmp_path))
    assert found == path
    ours = [record.message for record in caplog.records if record.name == "absl"]
    assert ours == [f"Using {path}."] * 2
    with pytest.raises(
        ValueError, match="--checkpoint=5 .* but --model_path is the ch"
    ):
        settings.choose_checkpoint(values, "Using", "model_path", path)
