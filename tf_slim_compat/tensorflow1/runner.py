"""Runs a program of TensorFlow 1 as it was written."""

import importlib.util
import os
import runpy
import sys
import traceback
import types
import warnings

from tensorflow.python.util import deprecation

from tf_slim_compat import contrib
from tf_slim_compat.tensorflow1 import division, mended, modules, python2

USAGE = """Runs a program written for TensorFlow 1 as it is.

usage: python -m tf_slim_compat SCRIPT.py [ARGUMENT ...]
       python -m tf_slim_compat -m MODULE [ARGUMENT ...]

The program gets TensorFlow's graph mode by `import tensorflow`, and tf.contrib,
tf.layers and tf.estimator with it. Sources in Python 2 are translated while they load;
no file is changed. What was mended is printed at the end.
"""
# Parts of TensorFlow 1 -> modules that load when a program uses them.
_PARTS = {
    "tf.estimator": "tf_slim_compat.estimator",
    "tf.keras": "tf_keras",
    "tf.layers": "tf_slim_compat.layers",
}
_OWN_FOLDER = os.path.join(os.path.dirname(os.path.dirname(__file__)), "")
_NOT_BUILT = ("is not built in tf_slim_compat", "which is not installed")


def _run_script(path: str) -> None:
    """Runs a file as `__main__`."""
    sys.path[0] = os.path.dirname(os.path.abspath(path))
    loader = python2.ProgramLoader("__main__", path)
    spec = importlib.util.spec_from_file_location("__main__", path, loader=loader)
    module = importlib.util.module_from_spec(spec)
    # As in a script that Python runs itself.
    module.__spec__ = None
    sys.modules["__main__"] = module
    exec(loader.get_code("__main__"), vars(module))


def _list_frames(error: BaseException) -> list[types.TracebackType]:
    """Returns the entries of the traceback that are in the program, innermost last."""
    entries = []
    entry = error.__traceback__
    while entry is not None:
        path = entry.tb_frame.f_code.co_filename
        is_own = path.startswith((_OWN_FOLDER, *python2.LIBRARY_FOLDERS, "<frozen"))
        if not is_own:
            entries.append(entry)
        entry = entry.tb_next
    return entries


def _is_refusal(error: Exception) -> bool:
    """Returns whether tf_slim_compat itself found that an argument cannot be."""
    if not isinstance(error, OSError | ValueError):
        return False
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return frame.f_code.co_filename.startswith(_OWN_FOLDER)


def _explain(error: Exception) -> str:
    """Returns one sentence for an error that is known, else the traceback."""
    if isinstance(error, python2.Python2Error):
        return str(error)
    frames = _list_frames(error)
    is_missing = isinstance(error, AttributeError | ImportError) and any(
        part in str(error) for part in _NOT_BUILT
    )
    if frames and (is_missing or _is_refusal(error)):
        path = frames[-1].tb_frame.f_code.co_filename
        return f"{path}, line {frames[-1].tb_lineno}: {error}"
    sentence = division.explain(error, frames)
    if sentence:
        return sentence
    start = frames[0] if frames else error.__traceback__
    lines = traceback.format_exception(type(error), error, start)
    return "".join(lines).rstrip()


def run(arguments: list[str]) -> int | str | None:
    """Runs `SCRIPT.py ARGUMENT...` or `-m MODULE ARGUMENT...`.

    Returns:
      The exit status, as `sys.exit` takes it.
    """
    is_module = arguments[0] == "-m"
    sys.argv = arguments[int(is_module) :]
    try:
        if is_module:
            runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        else:
            _run_script(sys.argv[0])
    except SystemExit as error:
        return error.code
    except Exception as error:
        print(_explain(error), file=sys.stderr)
        return 1
    return 0


def main() -> None:
    """Runs the program that the command line names, then prints what was mended."""
    arguments = sys.argv[1:]
    if arguments[:1] in (["-h"], ["--help"]):
        print(USAGE, end="")
        return
    if arguments in ([], ["-m"]):
        sys.exit(USAGE)
    if arguments[0] != "-m" and not os.path.isfile(arguments[0]):
        sys.exit(f"There is no program {arguments[0]}.")
    # The program was written before what it uses was deprecated.
    deprecation._PRINT_DEPRECATION_WARNINGS = False
    warnings.filterwarnings(
        "ignore", ".* is deprecated and will be removed", UserWarning
    )
    modules.install()
    status = run(arguments)
    for what, module in _PARTS.items():
        if module in sys.modules:
            mended.note(what, f"is {module}")
    if contrib.list_used():
        used = ", ".join(contrib.list_used())
        mended.note("tf.contrib", f"is tf_slim_compat.contrib: {used}")
    sys.stdout.flush()
    print(mended.make_report(), file=sys.stderr)
    sys.exit(status)
