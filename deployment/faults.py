"""What is said when a program has a fault of its own, or runs out of memory."""

import datetime
import platform
import re
import shlex
import sys
import tempfile
import traceback

from absl import flags

from deployment import text, versions

_VERSIONED = ("tensorflow", "tf-slim", "numpy", "absl-py")
_PREFIX = "slim-classifier-error-"
# What TensorFlow says; it also calls a full disk an exhausted resource.
_OUT_OF_MEMORY = re.compile(r"\bOOM\b|out of memory|allocat", re.IGNORECASE)


def report(error: BaseException) -> str:
    """Writes what a report of an unexpected error needs to a file.

    Returns:
      One sentence for the user, which names the file; with the traceback below it if
      the file cannot be written.
    """
    what = f"{type(error).__name__}: {error}".split("\n")[0]
    details = _describe(error)
    time = datetime.datetime.now().strftime("%Y%m%d-%H%M%S-")
    sentence = (
        f"This is a fault of the program, not of its input ({what}): please report it "
    )
    try:
        with tempfile.NamedTemporaryFile(
            "w",
            encoding="utf-8",
            errors="backslashreplace",
            prefix=_PREFIX + time,
            suffix=".txt",
            delete=False,
        ) as file:
            file.write(details)
    except OSError:
        return f"{sentence}with what follows and, if possible, the input.\n{details}"
    return (
        f"{sentence}with the file {file.name!r}, which holds the traceback, and, if "
        "possible, the input."
    )


def explain_lack_of_memory(error: BaseException) -> str | None:
    """Returns one sentence if an error says that memory ran out, otherwise None."""
    if not isinstance(error, MemoryError):
        tensorflow = sys.modules.get("tensorflow")
        exhausted = tensorflow and tensorflow.errors.ResourceExhaustedError
        if not exhausted or not isinstance(error, exhausted):
            return None
        if not _OUT_OF_MEMORY.search(error.message):
            return None
    reason = text.find_cause(getattr(error, "message", str(error)))
    remedies = []
    for name in ("batch_size", "eval_batch_size", "train_image_size"):
        if name in flags.FLAGS:
            value = flags.FLAGS[name].value
            remedies.append(f"lower --{name}" + (f" ({value} now)" if value else ""))
    if "gradient_accumulation_steps" in flags.FLAGS:
        remedies.append(
            "make the same steps of half the --batch_size and twice the "
            "--gradient_accumulation_steps"
        )
    remedies.append("end other programs")
    reason = f" ({reason})" if reason else ""
    return f"The memory is not enough{reason}: {', or '.join(remedies)}."


def _describe(error: BaseException) -> str:
    """Returns the traceback, the command line, versions and the platform."""
    found = versions.list_versions(_VERSIONED)
    lines = [f"{name}: {version}" for name, version in found.items()]
    return "\n".join(
        [
            f"command: {shlex.join(sys.argv)}",
            *lines,
            f"platform: {platform.platform()}",
            "",
            "".join(traceback.format_exception(error)),
        ]
    )
