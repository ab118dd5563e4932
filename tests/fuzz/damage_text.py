"""Damage to JSON, to lines of JSON, and to other text such as labels and tables."""

import json
import random
from typing import Any

from tests.fuzz.damage import Damaged

_MARK = "@here@"
_DEPTH = 100_000
# Raw JSON that takes the place of a value.
_VALUES = (
    'null', '""', '"abc"', "0", "-1", "1", "2.5", "1" + "0" * 30, "-1e308", "1e999",
    "NaN", "-Infinity", "true", "[]", "{}", '[null, 1, "a"]', '{"a": {"b": []}}',
    '"a\\nb\\u0000\\u202e\\ud800"', "[" * _DEPTH + "]" * _DEPTH,
    '{"a":' * _DEPTH + "0" + "}" * _DEPTH, "1" + "0" * 5000, '"' + "x" * 100_000 + '"',
)  # fmt: skip


def _list_nodes(value, found):
    """Lists (container, key) of all values inside a value."""
    items = {dict: lambda: value.items(), list: lambda: enumerate(value)}
    for key, inner in list(items.get(type(value), tuple)()):
        found.append((value, key))
        _list_nodes(inner, found)
    return found


def _get_kind(value):
    kinds = {bool: "boolean", int: "number", float: "number", type(None): "null"}
    return kinds.get(type(value), type(value).__name__)


def _is_noticeable(raw, old):
    """Whether a value has another type than the old one; null may mean unset."""
    try:
        new = json.loads(raw)
    except (ValueError, RecursionError):
        return True
    if isinstance(new, float) and (new != new or abs(new) == float("inf")):
        return True
    return _get_kind(new) != _get_kind(old) and "null" not in (
        _get_kind(new),
        _get_kind(old),
    )


def _change_value(whole: Any, rng: random.Random) -> tuple[str, str, bool | None]:
    """Returns the JSON after one change, what it is, and whether it is noticeable."""
    nodes = _list_nodes(whole, [])
    if not nodes:
        raw = rng.choice(_VALUES)
        return raw, f"the whole={raw[:30]}", None
    container, key = rng.choice(nodes)
    old = container[key]
    way = rng.choice(("replace", "replace", "replace", "drop", "repeat", "nudge"))
    if way == "drop":
        del container[key]
        return json.dumps(whole), f"without {key!r}", None
    if way == "repeat" and isinstance(container, dict):
        raw = rng.choice(_VALUES)
        container[key] = _MARK
        pair = f"{json.dumps(old)}, {json.dumps(key)}: {raw}"
        text = json.dumps(whole).replace(f'"{_MARK}"', pair, 1)
        return text, f"{key!r} twice, then {raw[:30]}", _is_noticeable(raw, old)
    if way == "repeat":
        container.insert(key, old)
        return json.dumps(whole), f"item {key} twice", None
    if way == "nudge" and _get_kind(old) == "number":
        container[key] = old + rng.choice((1, -1, 10))
        return json.dumps(whole), f"{key!r}: {old} to {container[key]}", None
    raw = rng.choice(_VALUES)
    container[key] = _MARK
    text = json.dumps(whole).replace(f'"{_MARK}"', raw, 1)
    return text, f"{key!r}={raw[:30]}", _is_noticeable(raw, old)


def damage_json(data: bytes, rng: random.Random, other: bytes) -> Damaged:
    """Changes one value of a JSON file, to one of another type more often than not."""
    if rng.random() < 0.05:
        raw = rng.choice(_VALUES)
        return Damaged(raw.encode("utf-8"), f"the whole={raw[:30]}")
    text, what, is_noticeable = _change_value(json.loads(data), rng)
    return Damaged(text.encode("utf-8"), what, is_noticeable)


def damage_json_line(data: bytes, rng: random.Random, other: bytes) -> Damaged:
    """Changes one value in one line of a file of JSON objects."""
    lines = data.splitlines()
    number = rng.randrange(len(lines))
    text, what, is_noticeable = _change_value(json.loads(lines[number]), rng)
    lines[number] = text.encode()
    return Damaged(b"\n".join(lines) + b"\n", f"line {number}: {what}", is_noticeable)


_CELLS = (
    b"", b"-1", b"1" + b"0" * 30, b"0", b"nan", b"1e999", b'"', b"a" * 200_000, b"\0",
    b"\xff\xfe", b"\xef\xbb\xbf", "\u202eabc".encode(), b"../../x", b"=1+1", b":", b",",
    b"\r", b"\xed\xa0\x80", b"a\tb", b"99999999999", b"cat",
)  # fmt: skip


def damage_lines(data: bytes, rng: random.Random, other: bytes) -> Damaged:
    """Drops, repeats, swaps or changes lines of a text file."""
    lines = data.split(b"\n")
    number, second = rng.randrange(len(lines)), rng.randrange(len(lines))
    way = rng.choice(
        ("drop", "repeat", "swap", "cell", "cell", "insert", "crlf", "cut")
    )
    what = f"line {number}: {way}"
    if way == "drop":
        del lines[number]
    elif way == "repeat":
        lines.insert(second, lines[number])
    elif way == "swap":
        lines[number], lines[second] = lines[second], lines[number]
    elif way == "insert":
        lines.insert(number, rng.choice(_CELLS))
    elif way == "crlf":
        return Damaged(b"\r\n".join(lines), "lines end in CRLF")
    elif way == "cut":
        lines[number] = lines[number][: rng.randrange(len(lines[number]) + 1)]
    else:
        separator = rng.choice([s for s in (b":", b",", b" ") if s in data] or [b" "])
        cells = lines[number].split(separator)
        place = rng.randrange(len(cells))
        cells[place] = rng.choice(_CELLS)
        lines[number] = separator.join(cells)
        what += f" {place}={cells[place][:20]!r}"
    return Damaged(b"\n".join(lines), what)


def damage_state_file(data: bytes, rng: random.Random, other: bytes) -> Damaged:
    """Changes where the file `checkpoint` of TensorFlow points."""
    paths = (
        b"/nowhere/model.ckpt-4", b"model.ckpt-999", b"", b"../run", b"/", b".",
        b"\\377\\000", b"model.ckpt-3.index", b"a" * 100_000, b"run.json",
    )  # fmt: skip
    path = rng.choice(paths)
    text = b'model_checkpoint_path: "%s"\n' % path
    if rng.random() < 0.5:
        text += b'all_model_checkpoint_paths: "%s"\n' % rng.choice(paths)
    if rng.random() < 0.2:
        text += b"unknown_field: 1\n"
    return Damaged(text, f"points to {path[:30]!r}")
