"""Recipes: named sets of values for flags that were not given.

    recipes.define_flag(__name__)
    recipes.apply(FLAGS, dataset, dataset_lookup.get_dataset, network_lookup)

Explicit flags always win. A resumed run keeps the recipe, and the values, that it began
with. Each recipe has a file of its own, with the reason for each value.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

from absl import flags, logging

from deployment import config_flags, flag_errors, settings, tasks
from deployment.models.run_card import RunCard
from deployment.recipes import classic, facts, finetune, head, scratch
from deployment.recipes.base import Recipe, Value
from deployment.train import time_budget

__all__ = ["RECIPES", "Recipe", "Value", "apply", "choose", "define_flag", "fill"]

RECIPES = {
    module.RECIPE.name: module.RECIPE for module in (classic, scratch, finetune, head)
}


def define_flag(module: str) -> None:
    """Defines --recipe; `module` is the script's `__name__`."""
    summaries = "; ".join(f"{r.name}: {r.summary}" for r in RECIPES.values())
    flags.DEFINE_enum(
        "recipe",
        None,
        list(RECIPES),
        f"Values of flags that are not given. {summaries}. If unset: with "
        "--dataset_name=image_folder finetune if there is a --checkpoint_path, "
        "otherwise scratch; with other datasets classic.",
    )
    config_flags.list_in_help("recipe", module)


def choose(flag_values: flags.FlagValues, card: RunCard | None) -> Recipe:
    """Returns the recipe of a run.

    Args:
      flag_values: the parsed flags.
      card: the card of the run that is resumed; None for a new run.
    """
    if flag_values["recipe"].value:
        return RECIPES[flag_values["recipe"].value]
    if card is not None:  # Older versions had no recipes.
        return RECIPES.get(card.flags.get("recipe"), RECIPES["classic"])
    if flag_values["dataset_name"].value != "image_folder":
        return RECIPES["classic"]
    has_checkpoint = bool(flag_values["checkpoint_path"].value)
    return RECIPES["finetune" if has_checkpoint else "scratch"]


def apply(
    flag_values: flags.FlagValues,
    dataset: Any,
    get_dataset: Callable[..., Any],
    nets_factory: Any,
    script: str = "train_image_classifier.py",
) -> str:
    """Sets the flags of a training run that were not given; logs them as a command.

    Args:
      flag_values: the parsed flags.
      dataset: the dataset to train on.
      get_dataset: returns another split, by (dataset's name, split's name, folder).
      nets_factory: the module `nets.network_lookup`.
      script: the script's name, for the command.

    Returns:
      The command, which trains such a run without a recipe.
    """
    card = RunCard.load(flag_values["train_dir"].value)
    recipe = choose(flag_values, card)
    wanted, _ = tasks.split_flag(flag_values["task"].value)
    task = settings.choose_task(wanted, getattr(dataset, "task", None))
    found = facts.collect(
        flag_values, tasks.get_task(task), dataset, get_dataset, nets_factory
    )
    changes = fill(flag_values, recipe, task=task, facts=found, card=card)
    time_budget.set_intervals(flag_values)
    command = flag_errors.format_command(script, recipe="classic", **changes)
    if changes:
        logging.info("Recipe %s (%s):\n  %s", recipe.name, recipe.summary, command)
    return command


def fill(
    flag_values: flags.FlagValues,
    recipe: Recipe,
    *,
    task: str,
    facts: Mapping[str, Any],
    card: RunCard | None = None,
) -> dict[str, Any]:
    """Sets the flags that were not given.

    Args:
      flag_values: the parsed flags.
      recipe: the recipe.
      task: the task's name.
      facts: functions without arguments that find the facts that recipes name, by name;
        called only where they are needed.
      card: the card of the run that is resumed, whose values are kept if it was trained
        with the same recipe.

    Returns:
      The values that were set, by flag.
    """
    given = [name for name in flag_values if flag_values[name].present]
    is_same = card is not None and card.flags.get("recipe") == recipe.name
    recorded = card.flags if is_same else {}
    lazy = _Facts(facts)
    changes = {"recipe": recipe.name}
    for value in recipe.values:
        if not value.applies(given, task):
            continue
        if value.flag in recorded:
            changes[value.flag] = recorded[value.flag]
        elif (found := value.resolve(lazy)) is not None:
            changes[value.flag] = found
    for name, found in changes.items():
        flag_values[name].value = found
    del changes["recipe"]
    return changes


class _Facts(Mapping):
    """Facts that are found when they are asked for."""

    def __init__(self, functions: Mapping[str, Any]) -> None:
        self._functions = functions
        self._find = functools.cache(lambda name: functions[name]())

    def __getitem__(self, name: str) -> Any:
        return self._find(name)

    def __iter__(self) -> Any:
        return iter(self._functions)

    def __len__(self) -> int:
        return len(self._functions)
