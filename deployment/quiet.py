"""Holds back what native code prints past Python."""

import contextlib
import os
import sys
import tempfile


@contextlib.contextmanager
def stderr_held_back():
    """Within, nothing written to the process's standard error is seen."""
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
