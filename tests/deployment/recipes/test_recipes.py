"""Recipes: flags that exist, explicit flags that win, and runs that keep theirs."""

import json
import shlex
import types

import conversions
import pytest
import reference_networks
from absl import flags
from script_runner import load_flags, run_script

from deployment import recipes
from deployment.models.run_card import RunCard
from deployment.recipes import base, facts
from nets import nets_factory

SCRIPT = "train_image_classifier.py"
KNOWN = {"validation_split": lambda: "validation"}


def parse(*arguments):
    """Returns flags of their own, like those of training that recipes read."""
    values = flags.FlagValues()
    for name in ("recipe", "checkpoint_path", "optimizer", "warmup_steps", "number"):
        flags.DEFINE_string(name, None, "", flag_values=values)
    flags.DEFINE_string("dataset_name", "imagenet", "", flag_values=values)
    values(["program", *arguments])
    return values


def make_card(**recorded):
    return RunCard(
        model_name="lenet",
        num_classes=2,
        image_size=28,
        preprocessing_name="lenet",
        flags=recorded,
    )


def test_recipes_name_flags_and_give_reasons():
    known = load_flags(SCRIPT)
    for recipe in recipes.RECIPES.values():
        names = [value.flag for value in recipe.values]
        assert len(set(names)) == len(names)
        for value in recipe.values:
            assert {value.flag, *value.unless} <= set(known)
            assert value.follows is None or value.follows in names
            assert value.reason.endswith(".")


@pytest.mark.parametrize(
    ("arguments", "card", "expected"),
    [
        ([], None, "classic"),
        (["--dataset_name=image_folder"], None, "scratch"),
        (["--dataset_name=image_folder", "--checkpoint_path=x"], None, "finetune"),
        (["--dataset_name=image_folder", "--recipe=classic"], None, "classic"),
        (["--recipe=head"], None, "head"),
        (["--dataset_name=image_folder"], make_card(), "classic"),
        (["--dataset_name=image_folder"], make_card(recipe="finetune"), "finetune"),
        (["--recipe=scratch"], make_card(recipe="finetune"), "scratch"),
    ],
)
def test_the_recipe_of_a_run(arguments, card, expected):
    assert recipes.choose(parse(*arguments), card).name == expected


RECIPE = recipes.Recipe(
    "test",
    "a test",
    (
        base.Value("optimizer", "adamw", "."),
        base.Value("number", "1", ".", follows="optimizer", unless=("warmup_steps",)),
        base.Value("dataset_name", "{validation_split}", ".", tasks=("regression",)),
    ),
)


@pytest.mark.parametrize(
    ("arguments", "task", "card", "expected"),
    [
        ([], "classification", None, {"optimizer": "adamw", "number": "1"}),
        (["--optimizer=sgd"], "classification", None, {}),
        (["--number=5"], "classification", None, {"optimizer": "adamw"}),
        (["--warmup_steps=5"], "classification", None, {"optimizer": "adamw"}),
        (
            ["--optimizer=sgd"],
            "regression",
            None,
            {"dataset_name": "validation"},
        ),
        (
            [],
            "classification",
            make_card(recipe="test", optimizer="lars"),
            {"optimizer": "lars", "number": "1"},
        ),
        (
            [],
            "classification",
            make_card(recipe="classic", optimizer="lars"),
            {"optimizer": "adamw", "number": "1"},
        ),
    ],
)
def test_explicit_flags_and_recorded_values_win(arguments, task, card, expected):
    values = parse(*arguments)
    changes = recipes.fill(values, RECIPE, task=task, facts=KNOWN, card=card)
    assert changes == expected
    assert values["recipe"].value == "test"
    for name, value in expected.items():
        assert values[name].value == value
        assert not values[name].present


def test_unknown_facts_leave_the_flag_alone():
    values = parse()
    unknown = {"validation_split": lambda: None}
    changes = recipes.fill(values, RECIPE, task="regression", facts=unknown)
    assert "dataset_name" not in changes
    assert values["dataset_name"].value == "imagenet"


@pytest.mark.parametrize("name", reference_networks.reference_names() or ["none"])
def test_the_last_layers_of_every_network(name):
    if name == "none":
        pytest.skip("There is no reference.")
    shapes = {
        variable["name"]: tuple(variable["shape"])
        for variable in reference_networks.load_reference(name)["variables"]
    }
    variables = {
        key: types.SimpleNamespace(shape=shape) for key, shape in shapes.items()
    }
    checkpoint = types.SimpleNamespace(path=name, variables=variables)
    scopes = facts.find_head(checkpoint)
    num_classes = reference_networks.NUM_CLASSES
    for key, shape in shapes.items():
        in_head = any(key.startswith(f"{scope}/") for scope in scopes)
        assert in_head or num_classes not in shape, key
    for scope in scopes:
        assert any(
            key.startswith(f"{scope}/") and num_classes in shape
            for key, shape in shapes.items()
        )
    assert facts.find_head(checkpoint, other_outputs_than=num_classes) == []
    assert facts.find_head(checkpoint, other_outputs_than=5) == scopes


def test_the_last_layer_of_simple_cnn():
    shapes = {"SimpleCnn/fc8/weights": (256, 64), "SimpleCnn/logits/weights": (64, 5)}
    variables = {k: types.SimpleNamespace(shape=shape) for k, shape in shapes.items()}
    checkpoint = types.SimpleNamespace(path="", variables=variables)
    assert facts.find_head(checkpoint) == ["SimpleCnn/logits"]


@pytest.mark.parametrize(
    ("name", "is_augmented"),
    [("mobilenet_v1", True), ("resnet_v1_50", True), ("lenet", False)],
)
def test_only_photographs_are_augmented(name, is_augmented):
    values = parse()
    flags.DEFINE_string("model_name", None, "", flag_values=values)
    values(["program", f"--model_name={name}"])
    found = facts.collect(values, None, None, None, nets_factory)
    assert bool(found["photo_augmentation"]()) == is_augmented


@pytest.mark.parametrize(
    ("trained_on", "num_samples", "expected"),
    [
        ("train", 5, "validation"),
        ("train", 0, None),
        ("train", None, None),
        ("validation", 5, None),
    ],
)
def test_the_validation_split_is_another_one_with_images(
    trained_on, num_samples, expected
):
    def get_dataset(name, split, folder):
        assert (name, split, folder) == ("imagenet", "validation", "data")
        if num_samples is None:
            raise ValueError("There is no such split.")
        return types.SimpleNamespace(num_samples=num_samples)

    values = parse()
    for name, value in (("dataset_dir", "data"), ("dataset_split_name", trained_on)):
        flags.DEFINE_string(name, value, "", flag_values=values)
    found = facts.collect(values, None, None, get_dataset, None)
    assert found["validation_split"]() == expected


def test_a_head_that_is_not_known(monkeypatch):
    variables = {"Mine/Dense/weights": types.SimpleNamespace(shape=(3, 5))}
    checkpoint = types.SimpleNamespace(path="mine", variables=variables)
    values = parse("--recipe=head")
    flags.DEFINE_integer("labels_offset", 0, "", flag_values=values)
    task = types.SimpleNamespace(count_outputs=lambda classes, offset: classes)
    dataset = types.SimpleNamespace(num_classes=4)
    found = facts.collect(values, task, dataset, None, None)
    with pytest.raises(ValueError, match="give one with --checkpoint_path"):
        found["head"]()
    monkeypatch.setattr(facts, "_open", lambda flag_values: checkpoint)
    with pytest.raises(ValueError, match="'mine' are not known: name their scopes"):
        found["head"]()
    assert found["new_head"]() is None  # Fine-tuning may go on with all layers.


@pytest.fixture(scope="module")
def pets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pets")
    conversions.convert(conversions.draw_pets(folder / "images"))
    return folder / "data"


def train(train_dir, pets, *arguments):
    status, out, err = run_script(
        SCRIPT,
        f"--train_dir={train_dir}",
        "--dataset_name=image_folder",
        f"--dataset_dir={pets}",
        *arguments,
    )
    assert status == 0, err
    card = json.loads((train_dir / "run.json").read_text())
    assert card["command"].startswith(f"python {SCRIPT} --recipe=classic ")
    return card["flags"]


def test_the_logged_command_repeats_the_run(pets, tmp_path, caplog):
    small = ["--model_name=lenet", "--batch_size=4", "--max_number_of_steps=2"]
    with caplog.at_level("INFO"):
        first = train(tmp_path / "scratch", pets, *small)
    (message,) = [text for text in caplog.messages if text.startswith("Recipe scratch")]
    words = shlex.split(message.splitlines()[1])
    assert words[:2] == ["python", SCRIPT]
    assert first["optimizer"] == "adamw" and first["eval_split_name"] == "validation"
    assert first["augment"] is None  # Digits may not be mirrored.
    again = train(tmp_path / "again", pets, *words[2:], f"--train_dir={tmp_path}/again")
    different = {name for name in first if first[name] != again[name]}
    assert different == {"recipe", "train_dir"}
    resumed = train(tmp_path / "scratch", pets, *small[:2], "--max_number_of_steps=3")
    assert resumed["recipe"] == "scratch" and resumed["optimizer"] == "adamw"
