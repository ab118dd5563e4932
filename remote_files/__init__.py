"""Files in the stores that fsspec reaches, such as S3, through local copies.

    copy = Copy("s3://bucket/data", "/home/me/.cache/a")
    copy.fetch()
    os.listdir(copy.folder)

Everything else in this project works on local folders. A `Copy` is such a folder, with
the files of a remote one, or some of them. `to_urls` puts the URLs back into messages.
This package does not import TensorFlow, and fsspec only for a URL.
"""

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator

_URL = re.compile(r"([a-z][a-z0-9+.-]*)://(.*)", re.DOTALL)
_urls: dict[str, str] = {}  # Local folder to URL.


def is_remote(path: str | None) -> bool:
    """Returns whether a path is a URL."""
    return bool(path) and _URL.match(path) is not None


def to_urls(text: str) -> str:
    """Returns text with the URLs of the local copies in it."""
    if not _urls:
        return text
    folders = sorted(map(re.escape, _urls), key=len, reverse=True)
    pattern = rf"({'|'.join(folders)})(?![\w.-]*\w)"
    return re.sub(pattern, lambda match: _urls[match[1]], text)


def get_absolute(path: str) -> str:
    """Returns the absolute path of a local path, and a URL as it is."""
    return path if is_remote(path) else os.path.abspath(path)


def get_cache_folder() -> str:
    """Returns the folder for local copies; it is created if need be."""
    parent = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = os.path.join(os.path.abspath(parent), "slim-image-classifier", "remote")
    os.makedirs(folder, exist_ok=True)
    return folder


@contextlib.contextmanager
def lock(path: str, wait: bool) -> Iterator[None]:
    """Within, no other process of this machine holds the lock file.

    Raises:
      BlockingIOError: if another process holds it, unless `wait`.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(descriptor)


def split_url(url: str) -> tuple[str, str]:
    """Returns the scheme of a URL and what follows it."""
    return _URL.match(url).groups()


def set_url(folder: str, url: str) -> None:
    """Has `to_urls` replace a local folder by the URL that it is the copy of."""
    _urls[folder] = url
