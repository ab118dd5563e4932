"""Runs an entry script in this process, as if it had been started with flags."""

import contextlib
import importlib.util
import io
import sys
from unittest import mock

from absl import flags
from conftest import ROOT

from datasets import dataset_factory
from deployment import entry, formats, tasks, user_modules
from nets import nets_factory
from preprocessing import augmentations, preprocessing_factory


@contextlib.contextmanager
def _forgotten_modules():
    """Forgets at the end what user modules have registered, as a process does."""
    registries = (
        augmentations._functions,
        dataset_factory.datasets_map,
        getattr(nets_factory, "_registry", {}),  # A user's factory has none.
        preprocessing_factory.FAMILIES,
        tasks._tasks,
        user_modules._loaded,
    )
    with contextlib.ExitStack() as stack:
        for registry in registries:
            stack.enter_context(mock.patch.dict(registry))
        file_types = list(formats._registered)
        stack.enter_context(mock.patch.object(formats, "_registered", file_types))
        yield


@contextlib.contextmanager
def _loaded(script):
    """Gives the script as a module, whose flags are defined meanwhile."""
    before = set(flags.FLAGS)
    spec = importlib.util.spec_from_file_location(f"{script[:-3]}_here", ROOT / script)
    module = importlib.util.module_from_spec(spec)
    # absl looks there for the module that defines a flag.
    sys.modules[module.__name__] = module
    try:
        spec.loader.exec_module(module)
        yield module
    finally:
        del sys.modules[module.__name__]
        for name in set(flags.FLAGS) - before:
            delattr(flags.FLAGS, name)


def load_flags(script):
    """Returns name -> default of the flags of a script."""
    before = set(flags.FLAGS)
    with _loaded(script):
        names = set(flags.FLAGS) - before
        return {name: flags.FLAGS[name].default for name in names}


def load_help(script):
    """Returns what --help of a script prints, and the names of the script's flags."""
    before = set(flags.FLAGS)
    with _loaded(script) as module, mock.patch.object(sys, "argv", [script]):
        names = {
            name
            for name in set(flags.FLAGS) - before
            if flags.FLAGS.find_module_defining_flag(name).startswith(
                ("deployment.", module.__name__)
            )
        }
        return entry.get_help(module.main), names


def run_script(script, *arguments):
    """Returns (exit status, standard output, standard error)."""
    out, err = io.StringIO(), io.StringIO()
    out.reconfigure = lambda **_: None
    with _forgotten_modules(), _loaded(script) as module:
        takes_files = script == "classify_image.py"
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                argv = entry._parse_flags([script, *map(str, arguments)])
                status = entry._guarded(module.main, argv, takes_files)
            except SystemExit as error:
                status = error.code
    return status, out.getvalue(), err.getvalue()
