"""A remote file or folder: listed, read, fetched and sent, with errors in one sentence.

The errors of each store are other ones; all become `RemoteError` here.
"""

import contextlib
import dataclasses
import datetime
import logging
import os
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import remote_files

_Result = TypeVar("_Result")
# Stores in which a file is there only once all of it is.
_ATOMIC = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oci", "oss", "memory"}
_CREDENTIALS = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
    "gs": "set GOOGLE_APPLICATION_CREDENTIALS, or run gcloud auth "
    "application-default login",
}
# What identifies the content of a file, in the terms of one store or another.
_TAGS = ("ETag", "etag", "generation", "mtime", "LastModified", "created")
_RETRY_AFTER_SECS = (1.0, 5.0)
# They report where credentials were found, and print tracebacks of what is raised.
_TALKATIVE = ("aiobotocore", "botocore", "fsspec", "gcsfs", "s3fs")
_LASTING = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)


class RemoteError(OSError):
    """A store cannot be used; the message is one sentence that names the URL."""


class ChangedError(RemoteError):
    """A file is gone, or another one than was listed."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """A remote file.

    Attributes:
      tag: changes when the content does.
      size: bytes.
    """

    tag: str
    size: int


class Store:
    """A remote file, or a folder with everything in it.

    Args:
      url: such as "s3://bucket/run".

    Raises:
      ValueError: if the scheme is unknown, or its package is missing.
      RemoteError: if the store cannot be reached.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/") if not url.endswith("://") else url
        self.scheme = remote_files.split_url(url)[0]
        self._fs, path = _connect(self.url, self.scheme)
        self._path = path.rstrip("/")

    def list(self, depth: int | None = None) -> dict[str, Entry]:
        """Returns relative name to `Entry`; the name of a file itself is "".

        Args:
          depth: 1 lists only the files directly in the folder.

        Raises:
          RemoteError: if it cannot be listed, or has a name that leads out of it.
        """

        def find():
            self._fs.invalidate_cache()
            return self._fs.find(self._path, maxdepth=depth, detail=True)

        found = {}
        for path, info in self._run(self.url, "listed", find).items():
            name = path[len(self._path) :].removeprefix("/")
            parts = name.split("/") if name else []
            if ".." in parts:
                raise RemoteError(f"{self.url!r} has a file with the name {name!r}.")
            is_mark = path.endswith("/")  # Of a folder.
            if not is_mark and not any(part.startswith(".") for part in parts):
                found[name] = Entry(_get_tag(info), int(info.get("size") or 0))
        return found

    def find(self, name: str) -> Entry | None:
        """Returns the entry of a file; None if there is none."""
        path = self._join(self._path, name)

        def look():
            self._fs.invalidate_cache()
            return _unless_missing(self._fs.info, path)

        info = self._run(self._join(self.url, name), "read", look)
        if info is None or info.get("type") == "directory":
            return None
        return Entry(_get_tag(info), int(info.get("size") or 0))

    def read(self, name: str) -> bytes | None:
        """Returns the content of a small file; None if there is none."""
        path = self._join(self._path, name)
        return self._run(
            self._join(self.url, name),
            "read",
            lambda: _unless_missing(self._fs.cat_file, path),
        )

    def fetch(self, name: str, size: int, target: str) -> None:
        """Downloads a file, which appears under its local name once it is complete.

        Raises:
          ChangedError: if it is gone, or has another size.
          RemoteError: if it cannot be read.
        """
        url, path = self._join(self.url, name), self._join(self._path, name)
        folder, base = os.path.split(target)
        os.makedirs(folder, exist_ok=True)
        partial = os.path.join(folder, f".{base}.{uuid.uuid4().hex}.partial")
        try:
            self._run(url, "fetched", lambda: self._fs.get_file(path, partial))
            found = os.path.getsize(partial)
            if found != size:
                raise ChangedError(
                    f"{url!r} has {found} bytes instead of {size}: it was changed "
                    "meanwhile; run the command again."
                )
            os.replace(partial, target)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.remove(partial)

    def send(self, source: str, name: str) -> Entry:
        """Uploads a file; the old one of that name is there until the new one is.

        Raises:
          RemoteError: if it cannot be written.
        """
        url, path = self._join(self.url, name), self._join(self._path, name)

        def put():
            if self.scheme in _ATOMIC:
                self._fs.put_file(source, path)
            else:
                folder, _, base = path.rpartition("/")
                self._fs.makedirs(folder, exist_ok=True)
                self._fs.put_file(source, f"{folder}/.{base}.partial")
                _replace(self._fs, f"{folder}/.{base}.partial", path)
            return self._fs.info(path)

        info = self._run(url, "written", put)
        return Entry(_get_tag(info), int(info.get("size") or 0))

    def remove(self, name: str) -> None:
        """Removes a file, if it exists."""
        path = self._join(self._path, name)
        self._run(
            self._join(self.url, name),
            "removed",
            lambda: _unless_missing(self._fs.rm_file, path),
        )

    @staticmethod
    def _join(folder: str, name: str) -> str:
        return f"{folder}/{name}" if name else folder

    def _run(self, url: str, what: str, call: Callable[[], _Result]) -> _Result:
        """Calls, and again after errors that may pass."""
        for wait_secs in (*_RETRY_AFTER_SECS, None):
            try:
                return call()
            except Exception as error:  # Each store has errors of its own.
                if wait_secs is None or _is_lasting(error):
                    is_gone = isinstance(error, FileNotFoundError)
                    kind = ChangedError if is_gone else RemoteError
                    raise kind(_explain(error, url, what)) from error
                logging.warning("%s Trying again.", _explain(error, url, what))
                time.sleep(wait_secs)
        raise AssertionError("unreachable")


def _connect(url: str, scheme: str) -> tuple[Any, str]:
    try:
        import fsspec
        from fsspec.registry import known_implementations as known
    except ImportError as error:
        raise ValueError(
            f"{url!r} needs the package fsspec: pip install -e '.[remote]'."
        ) from error
    if scheme not in known and scheme not in fsspec.available_protocols():
        raise ValueError(
            f"{url!r} has the unknown scheme {scheme}://: give a local path, or one "
            "that fsspec knows, such as s3://, gs:// or hdfs://."
        )
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        return fsspec.core.url_to_fs(url)
    except ImportError as error:
        hint = known.get(scheme, {}).get("err") or str(error)
        package = {"s3": "s3fs", "gs": "gcsfs", "hdfs": "pyarrow"}.get(scheme)
        how = f"pip install {package}" if package else hint
        raise ValueError(f"{url!r} needs another package: {how}.") from error
    except Exception as error:
        raise RemoteError(_explain(error, url, "opened")) from error


def _list_causes(error: BaseException | None) -> list[BaseException]:
    causes = []
    while error is not None and error not in causes:
        causes.append(error)
        error = error.__cause__ or error.__context__
    return causes


def _lacks_credentials(error: BaseException) -> bool:
    return any("Credential" in type(one).__name__ for one in _list_causes(error))


def _is_lasting(error: BaseException) -> bool:
    return isinstance(error, _LASTING) or _lacks_credentials(error)


def _explain(error: BaseException, url: str, what: str) -> str:
    """Returns the sentence about an error of a store."""
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    reason = reason.strip().splitlines()[0].rstrip(".")
    start = f"{url!r} cannot be {what}: "
    if _lacks_credentials(error):
        scheme = remote_files.split_url(url)[0]
        remedy = _CREDENTIALS.get(scheme, "see 'Remote folders' in docs/reference.md")
        return f"{start}there are no credentials for it ({reason}): {remedy}."
    if isinstance(error, PermissionError):
        return (
            f"{start}access is denied ({reason}): check the credentials, and what they "
            "permit."
        )
    if isinstance(error, FileNotFoundError):
        return f"{start}it does not exist ({reason}): check the URL."
    return f"{start}{reason}."


def _unless_missing(call: Callable[..., _Result], path: str) -> _Result | None:
    try:
        return call(path)
    except FileNotFoundError:
        return None


def _replace(fs: Any, source: str, target: str) -> None:
    """Renames a file; where that replaces none, the old one is removed first."""
    try:
        fs.mv(source, target)
    except FileExistsError:
        fs.rm_file(target)
        fs.mv(source, target)


def _get_tag(info: Mapping[str, Any]) -> str:
    tag = next((info[key] for key in _TAGS if info.get(key) is not None), "")
    return str(tag.timestamp() if isinstance(tag, datetime.datetime) else tag)
