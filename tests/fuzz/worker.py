"""The child process of a group: runs the cases whose numbers it is sent.

The fork server imports this module once, with TensorFlow, before any session exists;
each child starts from there in milliseconds.
"""

import faulthandler
import importlib
import os
import sys
import threading
import traceback
from multiprocessing.connection import Connection

from tests.fuzz import cases, samples
from tests.fuzz.outcomes import Outcome

if os.environ.get("FUZZ_PRELOAD"):  # In the fork server.
    import script_runner  # noqa: F401
    import tqdm

    import tf_slim_compat  # noqa: F401

    # Its own lock is a semaphore, which a child that is killed would leave behind.
    tqdm.tqdm.set_lock(threading.RLock())

LOG_FILE = "child.log"


def make_samples(folder: str, log: str) -> None:
    """Makes all samples in a new folder."""
    _redirect_output(log)
    samples.make_all(folder)


def serve(
    connection: Connection, module: str, name: str, seed: int, place: str
) -> None:
    """Answers each number that it is sent by a `Description` and the `Outcome`.

    Args:
      connection: gives numbers of cases; the end of the stream ends the process.
      module: with `GROUPS`.
      name: of the group.
      seed: of its cases.
      place: the folder that holds the samples and the folders of cases.
    """
    folder = os.path.join(place, "cases", name)
    sample_folder = os.path.join(place, "samples")
    os.makedirs(folder, exist_ok=True)
    log = os.path.join(folder, LOG_FILE)
    _redirect_output(log)
    os.environ["TMPDIR"] = os.path.join(folder, "case", "tmp")
    group = importlib.import_module(module).GROUPS[name]
    _reset_peak_memory()
    while True:
        try:
            number = connection.recv()
        except EOFError:
            os._exit(0)  # Without TensorFlow's threads having a say.
        os.truncate(log, 0)
        base = Outcome(name, seed, number, "")
        try:
            case = cases.plan(group, name, seed, number, sample_folder)
            connection.send(case.describe())
            case_folder = os.path.join(folder, "case")
            connection.send(cases.run(case, base, sample_folder, case_folder))
        except Exception:  # The harness's own; the parent raises it.
            connection.send(traceback.format_exc())


def _redirect_output(path):
    log = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    faulthandler.enable(2)


def _reset_peak_memory():
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
