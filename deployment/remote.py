"""URLs as values of flags: commands read and write local copies of them.

`local_copies` wraps the `main` of every entry script. In between, `publish` sends a run
after each checkpoint, and `refresh` fetches what another process has sent.
"""

import contextlib
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

from absl import flags, logging

import remote_files
from deployment.remote_copies import Input, Output, Run, get_key
from remote_files.store import RemoteError

_READ = (
    "checkpoint_path model_path input_checkpoint input_graph input_saver "
    "input_meta_graph input_saved_model_dir graph_path label_path labels source "
    "source_dir image_dir image_file compare_to from_keras average "
    "pretrained_dir train_dir"
)
_WRITTEN = (
    "output_dir output_file output_graph output_path eval_dir predictions_csv gallery "
    "filters_png augmentation_png noise_png tensorboard_dir names_file"
)
_TRAINING = "train_image_classifier.py"
# Others read their dataset through `datasets.remote_data`.
_CONVERTERS = ("convert_dataset.py", "download_and_convert_data.py")
# With these, more than one checkpoint of a run is read.
_NEEDING_ALL = "checkpoint all_checkpoints soup average best last eval_interval_secs"

_LOCK = ".lock"

_runs: list[Run] = []
_inputs: list[Input] = []


@contextlib.contextmanager
def local_copies(
    flag_values: flags.FlagValues, script: str, argv: Sequence[str] = ()
) -> Iterator[list[str]]:
    """Within, flags have local paths in place of URLs; yields such arguments, too.

    Once the block ends without an error, what it wrote is sent. The training folder is
    sent however it ends.

    Args:
      flag_values: the parsed flags.
      script: file name of the entry script.
      argv: its name and its arguments that are not flags, which are files to read.

    Raises:
      ValueError: if a URL cannot be used, or leads to nothing.
      RemoteError: if files cannot be fetched or sent.
    """
    roles = {
        name: role
        for name in flag_values
        if _is_remote(flag_values[name].value) and (role := _get_role(name, script))
    }
    argv = list(argv)
    if not roles and not _is_remote(argv):
        yield argv
        return
    with contextlib.ExitStack() as stack:
        session = _Session(stack, flag_values)
        for name, role in roles.items():
            flag = flag_values[name]
            stack.callback(setattr, flag, "value", flag.value)
            flag.value = _map(flag.value, getattr(session, role))
        argv = _map(argv, session.read)
        try:
            yield argv
        except BaseException:
            session.rescue()
            raise
        session.send()


def publish() -> None:
    """Sends the training folder, if it is remote; after each checkpoint.

    Raises:
      RemoteError: if that fails.
    """
    for run in _runs:
        run.send()


def drop_checkpoint(folder: str, name: str) -> None:
    """Has a checkpoint removed from the store, if its folder is remote."""
    for run in _runs:
        run.drop(folder, name)


def refresh() -> None:
    """Sends results and fetches new checkpoints of remote folders that are read."""
    for one in _inputs:
        one.send()
        one.refresh()


def describe_flags(flag_values: flags.FlagValues) -> dict[str, Any]:
    """Returns all flags by name, with URLs in place of the local copies."""
    return {name: _to_urls(v) for name, v in flag_values.flag_values_dict().items()}


class _Session:
    """The copies of one command."""

    def __init__(self, stack: contextlib.ExitStack, flag_values: flags.FlagValues):
        self._stack = stack
        self._flags = flag_values
        self._root = stack.enter_context(_make_root())
        self._outputs, self._run_root = [], None

    def read(self, url: str) -> str:
        """Returns the local path of something to read."""
        found = Input(
            url, tempfile.mkdtemp(dir=self._root), **_describe_needs(self._flags)
        )
        _inputs.append(found)
        self._stack.callback(_inputs.remove, found)
        return found.path

    def write(self, url: str) -> str:
        """Returns the local path of something to write."""
        self._outputs.append(Output(url, tempfile.mkdtemp(dir=self._root)))
        return self._outputs[-1].path

    def train(self, url: str) -> str:
        """Returns the local path of a training folder."""
        if not _is_chief(self._flags):  # It only reads.
            return Run(url, tempfile.mkdtemp(dir=self._root)).path
        cache = remote_files.get_cache_folder()
        root = os.path.join(cache, f"run-{get_key(url)}")
        try:
            self._stack.enter_context(remote_files.lock(f"{root}.lock", wait=False))
        except BlockingIOError:
            raise ValueError(
                f"Another process of this machine trains in {url!r}: wait until it "
                "ends, end it, or give another --train_dir."
            ) from None
        run = Run(url, root)
        self._run_root = root
        _runs.append(run)
        self._stack.callback(_runs.remove, run)
        return run.path

    def send(self) -> None:
        """Sends everything that was written."""
        publish()
        self._remove_run()
        try:
            for one in (*_inputs, *self._outputs):
                one.send()
        except RemoteError as error:
            kept = self._root.replace("view-", "unsent-")
            os.rename(self._root, kept)
            raise RemoteError(
                f"{error} Nothing is lost: what was written is below {kept!r}."
            ) from error

    def rescue(self) -> None:
        """Sends the training folder after an error, unless that was the error."""
        if not any(run.has_failed for run in _runs):
            try:
                publish()
                self._remove_run()
            except RemoteError as error:
                logging.error("%s", error)

    def _remove_run(self):
        if self._run_root is not None:
            shutil.rmtree(self._run_root, ignore_errors=True)


@contextlib.contextmanager
def _make_root() -> Iterator[str]:
    """Yields a new folder, which is removed at the end; removes those of the killed."""
    cache = remote_files.get_cache_folder()
    with contextlib.ExitStack() as stack:
        with remote_files.lock(os.path.join(cache, "views.lock"), wait=True):
            for root in glob.glob(os.path.join(glob.escape(cache), "view-*")):
                with (
                    contextlib.suppress(OSError),
                    remote_files.lock(os.path.join(root, _LOCK), wait=False),
                ):
                    shutil.rmtree(root, ignore_errors=True)
            root = tempfile.mkdtemp(prefix="view-", dir=cache)
            stack.callback(shutil.rmtree, root, ignore_errors=True)
            lock = remote_files.lock(os.path.join(root, _LOCK), wait=False)
            stack.enter_context(lock)
        yield root


def _get_role(name: str, script: str) -> str | None:
    """Returns the method of `_Session` for a flag; None if its URLs are left alone."""
    if name == "train_dir" and script == _TRAINING:
        return "train"
    if name in _WRITTEN.split() or (name == "dataset_dir" and script in _CONVERTERS):
        return "write"
    return "read" if name in _READ.split() else None


def _split(value):
    """Returns the paths in the value of a flag."""
    if isinstance(value, str):
        return value.split(",") if value.count("://") > 1 else [value]
    return [part for part in value if isinstance(part, str)]


def _is_remote(value):
    return isinstance(value, str | list) and any(
        map(remote_files.is_remote, _split(value))
    )


def _to_urls(value):
    if isinstance(value, list):
        return [_to_urls(part) for part in value]
    return remote_files.to_urls(value) if isinstance(value, str) else value


def _map(value, localize):
    paths = [localize(p) if remote_files.is_remote(p) else p for p in _split(value)]
    return paths if isinstance(value, list) else ",".join(paths)


def _describe_needs(flag_values):
    """Returns the options of `Input` that follow from the flags."""
    given = {
        name
        for name in _NEEDING_ALL.split()
        if name in flag_values and flag_values[name].value
    }
    return {"needs_all": bool(given), "may_come": "eval_interval_secs" in given}


def _is_chief(flag_values):
    """Whether this process is the one that saves checkpoints."""
    numbers = [value for value in flag_values["task"].value if value.isdigit()]
    if any(map(int, numbers)):
        return False
    if not os.environ.get("TF_CONFIG"):
        return True
    from deployment.cluster import read_task  # Loads TensorFlow.

    task = read_task(os.environ)
    if task is not None and task.is_evaluator:
        raise ValueError(
            "An evaluator follows checkpoints in a folder that it shares with the "
            "chief: give a --train_dir that all machines mount, or have the workers "
            "validate (--validate_on=workers)."
        )
    return task is None or task.is_chief
