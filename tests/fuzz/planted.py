"""Readers with planted faults: the harness must report each as what it is."""

import ctypes
import os
import signal
import time
import warnings

from tests.fuzz.cases import Target
from tests.fuzz.damage import replace_file
from tests.fuzz.readers import Fault, Wrong

_FILE = "tables/labels.txt"
_WHOLE = 10
ALLOCATED_MB = 1500


def _raise(error):
    raise error


def _crash():
    os.kill(os.getpid(), signal.SIGSEGV)


def _crash_in_native_code():
    ctypes.string_at(0)


def _hang():
    while True:
        time.sleep(60)


def _allocate():
    return len(b"x" * (ALLOCATED_MB << 20)) and None


def _answer(said=None, value=_WHOLE):
    if said:
        warnings.warn(said, stacklevel=2)
    return value


def _plant(name, act, is_protected=True):
    def read(path):
        with open(path, "rb") as file:
            is_whole = file.read() == b"cat\ndog\nowl\n"
        return _WHOLE if is_whole else act()

    return Target(name, (_FILE,), (replace_file,), read, is_protected)


# Named after the outcome that each must have.
GROUPS = {
    "faults": (
        _plant("refused", lambda: _raise(ValueError("labels.txt is damaged."))),
        _plant("traceback", lambda: _raise(KeyError("x"))),
        _plant("traceback", lambda: _raise(Fault("Traceback (most recent call"))),
        _plant("different", lambda: _raise(Wrong("two doors"))),
        _plant("different", lambda: _answer(value=11)),
        _plant("different", lambda: _answer(value=float("nan"))),
        _plant("crash", _crash),
        _plant("crash", _crash_in_native_code),
        _plant("crash", lambda: os._exit(3)),
        _plant("same", _answer),
        _plant("recovered", lambda: _answer("read another file instead")),
        _plant("warned", lambda: _answer("read a part of it", 5)),
        _plant("unprotected", lambda: _answer(value=11), is_protected=False),
        _plant("memory", _allocate),
        _plant("memory", lambda: _raise(MemoryError())),
        _plant("refused", lambda: _raise(OSError("labels.txt is gone."))),
    ),
    "hangs": (_plant("hang", _hang),),
}
