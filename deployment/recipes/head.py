"""Training the last layers alone: the features of the others are computed once."""

import dataclasses

from deployment.recipes import finetune
from deployment.recipes.base import Recipe, Value

_CHANGED = {"learning_rate": 0.01, "max_number_of_epochs": 30}

RECIPE = Recipe(
    "head",
    "training only the last layers of a checkpoint",
    (
        Value(
            "trainable_scopes",
            "{head}",
            "The layers whose shape depends on the number of classes, and their scope.",
        ),
        Value(
            "feature_copies",
            1,
            "A step on features takes milliseconds; the frozen layers give the same in "
            "every epoch.",
            unless=("augment", "mixup_alpha", "cutmix_alpha", "num_clones"),
        ),
        *(
            dataclasses.replace(
                value,
                value=_CHANGED[value.flag],
                reason="A linear classifier on fixed features takes large steps."
                if value.flag == "learning_rate"
                else "An epoch of features takes seconds.",
            )
            if value.flag in _CHANGED
            else value
            for value in finetune.RECIPE.values
            if value.flag != "augment"  # Features are those of evaluation.
        ),
    ),
)
