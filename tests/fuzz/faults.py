"""Faults of the file system below a folder, injected by `faults.c`."""

import ctypes
import dataclasses
import hashlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable

HERE = pathlib.Path(__file__).resolve().parent
HANG_SECS = 600


def build_library() -> pathlib.Path | None:
    """Compiles `faults.c`; returns the library's path, None without a C compiler."""
    source = HERE / "faults.c"
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:16]
    library = pathlib.Path(tempfile.gettempdir()) / f"faults-{digest}.so"
    if not library.exists():
        partial = library.with_suffix(f".{os.getpid()}")
        command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(partial)]
        subprocess.run([*command, str(source), "-ldl", "-lpthread"], check=True)
        partial.rename(library)
    return library


def is_preloaded() -> bool:
    """Whether this process runs with the library."""
    return "faults-" in os.environ.get("LD_PRELOAD", "")


def start_preloaded(arguments: list[str]) -> int:
    """Runs a Python program in a process with the library; returns its status."""
    library = build_library()
    if library is None:
        sys.exit("A C compiler is needed (cc).")
    environment = {**os.environ, "LD_PRELOAD": str(library)}
    return subprocess.run([sys.executable, *arguments], env=environment).returncode


@dataclasses.dataclass(frozen=True)
class Fault:
    """What happens to the file system below a folder.

    Attributes:
      folder: the folder.
      kill_at: number of the file operation before which the process dies; 0: never.
      tear: whether half of the write that it dies before is done.
      budget: bytes that can be written before the disk is full; None: any number.
      journal: the file for the journal of operations; "" for none.
      grave: the folder that keeps what is removed; "" for none.
    """

    folder: pathlib.Path
    kill_at: int = 0
    tear: bool = False
    budget: int | None = None
    journal: pathlib.Path | str = ""
    grave: pathlib.Path | str = ""

    def arm(self) -> None:
        """Begins, in this process."""
        texts = [str(t).encode() for t in (self.folder, self.journal, self.grave)]
        budget = 0 if self.budget is None else self.budget + 1
        ctypes.CDLL(None).faults_arm(
            texts[0],
            ctypes.c_long(self.kill_at),
            int(self.tear),
            ctypes.c_long(budget),
            *texts[1:],
        )


def count(what: str) -> int:
    """Returns the `count` of operations, or of `bytes`, since a fault was armed."""
    function = getattr(ctypes.CDLL(None), f"faults_{what}")
    function.restype = ctypes.c_long
    return function()


def fork(log: pathlib.Path, work: Callable[[], int | None]) -> int:
    """Runs `work` in a child; returns its exit status, negative for a signal.

    What it prints goes to the end of a file.
    """
    child = os.fork()
    if child == 0:
        status = 99
        try:
            target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.dup2(target, 1)
            os.dup2(target, 2)
            signal.alarm(HANG_SECS)
            status = work() or 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
