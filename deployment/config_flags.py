"""Configuration fields that are command-line flags as well, each stated once.

    @dataclasses.dataclass(frozen=True)
    class Config:
        batch_size: int = setting(32, "Images per batch.")
        number_of_steps: int | None = setting(
            None, "Step to stop at.", flag="max_number_of_steps"
        )

    define_flags(Config, __name__)          # in the entry script
    config = from_flags(Config, FLAGS)

This module does not import TensorFlow.
"""

import dataclasses
import re
import sys
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from absl import flags

_Config = TypeVar("_Config")
# Flags by field name; fields of one name have one flag.
_flag_of_field: dict[str, str] = {}
AUTO = "auto"


class IntegerOrAuto(flags.IntegerParser):
    """Parses a flag that is a whole number or `AUTO`."""

    def __init__(self) -> None:
        super().__init__()
        self.syntactic_help = f"an integer or {AUTO}"

    def parse(self, argument: str | int) -> str | int:
        """Returns `AUTO` or the number."""
        return argument if argument == AUTO else super().parse(argument)

    def flag_type(self) -> str:
        """Returns what absl's descriptions of flags call the type."""
        return f"int or {AUTO}"


def _define_integer_or_auto(name: str, default: str | int, help_text: str) -> None:
    serializer = flags.ArgumentSerializer()
    flags.DEFINE(IntegerOrAuto(), name, default, help_text, serializer=serializer)


_DEFINERS = {
    bool: flags.DEFINE_boolean,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    str: flags.DEFINE_string,
    list: flags.DEFINE_list,
    IntegerOrAuto: _define_integer_or_auto,
}


class SettingError(ValueError):
    """A setting that is out of range, or contradicts another one.

    The message names fields in double braces, as in "{{batch_size}} must be 1 or
    more, but is 0." Libraries show the field's name, entry scripts its flag.
    """

    def __str__(self) -> str:
        return _name_fields(super().__str__(), lambda name: name)

    def explain(self) -> str:
        """Returns the message with flags in place of fields."""
        return _name_fields(
            super().__str__(), lambda name: f"--{_flag_of_field.get(name, name)}"
        )


def setting(
    default: Any,
    help_text: str,
    *,
    flag: str | None = None,
    choices: Sequence[str] | None = None,
    parse: Callable[[Any], Any] | None = None,
    flag_default: Any = None,
    kind: type | None = None,
) -> Any:
    """Returns a dataclass field that is a flag as well.

    Args:
      default: the field's default.
      help_text: what `--help` says.
      flag: the flag's name; None for the field's.
      choices: the values allowed; None for any.
      parse: turns the flag's value into the field's; an unset flag gives the default.
      flag_default: the flag's default where it is not the field's, with `parse`.
      kind: the flag's type where it is not the field's: bool, int, float, str, list or
        `IntegerOrAuto`.
    """
    metadata = {
        "help": help_text,
        "flag": flag,
        "choices": choices,
        "parse": parse,
        "flag_default": flag_default if parse else default,
        "kind": kind,
    }
    return dataclasses.field(default=default, metadata=metadata)


def define_flags(config_class: type, module: str, **defaults: Any) -> None:
    """Defines a flag for every `setting` of a dataclass.

    Args:
      config_class: the dataclass.
      module: `__name__` of the script, whose `--help` lists the flags.
      **defaults: defaults other than the fields', by field name.
    """
    types_by_name = typing.get_type_hints(config_class)
    for field in dataclasses.fields(config_class):
        if "help" not in field.metadata:
            continue
        name = field.metadata["flag"] or field.name
        default = defaults.get(field.name, field.metadata["flag_default"])
        choices = field.metadata["choices"]
        if choices:
            flags.DEFINE_enum(name, default, list(choices), field.metadata["help"])
        else:
            kind = field.metadata["kind"] or _plain_type(types_by_name[field.name])
            _DEFINERS[kind](name, default, field.metadata["help"])
        list_in_help(name, module)
        _flag_of_field[field.name] = name


def list_in_help(name: str, module: str) -> None:
    """Has a script's `--help` list a flag that another module defined."""
    module = sys.argv[0] if module == "__main__" else module
    flags.FLAGS.register_key_flag_for_module(module, flags.FLAGS[name])


def from_flags(
    config_class: type[_Config], flag_values: flags.FlagValues, **values: Any
) -> _Config:
    """Returns a configuration with the values of the flags.

    Args:
      config_class: the dataclass, whose flags `define_flags` has defined.
      flag_values: the parsed flags.
      **values: fields that are no flags, or are not taken from them.
    """
    for field in dataclasses.fields(config_class):
        if field.name in values or "help" not in field.metadata:
            continue
        value = flag_values[field.metadata["flag"] or field.name].value
        parse = field.metadata["parse"]
        if parse:
            value = field.default if value is None else parse(value)
        values[field.name] = value
    return config_class(**values)


def _plain_type(annotation: Any) -> type:
    """Returns the type of a field without its None."""
    if isinstance(annotation, types.UnionType):
        (annotation,) = (a for a in typing.get_args(annotation) if a is not type(None))
    return annotation


def _name_fields(text: str, name_fn: Callable[[str], str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda match: name_fn(match[1]), text)
