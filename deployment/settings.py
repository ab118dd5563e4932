"""From flags and run cards to settings: the one place where the two meet."""

import dataclasses
import os
from collections.abc import Callable, Collection, Mapping
from typing import Any

from absl import flags, logging

from deployment import config_flags, user_modules
from deployment.models import checkpoint_choice, run_card
from deployment.models.run_card import RunCard
from deployment.models.spec import ModelSpec

# Attributes of a `ModelSpec` to attributes of a run card (None: the same name), and
# the flags that set them in one script or another.
_SPEC = {
    "task": (None, ("task",)),
    "model_name": (None, ("model_name",)),
    "num_outputs": ("num_classes", ("num_classes",)),
    "labels_offset": (None, ("labels_offset",)),
    "image_size": (None, ("image_size", "eval_image_size", "train_image_size")),
    "use_grayscale": (None, ("use_grayscale",)),
    "preprocessing_name": (None, ("preprocessing_name",)),
    "moving_average_decay": (None, ("moving_average_decay",)),
    "quantize": (None, ("quantize",)),
    "quantize_per_channel": (None, ("quantize_per_channel",)),
}
_DEFAULTS = {
    "task": "classification",
    "labels_offset": 0,
    "use_grayscale": False,
    "quantize": False,
    "quantize_per_channel": False,
}


@dataclasses.dataclass(frozen=True)
class DataSettings:
    """Where a run's data is.

    Attributes:
      dataset_name: a name in `dataset_factory`; None if unknown.
      dataset_dir: the folder of the TFRecord files; None if unknown.
    """

    dataset_name: str | None
    dataset_dir: str | None


def read_spec(
    flag_values: flags.FlagValues,
    card: RunCard | None,
    get_network: Callable[[str], Any],
    free: Collection[str] = (),
) -> ModelSpec:
    """Reads what a model is from the flags and its run card.

    With a card, its values count, and a flag on the command line that contradicts one
    is an error unless --ignore_run_card is given. Without a card, the flags count, and
    what they leave open is the network's own.

    Args:
      flag_values: the parsed flags. Flags that the script does not define are skipped.
      card: the run card of the model; None if there is none.
      get_network: returns a network's record by name, with `default_image_size` and
        `preprocessing`: `network_lookup.get_network`.
      free: attributes of the specification that flags may override.

    Returns:
      A `ModelSpec`. Without a card, `model_name` is None and `num_outputs` 0 if no flag
      gives them.

    Raises:
      ValueError: if a flag contradicts the card.
    """
    modules = _load_user_modules(flag_values, card)
    if card is None:
        values = {name: _get_value(flag_values, name) for name in _SPEC}
    else:
        values = _reconcile_spec(flag_values, card, free)
    for name, default in _DEFAULTS.items():
        values[name] = default if values[name] is None else values[name]
    if values["model_name"]:
        network = get_network(values["model_name"])
        values["image_size"] = values["image_size"] or network.default_image_size
        values["preprocessing_name"] = (
            values["preprocessing_name"] or network.preprocessing
        )
    values["num_outputs"] = values["num_outputs"] or 0
    names, state = None, {}
    if card is not None:
        state = card.task_state
        # Flags that override the card may leave other outputs than have names.
        if (card.labels_offset, card.num_classes) == (
            values["labels_offset"],
            values["num_outputs"],
        ):
            names = card.output_names
    return ModelSpec(
        **values, output_names=names, task_state=state, user_modules=modules
    )


def read_data(flag_values: flags.FlagValues, card: RunCard | None) -> DataSettings:
    """Reads where the data is: flags on the command line win over the run card."""
    values = {}
    for name in ("dataset_name", "dataset_dir"):
        flag = flag_values[name]
        is_given = card is None or flag.present
        values[name] = flag.value if is_given else getattr(card, name)
    return DataSettings(**values)


def define_checkpoint(module: str) -> None:
    """Defines --checkpoint; `module` is the script's `__name__`."""
    flags.DEFINE_string(
        "checkpoint",
        None,
        "Checkpoint of a training folder to use: best, latest, or a step such as 1500. "
        "If unset, the best if the run kept one, else the newest.",
    )
    config_flags.list_in_help("checkpoint", module)


def choose_checkpoint(
    flag_values: flags.FlagValues,
    verb: str,
    path_flag: str = "checkpoint_path",
    path: str | None = None,
) -> str:
    """Returns the prefix of the checkpoint that the flags choose, and logs it.

    Args:
      flag_values: the parsed flags, with --checkpoint.
      verb: what is done with the checkpoint, such as 'Evaluating'.
      path_flag: the flag with the training folder or the checkpoint.
      path: the folder or checkpoint; None for the value of `path_flag`.

    Raises:
      ValueError: if there is no such checkpoint; see `checkpoint_choice.choose`.
    """
    path = path or flag_values[path_flag].value
    choice = checkpoint_choice.choose(path, flag_values.checkpoint, path_flag)
    reason = f", {choice.reason}" if choice.reason else ""
    logging.info("%s %s%s.", verb, choice.path, reason)
    return choice.path


def reconcile(
    card: RunCard,
    given: Mapping[str, Any],
    names: Collection[str] | Mapping[str, str],
    force: bool = False,
    free: Collection[str] = (),
) -> dict[str, Any]:
    """Returns settings for a run's checkpoint: the card's, which flags may repeat.

    Args:
      card: a `RunCard`.
      given: the flags on the command line, by name.
      names: the flags wanted; a dict from flags to attributes of the card where
        these have other names, such as {"eval_image_size": "image_size"}.
      force: whether flags override the card.
      free: flags that may always override it.

    Returns:
      A dict from the flags of `names` to values.

    Raises:
      ValueError: if a flag contradicts the card.
    """
    attributes = names if isinstance(names, dict) else {name: name for name in names}
    values = {}
    for name, attribute in attributes.items():
        values[name] = theirs = getattr(card, attribute)
        if name not in given:
            continue
        if not (force or name in free or _is_same(name, given[name], theirs)):
            raise ValueError(
                f"--{name} is {given[name]!r}, but the run was trained with {theirs!r} "
                f"({attribute} in {run_card.FILE_NAME}): leave the flag out, or add "
                "--ignore_run_card to override it."
            )
        values[name] = given[name]
    return values


def choose_task(wanted: str | None, found: str | None) -> str:
    """Returns the task of a run: the one wanted, else the dataset's own.

    Args:
      wanted: what --task says; None if it is not given.
      found: the task that the dataset was converted for; None if unknown.

    Raises:
      ValueError: if the two contradict each other.
    """
    if wanted and found and wanted != found:
        raise ValueError(
            f"--task is {wanted}, but the dataset was converted for {found}: leave "
            "--task out, or convert the images for that task."
        )
    return wanted or found or "classification"


def get_given_flags(
    flag_values: flags.FlagValues, names: Collection[str]
) -> dict[str, Any]:
    """Returns the values of those flags that are on the command line, by name."""
    return {
        name: flag_values[name].value for name in names if flag_values[name].present
    }


def _load_user_modules(flag_values, card):
    """Imports the user modules of the flags and the card; returns their names."""
    names = flag_values.user_module if "user_module" in flag_values else []
    recorded = card.user_modules if card is not None and not names else ()
    for name in recorded:
        logging.info("Importing the user module %s, recorded in the run card.", name)
    return user_modules.load([*names, *recorded])


def _find_flag(flag_values, attribute):
    """Returns the flag of this script that sets an attribute; None if none does."""
    return next((n for n in _SPEC[attribute][1] if n in flag_values), None)


def _get_value(flag_values, attribute):
    flag = _find_flag(flag_values, attribute)
    return flag_values[flag].value if flag else None


def _reconcile_spec(flag_values, card, free):
    flag_names = {name: _find_flag(flag_values, name) for name in _SPEC}
    wanted = {flag: _SPEC[name][0] or name for name, flag in flag_names.items() if flag}
    found = reconcile(
        card,
        get_given_flags(flag_values, wanted),
        wanted,
        force=flag_values.ignore_run_card,
        free=[flag_names[name] for name in free],
    )
    return {
        name: found[flag] if flag else getattr(card, _SPEC[name][0] or name)
        for name, flag in flag_names.items()
    }


def _is_same(name, ours, theirs):
    if name.endswith("_dir") and ours and theirs:
        return os.path.realpath(ours) == os.path.realpath(theirs)
    return ours == theirs or (not ours and not theirs)
