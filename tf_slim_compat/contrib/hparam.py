"""`tf.contrib.training.HParams`: hyperparameters with types, set by name or by text."""

import json
import numbers
import re
from collections.abc import Iterator, Mapping
from typing import Any

Scalar = bool | int | float | str
Value = Scalar | list[Scalar] | None

_TRUE = ("true", "True", "1")
_FALSE = ("false", "False", "0")
# A name with an index or not, then one value or a list in brackets, then a comma.
_SETTING = re.compile(
    r"""\s*(?P<name>[a-zA-Z][\w.]*)\s*(\[\s*(?P<index>\d+)\s*\])?\s*=\s*
        ((?P<value>[^,\[]*)|\[(?P<list>[^\]]*)\])\s*($|,\s*)""",
    re.VERBOSE,
)


def _parse_scalar(name: str, text: str, type_: type) -> Scalar:
    text = text.strip()
    if type_ is bool:
        if text in _TRUE + _FALSE:
            return text in _TRUE
    elif type_ is str:
        return text
    else:
        try:
            return type_(text)
        except ValueError:
            pass
    raise ValueError(
        f"The hyperparameter {name} is of type {type_.__name__}; "
        f"{text!r} cannot be read as one."
    )


def _cast(name: str, value: Any, type_: type) -> Any:
    """Returns the value as the type, if nothing of it is lost.

    Raises:
      ValueError: if the value is of another kind, such as text for a number.
    """
    if value is None or type_ is type(None):
        return value
    is_bool, is_text = isinstance(value, bool), isinstance(value, str | bytes)
    is_whole = isinstance(value, numbers.Integral)
    fits = is_bool == (type_ is bool) and is_text == issubclass(type_, str | bytes)
    if type_ is int and not is_whole:
        fits = False
    if not fits:
        raise ValueError(
            f"The hyperparameter {name} is of type {type_.__name__}; the value "
            f"{value!r} is of type {type(value).__name__}."
        )
    return type_(value)


def parse_values(
    values: str, type_map: Mapping[str, type], ignore_unknown: bool = False
) -> dict[str, Any]:
    """Reads settings such as "learning_rate=0.1,layers=[64,32],layers[1]=16".

    Args:
      values: comma-separated `name=value`, `name=[value,value]` or `name[i]=value`.
      type_map: name -> type of the value, or of the values of a list.
      ignore_unknown: whether to skip names that are not in `type_map`.

    Returns:
      name -> value, list of values, or {index: value} for settings with an index.

    Raises:
      ValueError: if the text cannot be read, a name is unknown or is set twice.
    """
    results = {}
    place = 0
    while place < len(values):
        match = _SETTING.match(values, place)
        if not match:
            raise ValueError(
                f"Cannot read {values[place:]!r} as a hyperparameter; write name=value "
                "or name=[value,value], separated by commas."
            )
        place = match.end()
        name, index = match["name"], match["index"]
        if name not in type_map:
            if ignore_unknown:
                continue
            raise ValueError(
                f"There is no hyperparameter {name}; there are: "
                f"{', '.join(sorted(type_map))}."
            )
        _add_setting(results, name, index, match, type_map[name])
    return results


def _add_setting(
    results: dict[str, Any], name: str, index: str | None, match: re.Match, type_: type
) -> None:
    if match["list"] is not None:
        if index is not None:
            raise ValueError(f"The hyperparameter {name}[{index}] is set to a list.")
        texts = [text for text in match["list"].split(",") if text.strip()]
        value = [_parse_scalar(name, text, type_) for text in texts]
    else:
        value = _parse_scalar(name, match["value"], type_)
    if index is None:
        settings, key = results, name
    else:
        settings, key = results.setdefault(name, {}), int(index)
    if not isinstance(settings, dict) or key in settings:
        raise ValueError(f"The hyperparameter {name} is set more than once.")
    settings[key] = value


class HParams:
    """Hyperparameters: attributes whose types the first values fix.

    `HParams(learning_rate=0.1, layers=[64, 32]).parse("learning_rate=0.01")` sets one
    from text.
    """

    def __init__(
        self, hparam_def: None = None, model_structure: Any = None, **kwargs: Value
    ):
        if hparam_def is not None:
            raise ValueError(
                "HParams are not read from protocol buffers here; pass "
                "them by name, or use parse_json()."
            )
        self._hparam_types: dict[str, tuple[type, bool]] = {}
        self._model_structure = model_structure
        for name, value in kwargs.items():
            self.add_hparam(name, value)

    def add_hparam(self, name: str, value: Value) -> None:
        """Adds a hyperparameter.

        Raises:
          ValueError: if there is one of this name, or a list of values is empty.
        """
        if getattr(self, name, None) is not None:
            raise ValueError(
                f"The hyperparameter {name} exists already, or is reserved."
            )
        is_list = isinstance(value, list | tuple)
        if is_list and not value:
            raise ValueError(f"The hyperparameter {name} is an empty list.")
        self._hparam_types[name] = (type(value[0] if is_list else value), is_list)
        setattr(self, name, list(value) if is_list else value)

    def set_hparam(self, name: str, value: Value) -> None:
        """Sets an existing hyperparameter.

        Raises:
          KeyError: if there is none of this name.
          ValueError: if the value is of another type, or a list where there was none.
        """
        type_, is_list = self._hparam_types[name]
        if isinstance(value, list | tuple) != is_list:
            raise ValueError(
                f"The hyperparameter {name} is {'a list' if is_list else 'one value'}; "
                f"the value is {value!r}."
            )
        if is_list:
            value = [_cast(name, item, type_) for item in value]
        else:
            value = _cast(name, value, type_)
        setattr(self, name, value)

    def del_hparam(self, name: str) -> None:
        """Removes a hyperparameter, if there is one of this name."""
        if name in self._hparam_types:
            delattr(self, name)
            del self._hparam_types[name]

    def parse(self, values: str) -> "HParams":
        """Sets hyperparameters from text; see `parse_values`. Returns itself."""
        types = {name: type_ for name, (type_, _) in self._hparam_types.items()}
        for name, value in parse_values(values, types).items():
            is_list = self._hparam_types[name][1]
            if isinstance(value, dict):
                changed = list(getattr(self, name)) if is_list else []
                for index, item in value.items():
                    if index >= len(changed):
                        raise ValueError(
                            f"The hyperparameter {name} has {len(changed)} values in a "
                            f"list; there is no {name}[{index}]."
                        )
                    changed[index] = item
                value = changed
            elif is_list and not isinstance(value, list):
                value = [value]
            self.set_hparam(name, value)
        return self

    def override_from_dict(self, values_dict: Mapping[str, Value]) -> "HParams":
        """Sets hyperparameters by name; returns itself."""
        for name, value in values_dict.items():
            self.set_hparam(name, value)
        return self

    set_from_map = override_from_dict

    def parse_json(self, values_json: str) -> "HParams":
        """Sets hyperparameters from a JSON object; returns itself."""
        return self.override_from_dict(json.loads(values_json))

    def to_json(
        self,
        indent: int | None = None,
        separators: tuple[str, str] | None = None,
        sort_keys: bool = False,
    ) -> str:
        """Returns all hyperparameters as a JSON object, without functions."""
        values = {k: v for k, v in self.values().items() if not callable(v)}
        return json.dumps(
            values, indent=indent, separators=separators, sort_keys=sort_keys
        )

    def values(self) -> dict[str, Value]:
        """Returns name -> value."""
        return {name: getattr(self, name) for name in self._hparam_types}

    def get(self, key: str, default: Value = None) -> Value:
        """Returns a value, or the default if there is no such hyperparameter.

        Raises:
          ValueError: if the default is of another type than the hyperparameter.
        """
        if key not in self._hparam_types:
            return default
        if default is not None:
            type_, is_list = self._hparam_types[key]
            if isinstance(default, list) != is_list:
                raise ValueError(f"The default {default!r} does not fit {key}.")
            for item in default if is_list else [default]:
                _cast(key, item, type_)
        return getattr(self, key)

    def set_model_structure(self, model_structure: Any) -> None:
        """Attaches a description of the model, which is not a hyperparameter."""
        self._model_structure = model_structure

    def get_model_structure(self) -> Any:
        """Returns what `set_model_structure` attached."""
        return self._model_structure

    def __contains__(self, key: str) -> bool:
        return key in self._hparam_types

    def __iter__(self) -> Iterator[str]:
        return iter(self._hparam_types)

    def __str__(self) -> str:
        return str(sorted(self.values().items()))

    def __repr__(self) -> str:
        return f"HParams({self})"
