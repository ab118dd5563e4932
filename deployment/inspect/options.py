"""What to show of networks, a checkpoint or a graph, as flags."""

import dataclasses

from absl import flags

from deployment.config_flags import setting

_SUBJECTS = (
    "list_networks", "list_pretrained", "show_augmentation", "quantization_noise",
    "graph_path", "checkpoint_path", "model_name",
)  # fmt: skip
_NETWORK_OPTIONS = {"image_size", "num_classes", "num_frames", "use_grayscale"}
_OPTIONS = {
    "list_networks": {"count", "model_name"} | _NETWORK_OPTIONS,
    "list_pretrained": {"model_name"},
    "show_augmentation": {
        "augment", "image_dir", "augmentation_png",
        "checkpoint_path", "model_name", "image_size", "use_grayscale",
    },
    "quantization_noise": {
        "checkpoint_path", "checkpoint", "noise_png", "calibration_images", "image_dir",
    },
    "graph_path": {"node", "names_file", "tensorboard_dir"},
    "checkpoint_path": {
        "checkpoint", "statistics", "values", "compare_to", "filters_png",
        "filters_variable", "model_name", "tensorboard_dir",
    } | _NETWORK_OPTIONS,
    "model_name": {"tensorboard_dir"} | _NETWORK_OPTIONS,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class NetworkOptions:
    """What to show of networks; the fields are described by their help texts."""

    list_networks: bool = setting(
        False, "List all networks, or those that --model_name matches."
    )
    list_pretrained: bool = setting(
        False,
        "List the published weights for --pretrained of train_image_classifier.py, or "
        "those of the networks that --model_name matches.",
    )
    count: bool = setting(
        False,
        "With --list_networks, also list parameters and multiply-adds. This builds "
        "every listed network, which takes a few seconds each.",
    )
    model_name: str | None = setting(
        None,
        "Network whose layers to list. With --list_networks, comma-separated names or "
        "patterns such as resnet*. With --checkpoint_path, the network to compare the "
        "checkpoint with.",
    )
    use_grayscale: bool = setting(
        False, "Build the network for images with one channel."
    )


@dataclasses.dataclass(frozen=True)
class CheckpointOptions:
    """What to show of a checkpoint; the fields are described by their help texts."""

    statistics: bool = setting(
        False,
        "With --checkpoint_path, also list mean, standard deviation, minimum, maximum, "
        "zeros and non-finite values of each variable. This reads the whole "
        "checkpoint.",
    )
    values: str | None = setting(
        None, "With --checkpoint_path, the variable whose values to print."
    )
    compare_to: str | None = setting(
        None,
        "With --checkpoint_path, another checkpoint or training folder to compare it "
        "with.",
    )
    filters_png: str | None = setting(
        None,
        "With --checkpoint_path, the image file to draw the weights of the first layer "
        "into: all filters of a convolution, or one image per class for a linear model "
        "(softmax, logistic or linear regression), labeled with the class names of the "
        "run and colored from blue (negative) to red (positive).",
    )
    filters_variable: str | None = setting(
        None,
        "With --filters_png, the variable to draw. If unset, the kernel of the first "
        "convolution, or the weight matrix of a linear model.",
    )


@dataclasses.dataclass(frozen=True)
class NoiseOptions:
    """What to show of 8-bit integers; the fields are described by their help texts."""

    quantization_noise: bool = setting(
        False,
        "With --checkpoint_path, compute the network of a run layer by layer in 8 bits "
        "and in float, on --calibration_images, and list the signal-to-noise ratios.",
    )
    noise_png: str | None = setting(
        None,
        "With --quantization_noise, the image file to draw the signal-to-noise ratios "
        "into.",
    )


@dataclasses.dataclass(frozen=True)
class GraphOptions:
    """What to show of a graph; the fields are described by their help texts."""

    node: str | None = setting(None, "With --graph_path, the name of the node to show.")
    names_file: str | None = setting(
        None, "With --graph_path, the text file to write all node names to."
    )
    tensorboard_dir: str | None = setting(
        None, "Folder to write the graph to, for TensorBoard."
    )


def choose_subject(flag_values: flags.FlagValues) -> str:
    """Returns the flag of `_SUBJECTS` that says what to inspect.

    Args:
      flag_values: the parsed flags of inspect_model.py.

    Raises:
      ValueError: if there is none, or a flag does not go with it.
    """
    given = [name for name in _SUBJECTS if flag_values[name].value]
    if not given:
        raise ValueError(
            "Nothing to inspect: give --list_networks, --model_name=inception_v3, "
            "--checkpoint_path=run, --graph_path=frozen.pb or --show_augmentation; "
            "--help has examples."
        )
    for name in set(_SUBJECTS).union(*_OPTIONS.values()) - {given[0]}:
        flag = flag_values[name]
        is_given = flag.value and flag.value != flag.default
        if is_given and name not in _OPTIONS[given[0]]:
            raise ValueError(f"--{name} does not go with --{given[0]}: leave it out.")
    if flag_values.filters_variable and not flag_values.filters_png:
        raise ValueError(
            f"--filters_variable={flag_values.filters_variable} says what to draw: add "
            "the image file to write, --filters_png=filters.png."
        )
    return given[0]
