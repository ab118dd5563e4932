"""Training from random weights: a small network that converges in few epochs.

Accuracies are those on 960 held-out satellite photographs after training
mobilenet_v1_025 at 128 pixels for 1,500 steps on the 3,840 others, one seed unless said
otherwise.
"""

from deployment.recipes.base import Recipe, Value

RECIPE = Recipe(
    "scratch",
    "training from random weights on a folder of images",
    (
        Value(
            "model_name",
            "{network}",
            "The largest MobileNet that sees each image 20 times within --time_budget, "
            "by the measured speed; mobilenet_v1_050 without a budget. inception_v3, "
            "the classic default, trains on 8 images/s on two cores.",
        ),
        Value(
            "train_image_size",
            "{network_image_size}",
            "Chosen with the network.",
            follows="model_name",
        ),
        Value(
            "augment",
            "{photo_augmentation}",
            "For networks for photographs random_resized_crop(0.35, 1)|flip_lr: 0.715 "
            "with adamw and a learning rate of 0.004. The distortions of the inception "
            "preprocessing, of windows and colors, are too strong for short runs: "
            "0.674, and 0.675 with these windows.",
            unless=("preprocessing_name",),
        ),
        Value("optimizer", "adamw", "0.674; adam reached 0.665, momentum 0.670."),
        Value(
            "learning_rate", 0.004, "0.715; 0.008 gave the same.", follows="optimizer"
        ),
        Value("weight_decay", 0.02, "Of adamw's update.", follows="optimizer"),
        Value(
            "learning_rate_decay_type",
            "cosine",
            "Ends with the run, whatever its length.",
            unless=(
                "learning_rate_boundaries",
                "learning_rate_decay_factor",
                "num_epochs_per_decay",
                "num_steps_per_decay",
            ),
        ),
        Value(
            "warmup_fraction",
            0.05,
            "adamw's first updates are large.",
            unless=("warmup_epochs", "warmup_steps"),
        ),
        Value(
            "max_number_of_epochs",
            30,
            "A classifier that is worth looking at; train longer for a better one.",
            unless=("max_number_of_steps", "time_budget"),
        ),
        Value(
            "eval_split_name",
            "{validation_split}",
            "Shows how good the model is, and keeps the best checkpoint.",
        ),
        Value(
            "eval_every",
            "5epochs",
            "Validating a fifth of the images every fifth epoch costs about 2 %.",
            unless=("time_budget",),
        ),
    ),
)
