"""JSON that may be damaged, or written by someone else: parsed within bounds, checked.

    class Person:                       # A dataclass or TypedDict, its fields annotated
        name: Name                      # with these types, or with others made alike.
        age: Count

    person = check(parse(text), Person)

Every file in JSON is read through this module, which does not import TensorFlow. The
types are those of msgspec.
"""

import json
import re
import reprlib
import sys
from typing import Annotated, Any, TypeVar

import msgspec

_Kind = TypeVar("_Kind")
MAX_BYTES = 1 << 26
_MAX_DEPTH = 64

Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Finite = Annotated[float, msgspec.Meta(ge=-sys.float_info.max, le=sys.float_info.max)]
NonNegative = Annotated[float, msgspec.Meta(ge=0, le=sys.float_info.max)]
Decay = Annotated[float, msgspec.Meta(ge=0, lt=1)]
Number = Int64 | Finite | None
# Up to three hundred years.
Seconds = Annotated[float, msgspec.Meta(ge=0, le=10**10)]
# Labels and outputs: far beyond any dataset, far below what would fill the memory.
NumClasses = Annotated[int, msgspec.Meta(ge=1, le=10**6)]
ImageSize = Annotated[int, msgspec.Meta(ge=1, le=2**16)]
# A path, a sentence, a hash.
Text = Annotated[str, msgspec.Meta(max_length=2**16)]
Texts = Annotated[tuple[Text, ...], msgspec.Meta(max_length=10**4)]
# No control characters, but a tab, and nothing that ends a line.
Name = Annotated[
    str,
    msgspec.Meta(
        max_length=4096, pattern=r"\A[^\x00-\x08\x0a-\x1f\x7f\x85\u2028\u2029]*\Z"
    ),
]
# A name in a folder.
FileName = Annotated[
    str, msgspec.Meta(min_length=1, max_length=4096, pattern=r"\A[^/\x00]*\Z")
]
Names = Annotated[tuple[Name, ...], msgspec.Meta(max_length=10**6)]

# What msgspec says, and how it reads after "must be".
_WORDS = (
    (r"^Expected |, got .*|`", ""),
    (r" .= -?1\.7976931348623157e\+308", ""),
    (r"^Number out of range", "a finite number"),
    (r"^Invalid enum value .*", "one of the known words"),
    (r"matching regex .*\[\^/.*", "without slashes"),
    (r"matching regex .*", "without control characters and line ends"),
    (r"\bint\b", "an integer"),
    (r"\bfloat\b", "a finite number"),
    (r"\bstr\b", "text"),
    (r"\barray\b", "a list"),
    (r"\bobject\b", "an object"),
    (r"\bbool\b", "true or false"),
    (r" \| ", " or "),
)


def parse(contents: str | bytes) -> Any:
    """Returns the value of a JSON text; bytes are UTF-8.

    Raises:
      ValueError: if it is not JSON, is larger than `MAX_BYTES` or nested too deeply;
        the message is a clause.
    """
    if len(contents) > MAX_BYTES:
        raise ValueError(f"it is larger than {MAX_BYTES >> 20} MiB")
    if not contents.strip(b" \n\r\t\0" if isinstance(contents, bytes) else None):
        raise ValueError("it is empty")
    if isinstance(contents, bytes):
        contents = contents.decode()
    try:
        value = json.loads(contents)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if contents.count("[") + contents.count("{") > _MAX_DEPTH:
        _check_depth(value)
    return value


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(_MAX_DEPTH):
        level = [
            item
            for node in level
            if isinstance(node, dict | list)
            for item in (node.values() if isinstance(node, dict) else node)
        ]
        if not level:
            return
    raise ValueError("it is nested too deeply")


def check(value: Any, kind: type[_Kind], field: str = "") -> _Kind:
    """Returns a value of JSON as an instance of a type.

    Args:
      value: what `parse` returned, or a part of it.
      kind: the type; lists become tuples, and objects dataclasses, where it says so.
      field: the name of the part, for messages.

    Raises:
      ValueError: if it is not of that type; the message is a clause with the name of
        the field, the rule and the value.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        reason = _explain(str(error), value, field)
    raise ValueError(reason)


def _explain(message: str, value: Any, field: str) -> str:
    """Returns what msgspec found wrong, with the name and the value of the field."""
    rule, _, place = message.partition(" - at `$")
    place = place.rstrip("`")
    missing = re.fullmatch(r"Object missing required field `(.*)`", rule)
    if missing:
        return f"{field}{place}.{missing[1]}".lstrip(".") + " is missing"
    name = f"{field}{place}".lstrip(".") or "it"
    for pattern, words in _WORDS:
        rule = re.sub(pattern, words, rule)
    for key, index in re.findall(r"\.([^.\[]+)|\[([^\]]*)\]", place):
        if index == "...":  # Any key of an object.
            return f"{name} must be {rule}"
        value = value[key] if key else value[int(index)]
    return f"{name} must be {rule}, but is {reprlib.repr(value)}"
