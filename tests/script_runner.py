"""Runs an entry script in this process, as if it had been started with flags."""

import contextlib
import importlib.util
import io

from absl import flags
from conftest import ROOT

from deployment import entry


def run_script(script, *arguments):
    """Returns (exit status, standard output, standard error)."""
    before = set(flags.FLAGS)
    spec = importlib.util.spec_from_file_location(f"{script[:-3]}_here", ROOT / script)
    module = importlib.util.module_from_spec(spec)
    out, err = io.StringIO(), io.StringIO()
    out.reconfigure = lambda **_: None
    try:
        spec.loader.exec_module(module)
        argv = flags.FLAGS([script, *map(str, arguments)])
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = entry._guarded(module.main, argv, takes_files=True)
    finally:
        for name in set(flags.FLAGS) - before:
            delattr(flags.FLAGS, name)
    return status, out.getvalue(), err.getvalue()
