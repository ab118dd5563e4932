"""Local folders with files of remote ones."""

import concurrent.futures
import contextlib
import dataclasses
import json
import logging
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping

import checked_json
import remote_files
from remote_files.store import Entry, RemoteError, Store

_THREADS = 8
_KNOWN_FILE = "known.json"
_SAVE_EVERY_SECS = 5.0


@dataclasses.dataclass(frozen=True)
class Known:
    """A file whose remote and local contents were the same.

    Attributes:
      tag: the remote file's tag at that time.
      size: bytes of the local file.
      mtime_ns: when the local file was last changed; 0 if it is empty in place of the
        remote one.
    """

    tag: str
    size: int
    mtime_ns: int


class Copy:
    """A local folder with files of a remote one.

    Args:
      url: the remote folder.
      root: a local folder for the copy and the list of what is known of its files.
    """

    def __init__(self, url: str, root: str) -> None:
        self.store = Store(url)
        self.url, self.root = self.store.url, root
        _, rest = remote_files.split_url(self.url)
        self.folder = os.path.join(root, self.store.scheme, *rest.strip("/").split("/"))
        os.makedirs(self.folder, exist_ok=True)
        remote_files.set_url(self.folder, self.url)
        self.known = self._load()

    def get_path(self, name: str) -> str:
        """Returns the local path of a file."""
        return os.path.join(self.folder, *name.split("/"))

    def fetch(self, listing: Mapping[str, Entry] | None = None) -> None:
        """Downloads files that are not here, or were changed since.

        Args:
          listing: the files, from `Store.list`; None for all.

        Raises:
          RemoteError: if one cannot be fetched, or the disk is too small.
        """
        listing = self.store.list() if listing is None else listing
        wanted = {n: e for n, e in listing.items() if not self._is_here(n, e)}
        self._check_space(sum(entry.size for entry in wanted.values()))
        if wanted:
            size = sum(entry.size for entry in wanted.values()) / 1e6
            logging.info(
                "Fetching %d files (%.1f MB) of %s.", len(wanted), size, self.url
            )
        try:
            with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
                jobs = [pool.submit(self._fetch_one, *item) for item in wanted.items()]
                self._finish(jobs)
        finally:
            self.save()

    def prune(self, listing: Mapping[str, Entry]) -> None:
        """Removes files that were fetched and are no longer listed in the store."""
        for name in sorted(self.known.keys() - listing.keys()):
            self.forget(name)
        self.save()

    def forget(self, name: str) -> None:
        """Removes a file here, but not in the store."""
        self.known.pop(name, None)
        with contextlib.suppress(FileNotFoundError):
            os.remove(self.get_path(name))

    def stand_in(self, name: str, entry: Entry) -> None:
        """Creates an empty file for one that need not be read, only be there."""
        path = self.get_path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        open(path, "wb").close()
        os.utime(path, ns=(0, 0))
        self.known[name] = Known(entry.tag, 0, 0)

    def list_changed(self) -> list[str]:
        """Returns the names of files that are not in the store as they are here."""
        return [
            name
            for name, path in _walk(self.folder)
            if (known := self.known.get(name)) is None
            or (known.size, known.mtime_ns) != _get_state(path)
        ]

    def send(self, name: str) -> None:
        """Uploads a file.

        Raises:
          RemoteError: if it cannot be written.
        """
        state = _get_state(self.get_path(name))
        entry = self.store.send(self.get_path(name), name)
        self.known[name] = Known(entry.tag, *state)

    def save(self) -> None:
        """Writes down what is known of the files."""
        path = os.path.join(self.root, _KNOWN_FILE)
        table = {name: dataclasses.astuple(one) for name, one in self.known.items()}
        with open(f"{path}.partial", "w") as file:
            json.dump(table, file)
        os.replace(f"{path}.partial", path)

    def _load(self):
        try:
            with open(os.path.join(self.root, _KNOWN_FILE), "rb") as file:
                table = checked_json.parse(file.read())
            table = checked_json.check(table, dict[str, tuple[str, int, int]])
        except (FileNotFoundError, ValueError):
            return {}
        return {name: Known(*one) for name, one in table.items()}

    def _is_here(self, name: str, entry: Entry) -> bool:
        known = self.known.get(name)
        with contextlib.suppress(FileNotFoundError):
            size = os.path.getsize(self.get_path(name))
            return known is not None and (known.tag, size) == (entry.tag, entry.size)
        return False

    def _fetch_one(self, name: str, entry: Entry) -> tuple[str, Known]:
        path = self.get_path(name)
        self.store.fetch(name, entry.size, path)
        return name, Known(entry.tag, *_get_state(path))

    def _finish(self, jobs: Iterable[concurrent.futures.Future]) -> None:
        saved = time.monotonic()
        try:
            for job in concurrent.futures.as_completed(jobs):
                name, known = job.result()
                self.known[name] = known
                if time.monotonic() - saved > _SAVE_EVERY_SECS:
                    self.save()
                    saved = time.monotonic()
        except BaseException:
            for job in jobs:
                job.cancel()
            raise

    def _check_space(self, needed: int) -> None:
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            raise RemoteError(
                f"The copy of {self.url!r} needs {needed / 1e9:.1f} GB, but "
                f"{self.root!r} has {free / 1e9:.1f} GB: set XDG_CACHE_HOME to a "
                "folder on a larger disk."
            )


def _get_state(path: str) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_size, found.st_mtime_ns


def _walk(folder: str) -> Iterator[tuple[str, str]]:
    """Yields name and path of the files in a folder that are not hidden, sorted."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = os.path.join(place, name)
            if not name.startswith(".") and os.path.isfile(path):
                yield os.path.relpath(path, folder), path
