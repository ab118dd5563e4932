"""Keeps the stack that a thread's signals are handled on.

OpenVINO replaces that stack when it starts its CPU plugin, and unmaps its own with the
plugin, in whichever thread and order that happens. What is left behind can be a stack
that no longer exists, and Python handles signals there: Ctrl-C or a scheduler's SIGTERM
would end the process by a segmentation fault.
"""

import contextlib
import ctypes
import sys
from collections.abc import Iterator


class _Stack(ctypes.Structure):
    """Linux's `stack_t`, of sigaltstack(2)."""

    _fields_ = (
        ("address", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("size", ctypes.c_size_t),
    )


def read() -> _Stack:
    """Returns this thread's stack; its address is None if there is none."""
    stack = _Stack()
    ctypes.CDLL(None).sigaltstack(None, ctypes.byref(stack))
    return stack


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Gives this thread its stack back at the end. Does nothing outside of Linux."""
    if sys.platform != "linux":
        yield
        return
    stack = read()
    try:
        yield
    finally:
        ctypes.CDLL(None).sigaltstack(ctypes.byref(stack), None)
