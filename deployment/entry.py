"""Runs the `main` of an entry script; failures end in one clear sentence.

if __name__ == "__main__":
    entry.run(main)
"""

import logging as python_logging
import os
import signal
import sys
import warnings
from collections.abc import Callable, Sequence

from absl import app, flags, logging

import remote_files
from deployment import (
    config_flags,
    faults,
    flag_errors,
    flag_help,
    remote,
    terminal,
    text,
    user_modules,
)

# Caused by wrong flags, files and data. Anything else is a fault of the program.
_EXPECTED_ERRORS = (ValueError, OSError)
_HELP_FLAGS = {"--help", "-help", "-h", "-?"}


def run(main: Callable[[Sequence[str]], None], takes_files: bool = False) -> None:
    """Parses the flags, calls `main(argv)` and exits with its status.

    An expected error (`ValueError`, `OSError`, an error of a TensorFlow kernel) is
    printed as one sentence and exits with status 1; `--verbosity=1` adds the traceback.
    So is any other error, whose traceback is written to a file.
    Ctrl-C exits with status 130. A closed output pipe exits quietly with status 141.
    --help prints the flags by theme and exits with status 0.

    Args:
      main: called with the arguments that are not flags, the script's name first.
      takes_files: whether there may be such arguments.
    """
    terminal.guard_streams()
    logging.get_absl_handler().setFormatter(_Formatter("%(message)s"))
    try:
        _run(main, takes_files)
    except Exception as error:
        logging.debug("Traceback:", exc_info=error)
        sentence = user_modules.blame(error) or faults.report(error)
        _print_error(os.path.basename(sys.argv[0]), sentence)
        sys.exit(1)


def _run(main, takes_files):
    flags.FLAGS.set_default("verbosity", logging.INFO)
    # TensorFlow's and tf_slim's messages about their own internals.
    python_logging.getLogger("tensorflow").setLevel(python_logging.ERROR)
    warnings.filterwarnings("ignore", module=r"tensorflow\.|tf_slim\.")
    argv = _join_booleans(sys.argv)
    script_main = main
    if _HELP_FLAGS.intersection(argv):
        help_text = get_help(main, takes_files)
        argv, script_main = argv[:1], lambda _: print(help_text)
    app.run(
        lambda rest: sys.exit(_guarded(script_main, rest, takes_files)),
        argv=argv,
        flags_parser=_parse_flags,
    )


def get_help(main: Callable[[Sequence[str]], None], takes_files: bool = False) -> str:
    """Returns the text of --help for the script of a `main`; arguments as of `run`."""
    program = os.path.basename(sys.argv[0])
    module = sys.argv[0] if main.__module__ == "__main__" else main.__module__
    verbosity = flags.FLAGS["verbosity"]
    verbosity.help = "What to log: -1: warnings, 0: progress, 1: tracebacks, too."
    flags.FLAGS.register_key_flag_for_module(module, verbosity)
    usage = f"{program} [--flag=value ...]" + (" [image ...]" if takes_files else "")
    description = main.__globals__["__doc__"] or ""
    if not program.endswith(".py"):  # A subcommand of slim-classifier.
        script = os.path.basename(main.__globals__.get("__file__", program))
        description = description.replace(f"python {script}", program)
    return flag_help.format_help(usage, description, module)


def define_user_module(module: str) -> None:
    """Defines --user_module; `module` is the script's `__name__`."""
    flags.DEFINE_multi_string(
        "user_module",
        [],
        "A Python file or importable module that registers networks, datasets, "
        "preprocessing, augmentations, tasks or formats of your own; may be repeated.",
    )
    config_flags.list_in_help("user_module", module)


def define_ignore_run_card(module: str = "__main__") -> None:
    """Defines --ignore_run_card; `module` is the script's `__name__`."""
    flags.DEFINE_boolean(
        "ignore_run_card",
        False,
        "Whether flags override the run card (run.json); otherwise a contradiction is "
        "an error.",
    )
    config_flags.list_in_help("ignore_run_card", module)


def define_trust_model(module: str = "__main__") -> None:
    """Defines --trust_model; `module` is the script's `__name__`."""
    flags.DEFINE_boolean(
        "trust_model",
        False,
        "Whether the model may do more than compute: read and write files, run "
        "programs and use the network. Only for models whose author you trust.",
    )
    config_flags.list_in_help("trust_model", module)


def _join_booleans(argv):
    """Turns `--flag true`, as argparse accepts it, into absl's `--flag=true`."""
    joined = []
    for argument in argv:
        before = joined[-1] if joined else ""
        name = before.lstrip("-")
        is_boolean = name in flags.FLAGS and flags.FLAGS[name].boolean
        if before != name and is_boolean and argument.lower() in ("true", "false"):
            joined[-1] = f"{before}={argument}"
        else:
            joined.append(argument)
    return joined


def _parse_flags(argv):
    """Parses the flags, or prints one sentence on what is wrong and exits."""
    try:
        return flag_errors.parse(argv)
    except ValueError as error:
        _print_error(os.path.basename(argv[0]), str(error))
        sys.exit(1)


class _Formatter(python_logging.Formatter):
    """Makes names in messages printable, and those of local copies URLs."""

    def format(self, record: python_logging.LogRecord) -> str:
        message = remote_files.to_urls(super().format(record))
        return text.printable(message, keep="\n\t")


def _print_error(program, message):
    message = text.printable(remote_files.to_urls(message), keep="\n\t")
    print(f"{program}: error: {message}", file=sys.stderr)


def _guarded(main, argv, takes_files):
    """Returns the exit status of `main`; raises what only a fault explains."""
    program = os.path.basename(argv[0])
    try:
        if len(argv) > 1 and not takes_files:
            raise ValueError(
                f"Unexpected argument {argv[1]!r}: give options as --name=value; "
                f"{program} --help lists them."
            )
        if "user_module" in flags.FLAGS:
            user_modules.load(flags.FLAGS.user_module)
        script = os.path.basename(main.__globals__.get("__file__", program))
        with remote.local_copies(flags.FLAGS, script, argv) as local_argv:
            main(local_argv)
        sys.stdout.flush()
    except BrokenPipeError:
        terminal.discard_output()  # The reader, such as `head`, has seen enough.
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        print(f"\n{program}: interrupted.", file=sys.stderr)
        return 128 + signal.SIGINT
    except Exception as error:
        message = _explain(error)
        if message is None:
            raise
        logging.debug("Traceback:", exc_info=error)
        _print_error(program, message)
        return 1
    return 0


def _explain(error):
    """Returns the message of an expected error; None for a bug."""
    lack_of_memory = faults.explain_lack_of_memory(error)
    if lack_of_memory is not None:
        return lack_of_memory
    if isinstance(error, config_flags.SettingError):
        return error.explain()
    if isinstance(error, OSError) and isinstance(error.filename, str):
        path = error.filename
        if path.endswith(".partial"):
            from deployment import files  # See below.

            path = files.final_path(path)
        return f"{path!r} cannot be read or written: {error.strerror}."
    if isinstance(error, OSError) and error.strerror:
        return f"A file cannot be read or written: {error.strerror}."
    if isinstance(error, _EXPECTED_ERRORS):
        return str(error)
    # Not imported here: some scripts do not need TensorFlow, which takes seconds.
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is not None and isinstance(error, tensorflow.errors.OpError):
        return text.find_cause(error.message) or str(error)
    return None
