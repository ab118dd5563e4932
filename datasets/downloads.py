"""Downloads files and unpacks archives.

An archive is not trusted: nothing is written outside the folder, and what it unpacks to
is limited. This module does not import TensorFlow.
"""

import contextlib
import hashlib
import http.client
import os
import shutil
import sys
import tarfile
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Iterator

from tqdm import tqdm

# Images hardly shrink in an archive; text does, by a tenth of this.
_MOST_GROWTH = 100
_UNLIMITED_BYTES = 100 * 2**20
_TIMEOUT_SECS = 60
_CHUNK_BYTES = 1 << 22


def download_url(url: str, dataset_dir: str, resume: bool = False) -> str:
    """Downloads a file into a folder, with a progress bar on a terminal.

    Args:
      url: its last part becomes the name of the file.
      dataset_dir: an existing folder.
      resume: whether a download that breaks off leaves what it has, and the next one
        continues there. Otherwise nothing is left.

    Returns:
      The path of the file.

    Raises:
      OSError: if the download fails.
    """
    path = os.path.join(dataset_dir, get_file_name(url))
    partial_path = path + ".partial"
    try:
        _download(url, partial_path, resume)
        os.replace(partial_path, path)
    except (OSError, http.client.HTTPException) as error:
        raise OSError(
            f"Cannot download {url} into {dataset_dir!r}: {error}."
        ) from error
    finally:
        if not resume:
            with contextlib.suppress(FileNotFoundError):
                os.remove(partial_path)
    return path


def get_file_name(url: str) -> str:
    """Returns the name of the file at an address."""
    return urllib.parse.unquote(urllib.parse.urlparse(url).path).rsplit("/", 1)[-1]


def compute_md5(path: str) -> str:
    """Returns the MD5 checksum of a file, as 32 hexadecimal digits."""
    digest = hashlib.md5(usedforsecurity=False)
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _download(url: str, path: str, resume: bool) -> None:
    """Downloads to a file, from its end on if `resume`."""
    done = os.path.getsize(path) if resume and os.path.exists(path) else 0
    headers = {"Range": f"bytes={done}-"} if done else {}
    request = urllib.request.Request(url, headers=headers)
    try:
        source = urllib.request.urlopen(request, timeout=_TIMEOUT_SECS)
    except urllib.error.HTTPError as error:
        if not done or error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        os.remove(path)  # It does not belong to what is there now.
        return _download(url, path, resume=False)
    with source, open(path, "ab" if source.status == 206 else "wb") as target:
        size = int(source.headers.get("Content-Length") or 0)
        if size:
            size += target.tell()
        hidden = not sys.stderr.isatty()
        with tqdm.wrapattr(
            source,
            "read",
            total=size or None,
            initial=target.tell(),
            desc=get_file_name(url),
            disable=hidden,
        ) as watched:
            shutil.copyfileobj(watched, target)
        if size and target.tell() != size:
            raise OSError(f"received only {target.tell()} of {size} bytes")


def download_and_uncompress_tarball(tarball_url: str, dataset_dir: str) -> None:
    """Downloads a tar archive, compressed or not, and unpacks it into the folder.

    Raises:
      OSError: if the archive cannot be downloaded, or as for `unpack_tarball`.
    """
    unpack_tarball(download_url(tarball_url, dataset_dir), dataset_dir)


def unpack_tarball(path: str, folder: str, allow_links: bool = True) -> None:
    """Unpacks a tar archive, compressed or not, into a folder.

    Args:
      path: the archive.
      folder: an existing folder.
      allow_links: whether members may be links to others.

    Raises:
      OSError: if the archive is damaged, has members that would lie outside the folder,
        or would unpack to far more than its size.
    """
    total = 0

    def check(member, folder):
        nonlocal total
        total += member.size
        _check_growth(path, total)
        if not allow_links and (member.issym() or member.islnk()):
            raise ValueError(f"{member.name!r} is a link")
        return tarfile.data_filter(member, folder)

    with _naming_damage(path), tarfile.open(path) as archive:
        archive.extractall(folder, filter=check)


def download_and_uncompress_zipfile(zip_url: str, dataset_dir: str) -> None:
    """Downloads a zip archive and unpacks it into the folder.

    Raises:
      OSError: if the archive cannot be downloaded, or as for `unpack_zipfile`.
    """
    unpack_zipfile(download_url(zip_url, dataset_dir), dataset_dir)


def unpack_zipfile(path: str, folder: str) -> None:
    """Unpacks a zip archive into a folder.

    Args:
      path: the archive.
      folder: an existing folder.

    Raises:
      OSError: as for `unpack_tarball`, or if the archive is encrypted or compressed by
        an unknown method.
    """
    with _naming_damage(path), zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        _check_growth(path, sum(member.file_size for member in members))
        for member in members:
            parts = member.filename.replace("\\", "/").split("/")
            if parts[0] == "" or parts[0].endswith(":") or os.pardir in parts:
                raise ValueError(f"{member.filename!r} would lie outside the folder")
        archive.extractall(folder)


def _check_growth(path: str, total: int) -> None:
    """Raises ValueError if an archive would unpack to suspiciously many bytes."""
    limit = max(_UNLIMITED_BYTES, _MOST_GROWTH * os.path.getsize(path))
    if total > limit:
        raise ValueError(
            f"it would unpack to more than {limit} bytes, {_MOST_GROWTH} times its size"
        )


@contextlib.contextmanager
def _naming_damage(path: str) -> Iterator[None]:
    try:
        yield
    # The modules raise a dozen kinds: struct.error, NotImplementedError, ...
    except Exception as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        reason = reason.splitlines()[0].rstrip(".")
        raise OSError(
            f"Cannot unpack {path!r} ({reason}): remove it and download it again, or "
            "unpack it yourself."
        ) from error
