"""The contract with users of TF-Slim: arguments of functions and defaults of flags."""

import ast
import importlib
import inspect
import json
import re

import pytest
from conftest import REFERENCE, needs_reference
from script_runner import load_flags

# Helpers in the reference that users do not call.
NOT_KEPT = {
    "NoOpScope",
    "apply_activation",
    "arg_scope",
    "trunc_normal",
    "wrapped_partial",
}

# Defaults that the reference's signatures do not show, because it made these variants
# with functools.partial.
PRESETS = {
    "mobilenet_v1_075": {"depth_multiplier": 0.75},
    "mobilenet_v1_050": {"depth_multiplier": 0.50},
    "mobilenet_v1_025": {"depth_multiplier": 0.25},
    "mobilenet_v2_140": {"depth_multiplier": 1.4},
    "mobilenet_v2_050": {
        "depth_multiplier": 0.50,
        "finegrain_classification_mode": True,
    },
    "mobilenet_v2_035": {
        "depth_multiplier": 0.35,
        "finegrain_classification_mode": True,
    },
    "edge_tpu": {"scope": "MobilenetEdgeTPU"},
    "edge_tpu_075": {
        "scope": "MobilenetEdgeTPU",
        "depth_multiplier": 0.75,
        "finegrain_classification_mode": True,
    },
}


# What the reference's flags had when they were not given, by script. Two are left out:
# --clone_on_cpu now depends on the machine, --opt_epsilon on the optimizer.
FLAGS = {
    "train_image_classifier.py": {
        "adadelta_rho": 0.95,
        "adagrad_initial_accumulator_value": 0.1,
        "adam_beta1": 0.9,
        "adam_beta2": 0.999,
        "batch_size": 32,
        "checkpoint_exclude_scopes": None,
        "checkpoint_path": None,
        "dataset_dir": None,
        "dataset_name": "imagenet",
        "dataset_split_name": "train",
        "ftrl_initial_accumulator_value": 0.1,
        "ftrl_l1": 0.0,
        "ftrl_l2": 0.0,
        "ftrl_learning_rate_power": -0.5,
        "ignore_missing_vars": False,
        "label_smoothing": 0.0,
        "labels_offset": 0,
        "learning_rate": 0.01,
        "learning_rate_decay_type": "exponential",
        "log_every_n_steps": 10,
        "master": "",
        "max_number_of_steps": None,
        "model_name": "inception_v3",
        "momentum": 0.9,
        "moving_average_decay": None,
        "num_clones": 1,
        "num_epochs_per_decay": 2.0,
        "num_preprocessing_threads": 4,
        "num_ps_tasks": 0,
        "num_readers": 4,
        "optimizer": "rmsprop",
        "preprocessing_name": None,
        "quantize_delay": -1,
        "replicas_to_aggregate": 1,
        "rmsprop_decay": 0.9,
        "rmsprop_momentum": 0.9,
        "save_interval_secs": 600,
        "save_summaries_secs": 600,
        "sync_replicas": False,
        "train_dir": "/tmp/tfmodel/",
        "train_image_size": None,
        "trainable_scopes": None,
        "use_grayscale": False,
        "weight_decay": 0.00004,
        "worker_replicas": 1,
    },
    "eval_image_classifier.py": {
        "batch_size": 100,
        "checkpoint_path": "/tmp/tfmodel/",
        "dataset_dir": None,
        "dataset_name": "imagenet",
        "dataset_split_name": "test",
        "eval_dir": "/tmp/tfmodel/",
        "eval_image_size": None,
        "labels_offset": 0,
        "master": "",
        "max_num_batches": None,
        "model_name": "inception_v3",
        "moving_average_decay": None,
        "num_preprocessing_threads": 4,
        "preprocessing_name": None,
        "quantize": False,
        "use_grayscale": False,
    },
    "export_inference_graph.py": {
        "batch_size": None,
        "dataset_dir": "",
        "dataset_name": "imagenet",
        "image_size": None,
        "is_training": False,
        "is_video_model": False,
        "labels_offset": 0,
        "model_name": "inception_v3",
        "num_frames": None,
        "output_file": "",
        "quantize": False,
        "use_grayscale": False,
        "write_text_graphdef": False,
    },
}


# Images of each split.
DATASETS = {
    "cifar10": {"train": 50000, "test": 10000},
    "flowers": {"train": 3320, "validation": 350},
    "imagenet": {"train": 1281167, "validation": 50000},
    "mnist": {"train": 60000, "test": 10000},
    "visualwakewords": {"train": 82783, "val": 40504},
}


def load_api():
    path = REFERENCE / "api.json"
    return json.loads(path.read_text()) if path.exists() else {}


@pytest.mark.parametrize("script", FLAGS)
def test_flags_have_the_defaults_of_the_reference(script):
    defaults = load_flags(script)
    assert {name: defaults[name] for name in FLAGS[script]} == FLAGS[script]


@pytest.mark.parametrize("name", DATASETS)
def test_splits_of_datasets(name):
    module = importlib.import_module(f"datasets.{name}")
    assert DATASETS[name] == module.SPLITS_TO_SIZES


@needs_reference
def test_deployment_config():
    ours = importlib.import_module("deployment.model_deploy").DeploymentConfig
    facts = load_api()["deployment.model_deploy"]["DeploymentConfig"]
    assert_arguments("DeploymentConfig", ours.__init__, facts["init"])
    for name, signature in facts["members"].items():
        member = inspect.getattr_static(ours, name)
        assert isinstance(member, property) == (signature == "property"), name
        if signature != "property":
            assert_arguments(name, member, signature)


def described(default):
    """Returns a default as in the reference, where functions are text."""
    return f"<function {default.__name__}>" if callable(default) else default


def reference_arguments(signature):
    """Returns argument name -> default (or "required") of a signature in text."""
    quoted = re.sub(
        r"<function (?:\S+\.)?(\S+?)>(?=[,)])", r"'<function \1>'", signature
    )
    arguments = ast.parse(f"def f{quoted}: pass").body[0].args
    names = [argument.arg for argument in arguments.args]
    required = ["required"] * (len(names) - len(arguments.defaults))
    defaults = [ast.literal_eval(default) for default in arguments.defaults]
    return dict(zip(names, required + defaults, strict=True))


def assert_arguments(name, function, signature):
    """Ours begin with the reference's, in the same order and with its defaults."""
    parameters = inspect.signature(function).parameters
    arguments = reference_arguments(signature)
    assert list(parameters)[: len(arguments)] == list(arguments), name
    for argument, default in arguments.items():
        ours = parameters[argument].default
        default = PRESETS.get(name, {}).get(argument, default)
        if default == "required":
            assert ours is inspect.Parameter.empty, f"{name}: {argument}"
        else:
            assert described(ours) == default, f"{name}: {argument}"


@needs_reference
@pytest.mark.parametrize("module", load_api())
def test_signatures(module):
    ours = importlib.import_module(module)
    for name, facts in load_api()[module].items():
        if name in NOT_KEPT:
            continue
        function = getattr(ours, name)
        if "default_image_size" in facts:
            assert function.default_image_size == facts["default_image_size"], name
        if "signature" in facts:
            assert_arguments(name, function, facts["signature"])
