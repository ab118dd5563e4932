"""What a recipe is: values of flags, each with its reason."""

import dataclasses
import re
from collections.abc import Collection, Mapping
from typing import Any

_FACT = re.compile(r"\{(\w+)\}")


@dataclasses.dataclass(frozen=True)
class Value:
    """A value of a flag that was not given.

    Attributes:
      flag: the flag's name.
      value: its value. A text in braces, such as "{validation_split}", stands for a
        fact about the data or the checkpoint; without that fact the flag is left alone.
      reason: why, and how it was measured.
      unless: flags that say the same in another way: if one of them is given, this
        value is left out.
      follows: a flag whose value in this recipe is the premise of this one: if that
        flag is given, this value is left out.
      tasks: the tasks that it is for; empty for all.
    """

    flag: str
    value: Any
    reason: str
    unless: tuple[str, ...] = ()
    follows: str | None = None
    tasks: tuple[str, ...] = ()

    def applies(self, given: Collection[str], task: str) -> bool:
        """Returns whether it is for a run, by the flags given and the task's name."""
        is_given = {self.flag, self.follows, *self.unless} & set(given)
        return not is_given and (not self.tasks or task in self.tasks)

    def resolve(self, facts: Mapping[str, Any]) -> Any:
        """Returns the value, or the fact that it stands for; None if that is unknown.

        Args:
          facts: the facts, by name; None or absent if unknown.
        """
        fact = _FACT.fullmatch(self.value) if isinstance(self.value, str) else None
        return facts.get(fact[1]) if fact else self.value


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A named set of values for flags that were not given.

    Attributes:
      name: for --recipe.
      summary: what it is for, half a sentence.
      values: the values.
    """

    name: str
    summary: str
    values: tuple[Value, ...] = ()
