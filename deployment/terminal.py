"""Standard output and error: terminals get names without control characters.

Files and classes can have names with control characters, which a terminal obeys.
"""

import io
import os
import sys
from typing import TextIO

from deployment import text


class Stream(io.TextIOWrapper):
    """A text stream whose errors name it, and whose text a terminal does not obey.

    What is written to a pipe or a file does not change.

    Args:
      stream: the stream to take the place of, such as `sys.stdout`.
      name: what it is called in errors.
      keep: control characters that a terminal gets as they are.
    """

    def __init__(self, stream: TextIO, name: str, keep: str = ""):
        stream.flush()
        super().__init__(
            stream.buffer,
            encoding=stream.encoding,
            errors=stream.errors,
            line_buffering=stream.line_buffering,
        )
        self._title, self._keep = name, keep
        self._is_terminal = stream.isatty()
        self._replaced = stream  # It would close the buffer if it were deleted.

    def write(self, content: str, /) -> int:
        """Writes text.

        Raises:
          OSError: if it cannot be written; the message names the stream.
        """
        if self._is_terminal:
            content = text.printable(content, self._keep)
        try:
            return super().write(content)
        except OSError as error:
            raise self._explain(error) from error

    def flush(self) -> None:
        """Writes what is buffered; raises as `write` does."""
        try:
            super().flush()
        except OSError as error:
            raise self._explain(error) from error

    def close(self) -> None:
        """Writes what is buffered and closes the stream; raises as `write` does."""
        try:
            super().close()
        except OSError as error:
            raise self._explain(error) from error

    def _explain(self, error: OSError) -> OSError:
        if isinstance(error, BrokenPipeError) or error.strerror is None:
            return error
        return OSError(f"{self._title} cannot be written: {error.strerror}.")


def guard_streams() -> None:
    """Replaces `sys.stdout` and `sys.stderr` by a `Stream` each."""
    # They are None if the process was started with them closed.
    output, errors = (
        stream or io.TextIOWrapper(io.FileIO(os.devnull, "w"))
        for stream in (sys.stdout, sys.stderr)
    )
    sys.stdout = Stream(output, "The standard output", "\n\t")
    # Progress bars return to the start of the line.
    sys.stderr = Stream(errors, "The standard error", "\n\t\r")


def discard_output() -> None:
    """Discards what is still buffered for the standard output, which has failed.

    Otherwise flushing it at exit would fail again.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
