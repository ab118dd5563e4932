"""What every entry script does around its `main`: one clear sentence on failure.

if __name__ == "__main__":
    entry.run(main)
"""

import logging as python_logging
import os
import signal
import sys
import warnings

from absl import app, flags, logging

# What a person can cause: wrong flags, files and data. Anything else is a bug
# of ours and keeps its traceback.
_EXPECTED_ERRORS = (ValueError, OSError)


def run(main, takes_files=False):
    """Parses the flags, calls `main(argv)` and exits with its status.

    Unless `takes_files`, anything that is no flag is a mistake.

    An expected error (`ValueError`, `OSError`, an error of a TensorFlow
    kernel) is printed as one sentence and exits with status 1; the traceback
    is shown as well with `--verbosity=1`. Ctrl-C exits with status 130, and output
    that nobody reads to its end, quietly, with 141.
    """
    handler = logging.get_absl_handler()
    handler.setFormatter(python_logging.Formatter("%(message)s"))
    flags.FLAGS.set_default("verbosity", logging.INFO)
    # What TensorFlow and tf_slim say of their own inner workings.
    python_logging.getLogger("tensorflow").setLevel(python_logging.ERROR)
    warnings.filterwarnings("ignore", module=r"tensorflow\.|tf_slim\.")
    app.run(
        lambda argv: sys.exit(_guarded(main, argv, takes_files)),
        argv=_join_booleans(sys.argv),
    )


def define_ignore_run_card():
    """Defines --ignore_run_card, for scripts that go by a run's card."""
    flags.DEFINE_boolean(
        "ignore_run_card",
        False,
        "Whether a flag wins that contradicts run.json; else it is an error.",
    )


def get_given_flags(flag_values, names):
    """Those of the flags called `names` that are on the command line, as a dict."""
    return {
        name: flag_values[name].value for name in names if flag_values[name].present
    }


def _join_booleans(argv):
    """Makes `--flag true`, which argparse understands, `--flag=true`, as absl does."""
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


def _guarded(main, argv, takes_files):
    program = os.path.basename(argv[0])
    try:
        if len(argv) > 1 and not takes_files:
            raise ValueError(
                f"Unexpected argument {argv[1]!r}: give options as --name=value; "
                f"{program} --help lists them."
            )
        main(argv)
        sys.stdout.flush()
    except BrokenPipeError:
        # Who reads the output has seen enough, as `head` has. What is left of it would
        # be written, and fail again, at the very end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        print(f"\n{program}: interrupted.", file=sys.stderr)
        return 128 + signal.SIGINT
    except Exception as error:
        message = _explain(error)
        if message is None:
            raise
        logging.debug("Traceback:", exc_info=error)
        print(f"{program}: error: {message}", file=sys.stderr)
        return 1
    return 0


def _explain(error):
    """One paragraph for an expected error, None for a bug."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.strerror}: {error.filename!r}."
    if isinstance(error, _EXPECTED_ERRORS):
        return str(error)
    # Not imported here: some scripts do without TensorFlow, which takes seconds.
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is not None and isinstance(error, tensorflow.errors.OpError):
        # Ahead of the node that failed stands what is wrong.
        lines = error.message.split(" [[{{node")[0].split("\n")
        return next((line for line in reversed(lines) if line.strip()), str(error))
    return None
