"""Runs an entry script in this process, as if it had been started with flags."""

import contextlib
import importlib.util
import io

from absl import flags
from conftest import ROOT

from deployment import entry


@contextlib.contextmanager
def _loaded(script):
    """Gives the script as a module, whose flags are defined meanwhile."""
    before = set(flags.FLAGS)
    spec = importlib.util.spec_from_file_location(f"{script[:-3]}_here", ROOT / script)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        yield module
    finally:
        for name in set(flags.FLAGS) - before:
            delattr(flags.FLAGS, name)


def load_flags(script):
    """Returns name -> default of the flags of a script."""
    before = set(flags.FLAGS)
    with _loaded(script):
        names = set(flags.FLAGS) - before
        return {name: flags.FLAGS[name].default for name in names}


def run_script(script, *arguments):
    """Returns (exit status, standard output, standard error)."""
    out, err = io.StringIO(), io.StringIO()
    out.reconfigure = lambda **_: None
    with _loaded(script) as module:
        argv = flags.FLAGS([script, *map(str, arguments)])
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = entry._guarded(module.main, argv, takes_files=True)
    return status, out.getvalue(), err.getvalue()
