"""What recipes ask about the data and the checkpoint."""

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

from absl import flags

from deployment.durations import parse_duration
from deployment.models import run_card
from deployment.models.checkpoint import Checkpoint
from deployment.recipes import networks
from deployment.tasks.base import Task

_VALIDATION = "validation"
# Other networks are for digits and tiny images, which a crop or a mirror may change.
_PHOTO_FAMILIES = ("inception", "vgg")
_PHOTO_AUGMENTATION = "random_resized_crop(0.35, 1)|flip_lr"
# The scopes of all built-in networks that hold the layers of the classes; in SimpleCnn
# fc8 is another layer.
_HEAD = re.compile(
    r"(?!SimpleCnn/fc8)"
    r"([^/]+/(?:Logits|AuxLogits|logits|fc8)|LeNet/fc4|final_layer|aux_\d+)(?=/)"
)


def collect(
    flag_values: flags.FlagValues,
    task: Task,
    dataset: Any,
    get_dataset: Callable[..., Any],
    nets_factory: Any,
) -> Mapping[str, Callable[[], Any]]:
    """Returns functions that find facts, for `recipes.fill`.

    Args:
      flag_values: the parsed flags.
      task: the task.
      dataset: the dataset to train on.
      get_dataset: see `recipes.apply`.
      nets_factory: see `recipes.apply`.
    """

    def validation_split():
        where = flag_values["dataset_name"].value, _VALIDATION
        try:
            validation = get_dataset(*where, flag_values["dataset_dir"].value)
        except (ValueError, OSError):  # There is no such split.
            return None
        is_other = flag_values["dataset_split_name"].value != _VALIDATION
        return _VALIDATION if validation.num_samples and is_other else None

    @functools.cache
    def network():
        budget = flag_values["time_budget"].value
        secs = parse_duration(budget, "--time_budget").value if budget else None
        return networks.choose(secs, dataset.num_samples, nets_factory.get_network_fn)

    def model_name():
        flag = flag_values["model_name"]
        if flag.present:
            return flag.value
        if flag_values["checkpoint_path"].value:
            return getattr(card(), "model_name", flag.value)
        return network().model_name

    def photo_augmentation():
        family = nets_factory.get_network(model_name()).preprocessing
        return _PHOTO_AUGMENTATION if family in _PHOTO_FAMILIES else None

    def card():
        return run_card.find(flag_values["checkpoint_path"].value)

    def head():
        checkpoint = _open(flag_values)
        scopes = find_head(checkpoint)
        if not scopes:
            raise ValueError(
                f"The last layers of {checkpoint.path!r} are not known: name their "
                "scopes with --trainable_scopes."
            )
        return ",".join(scopes)

    def new_head():
        checkpoint = _open(flag_values)
        offset = flag_values["labels_offset"].value
        num_outputs = task.count_outputs(dataset.num_classes, offset)
        scopes = find_head(checkpoint, other_outputs_than=num_outputs)
        return ",".join(scopes) or None

    return {
        "validation_split": validation_split,
        "photo_augmentation": photo_augmentation,
        "network": lambda: network().model_name,
        "network_image_size": lambda: network().image_size,
        "checkpoint_network": lambda: getattr(card(), "model_name", None),
        "checkpoint_image_size": lambda: getattr(card(), "image_size", None),
        "head": head,
        "new_head": new_head,
    }


def find_head(
    checkpoint: Checkpoint, other_outputs_than: int | None = None
) -> list[str]:
    """Returns the scopes of the layers that depend on the classes, sorted.

    There are none if the checkpoint is not of one of the built-in networks.

    Args:
      checkpoint: the checkpoint.
      other_outputs_than: if given, only scopes whose layers have another number of
        outputs.
    """
    scopes, fitting = set(), set()
    for name, variable in checkpoint.variables.items():
        match = _HEAD.match(name)
        if match:
            scopes.add(match[1])
            # Only the layer of the classes has biases.
            if name.endswith("/biases") and variable.shape == (other_outputs_than,):
                fitting.add(match[1])
    return sorted(scopes - fitting)


def _open(flag_values: flags.FlagValues) -> Checkpoint:
    path = flag_values["checkpoint_path"].value
    if not path:
        raise ValueError(
            "--recipe=head and --recipe=finetune start from a checkpoint: give one "
            "with --checkpoint_path, or use --recipe=scratch."
        )
    return Checkpoint(path)
