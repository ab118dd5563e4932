"""Fine-tuning: all layers start from a checkpoint, but for those that name classes."""

from deployment.recipes import scratch
from deployment.recipes.base import Recipe, Value

_SHARED = {value.flag: value for value in scratch.RECIPE.values}

RECIPE = Recipe(
    "finetune",
    "fine-tuning all layers of a checkpoint",
    (
        Value(
            "model_name", "{checkpoint_network}", "The network of the checkpoint's run."
        ),
        Value(
            "train_image_size",
            "{checkpoint_image_size}",
            "The image size of the checkpoint's run.",
            follows="model_name",
        ),
        Value(
            "checkpoint_exclude_scopes",
            "{new_head}",
            "The last layers start anew where the classes are others.",
        ),
        _SHARED["augment"],
        _SHARED["optimizer"],
        Value(
            "learning_rate",
            0.001,
            "Lower than from random weights, to keep what the layers know.",
            follows="optimizer",
        ),
        _SHARED["weight_decay"],
        _SHARED["learning_rate_decay_type"],
        _SHARED["warmup_fraction"],
        Value(
            "max_number_of_epochs",
            10,
            "Fine-tuning needs fewer epochs than training from random weights.",
            unless=("max_number_of_steps", "time_budget"),
        ),
        _SHARED["eval_split_name"],
        Value(
            "eval_every",
            "2epochs",
            "A run has few epochs.",
            unless=("time_budget",),
        ),
    ),
)
