"""Streams to terminals and files."""

import io

import pytest

from deployment import terminal


class Terminal(io.TextIOWrapper):
    def isatty(self):
        return True


def write(kind, content):
    raw = io.BytesIO()
    stream = terminal.Stream(kind(raw, "utf-8"), "It", "\n\t")
    print(content, file=stream, flush=True)
    return raw.getvalue().decode()


def test_only_terminals_are_protected():
    hostile = '{"name": "a\x1b[2J\u202egpj\t草"}'
    assert write(io.TextIOWrapper, hostile) == f"{hostile}\n"
    # Still the same JSON value.
    assert write(Terminal, hostile) == '{"name": "a\\u001b[2J\\u202egpj\t草"}\n'


@pytest.mark.parametrize("size", [1, 100_000])
@pytest.mark.parametrize("end", ["flush", "close"])
def test_an_error_names_the_stream(size, end):
    with (
        open("/dev/full", "w") as full,
        pytest.raises(OSError, match="^The output cannot be written: No space"),
        terminal.Stream(full, "The output", "") as stream,
    ):
        stream.write("x" * size)
        getattr(stream, end)()
