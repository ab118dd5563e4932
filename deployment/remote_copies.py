"""Local copies of what a command reads, of what it writes, and of a run.

What is in a store is whole at all times, however a command ends: a checkpoint's data
are sent first, then its index, then the other files in the order in which they were
written; files are removed last. So a run resumes from a store as it does from a folder
in which it was killed.
"""

import contextlib
import hashlib
import os
import re
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from absl import logging

import remote_files
from remote_files.copies import Copy, Known
from remote_files.store import ChangedError, Entry, RemoteError, Store

_Result = TypeVar("_Result")
_RUN_CARD, _STATE = "run.json", "checkpoint"
# Read beside, or above, the file or folder that is asked for.
_COMPANIONS = {_RUN_CARD, _STATE, "labels.txt", "SHA256SUMS"}
# Folders of a run with models of it, see `run_card.find`.
_BELOW_A_RUN = {"best", "export", "saved_model"}
_MAX_DEPTH_BELOW = 4
_READ_WHEN_WRITING = re.compile(r".*\.(json|txt)|checkpoint|SHA256SUMS")
_CHECKPOINT_PART = re.compile(r"(.+-(\d+))\.(index|meta|data-\d+-of-\d+)")
_EVENTS = re.compile(r".*\.tfevents\..*")
_ATTEMPTS = 3
_LEFT_OUT = -1  # As a `Known.mtime_ns`: in the store only, and to stay there.


class Input:
    """A model, or anything else to read, with the files beside it that belong to it.

    Args:
      url: a file, a folder, or the prefix of a checkpoint.
      root: an empty local folder.
      needs_all: whether more than the newest checkpoint of a run, and the best, is
        needed.
      may_come: whether it may not exist yet, see `refresh`.

    Raises:
      ValueError: if there is no such file or folder.
      RemoteError: if it cannot be fetched.
    """

    def __init__(
        self, url: str, root: str, needs_all: bool = False, may_come: bool = False
    ) -> None:
        url = url.rstrip("/")
        run = _find_run(url)
        base = run or _get_parent(url)
        self._copy = Copy(base, root)
        self._own = url[len(base) :].strip("/")
        self._is_run, self._needs_all = bool(run), needs_all or not run
        self.path = self._copy.get_path(self._own) if self._own else self._copy.folder
        if not self.refresh() and not may_come:
            raise ValueError(f"There is no file or folder {url!r}.")

    def refresh(self) -> int:
        """Fetches what is new; returns the number of files that there are."""
        return _try_again(self._refresh)

    def _refresh(self):
        listing, own = self._list(), self._own
        found = {
            name: entry
            for name, entry in listing.items()
            if not own or name == own or name.startswith((f"{own}/", f"{own}."))
        }
        companions = {n: e for n, e in listing.items() if _is_companion(n, own)}
        self._copy.prune(listing)
        self._copy.fetch(self._leave_out(found) | companions)
        return len(found)

    def _leave_out(self, found: dict[str, Entry]) -> dict[str, Entry]:
        """Returns the files that are needed."""
        others = {} if self._needs_all else _list_others(self._copy.store, found)
        return {
            name: entry
            for name, entry in found.items()
            if name not in others
            and not _EVENTS.fullmatch(name)
            and not (self._is_run and not self._own and name.startswith("export/"))
        }

    def send(self) -> None:
        """Sends what was written beside the model, such as results of an evaluation."""
        _send_changed(self._copy)

    def _list(self) -> dict[str, Entry]:
        """Returns the listing of the folder, or of the part that may be needed."""
        store = self._copy.store
        if not self._own or "/" in self._own:  # In a run.
            return store.list()
        below = _list_below(f"{self._copy.url}/{self._own}", self._own)
        if not below:  # The prefix of a checkpoint.
            return store.list(depth=1)
        beside = {name: store.find(name) for name in sorted(_COMPANIONS)}
        return {name: entry for name, entry in beside.items() if entry} | below


class Output:
    """A file or folder to write, whose predecessors a command finds by their names.

    Args:
      url: the file, the folder, or the prefix of a checkpoint.
      root: an empty local folder.
    """

    def __init__(self, url: str, root: str) -> None:
        url = url.rstrip("/")
        base = _get_parent(url)
        own = url[len(base) :].strip("/")
        listing = _list_below(url, own)
        self._copy = Copy(base, root)
        self.path = self._copy.get_path(own) if own else self._copy.folder
        for name, entry in self._copy.store.list(depth=1).items():
            if name in (own, _STATE) or name.startswith(f"{own}."):
                listing[name] = entry
        read = {n: e for n, e in listing.items() if _is_read(n)}
        self._copy.fetch(read)
        for name in listing.keys() - read.keys():
            self._copy.stand_in(name, listing[name])

    def send(self) -> None:
        """Sends what was written, and removes from the store what was removed here.

        Raises:
          RemoteError: if that fails; the local files stay.
        """
        _send_changed(self._copy)
        _remove_missing(self._copy)


class Run:
    """A training folder: resumed from, and sent after each checkpoint.

    Args:
      url: the folder.
      root: the local folder of this run's copy. What an earlier process could not send
        is still there.

    Raises:
      RemoteError: if it cannot be fetched.
    """

    def __init__(self, url: str, root: str) -> None:
        self._copy = Copy(url, root)
        self._mark = os.path.join(root, "fetched")
        self.has_failed = False
        if os.path.exists(self._mark) and _has_moved_on(self._copy):
            aside = f"{root}.{int(time.time())}"
            os.rename(root, aside)
            logging.warning(
                "%s was continued elsewhere: what this machine had not sent stays "
                "below %s.", url, aside,
            )  # fmt: skip
            self._copy = Copy(url, root)
        if os.path.exists(self._mark):
            logging.info("Continuing %s with the files that were not sent yet.", url)
        else:
            _try_again(self._fetch)
        self.path = self._copy.folder

    def _fetch(self) -> None:
        copy = self._copy
        listing = copy.store.list()
        left_out = _list_others(copy.store, listing)
        for name, is_after in left_out.items():
            # Of an upload that was interrupted: it is removed with the next one.
            mtime = 0 if is_after else _LEFT_OUT
            copy.known[name] = Known(listing[name].tag, 0, mtime)
        copy.fetch(
            {
                name: entry
                for name, entry in listing.items()
                if name not in left_out and not _EVENTS.fullmatch(name)
            }
        )
        with open(self._mark, "w"):
            pass

    def drop(self, folder: str, name: str) -> None:
        """Has a checkpoint removed that was left in the store."""
        start = os.path.relpath(os.path.join(folder, name), self.path)
        for file, known in list(self._copy.known.items()):
            match = _CHECKPOINT_PART.fullmatch(file)
            if match and match[1] == start and known.mtime_ns == _LEFT_OUT:
                self._copy.known[file] = Known(known.tag, 0, 0)

    def send(self) -> None:
        """Sends what is new here, and removes from the store what was removed here.

        Raises:
          RemoteError: if that fails, or another process has continued the run. What is
            here stays.
        """
        copy = self._copy
        try:
            if _has_moved_on(copy):
                raise RemoteError(
                    f"{copy.url!r} was changed by another process, which seems to "
                    "train there, too: end one of them."
                )
            _send_changed(copy)
            _remove_missing(copy)
        except RemoteError as error:
            self.has_failed = True
            raise RemoteError(
                f"{error} Nothing is lost: the run is whole in this machine's "
                f"{copy.root!r}, from where the same command continues it."
            ) from error


def get_key(url: str) -> str:
    """Returns a file name that stands for a URL."""
    return hashlib.sha256(url.rstrip("/").encode()).hexdigest()[:16]


def _try_again(call: Callable[[], _Result]) -> _Result:
    """Calls again if a running training has removed or replaced what was listed."""
    for _ in range(_ATTEMPTS - 1):
        with contextlib.suppress(ChangedError):
            return call()
    return call()


def _get_parent(url: str) -> str:
    """Returns the folder of a URL; that of a whole bucket is itself."""
    scheme, rest = remote_files.split_url(url)
    folder = rest.rpartition("/")[0]
    return f"{scheme}://{folder}" if folder.strip("/") else url


def _find_run(url: str) -> str | None:
    """Returns the training folder that a URL is in or is; None if it is in none."""
    folder, child = url, None
    for _ in range(_MAX_DEPTH_BELOW):
        is_own = child in (None, url) or child.rpartition("/")[2] in _BELOW_A_RUN
        if is_own and Store(folder).find(_RUN_CARD):
            return folder
        folder, child = _get_parent(folder), folder
        if folder == child:
            break
    return None


def _list_below(url: str, own: str) -> dict[str, Entry]:
    """Returns the files that a URL is or has below it.

    Their names are relative to the folder in which its own name is `own`.
    """
    return {
        f"{own}/{name}".strip("/"): entry for name, entry in Store(url).list().items()
    }


def _list_others(store: Store, names: Iterable[str]) -> dict[str, bool]:
    """Returns the files of all checkpoints of a run but its newest, in any folder.

    All in a folder `best` are needed, and so are those in a folder without the file
    `checkpoint`.

    Returns:
      File name to whether its step is after the newest checkpoint's.
    """
    names, others = list(names), {}
    for state in (n for n in names if n.rpartition("/")[2] == _STATE):
        folder = state.removesuffix(_STATE)
        content = (store.read(state) or b"").decode(errors="replace")
        newest = re.search(
            r'^model_checkpoint_path: "(?:.*/)?(.+-(\d+))"', content, re.M
        )
        if newest is None or folder.endswith("best/"):
            continue
        for name in names:
            part = _CHECKPOINT_PART.fullmatch(name)
            is_here = part and part[1].rpartition("/")[0] == folder.rstrip("/")
            if is_here and part[1] != folder + newest[1]:
                others[name] = int(part[2]) > int(newest[2])
    return others


def _is_companion(name: str, own: str) -> bool:
    """Whether a file belongs to everything in its folder and below, such as `own`."""
    folder, _, base = name.rpartition("/")
    return base in _COMPANIONS and (not folder or f"{own}/".startswith(f"{folder}/"))


def _is_read(name: str) -> bool:
    return _READ_WHEN_WRITING.fullmatch(name.rpartition("/")[2]) is not None


def _has_moved_on(copy: Copy) -> bool:
    """Whether another process has written to a run since this copy was made."""
    for name in (_STATE, _RUN_CARD):
        entry, known = copy.store.find(name), copy.known.get(name)
        if (entry and entry.tag) == (known and known.tag):
            continue
        try:
            with open(copy.get_path(name), "rb") as file:
                own = file.read()
        except FileNotFoundError:
            own = None
        # An upload may have been interrupted before its success was noted.
        if copy.store.read(name) != own:
            return True
    return False


def _send_changed(copy: Copy) -> None:
    try:
        for name in sorted(copy.list_changed(), key=lambda n: _get_place(copy, n)):
            copy.send(name)
    finally:
        copy.save()


def _get_place(copy: Copy, name: str) -> tuple[int, int]:
    """Returns when to send a file, in comparison with others."""
    if name.endswith(".index"):
        return 1, 0
    is_part = _CHECKPOINT_PART.fullmatch(name) is not None
    return (0, 0) if is_part else (2, os.stat(copy.get_path(name)).st_mtime_ns)


def _remove_missing(copy: Copy) -> None:
    missing = [
        name
        for name, known in copy.known.items()
        if known.mtime_ns != _LEFT_OUT and not os.path.exists(copy.get_path(name))
    ]
    try:
        # Without its index, the rest is not a checkpoint.
        for name in sorted(missing, key=lambda name: not name.endswith(".index")):
            copy.store.remove(name)
            copy.forget(name)
    finally:
        copy.save()
