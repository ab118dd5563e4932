"""Downloads files and unpacks archives.

An archive is not trusted: nothing is written outside the folder, and what it unpacks to
is limited. This module does not import TensorFlow.
"""

import contextlib
import http.client
import os
import shutil
import sys
import tarfile
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Iterator

from tqdm import tqdm

# Images hardly shrink in an archive; text does, by a tenth of this.
_MOST_GROWTH = 100
_UNLIMITED_BYTES = 100 * 2**20


def download_url(url: str, dataset_dir: str) -> str:
    """Downloads a file into a folder, with a progress bar on a terminal.

    Args:
      url: its last part becomes the name of the file.
      dataset_dir: an existing folder.

    Returns:
      The path of the file.

    Raises:
      OSError: if the download fails; no partial file is left.
    """
    name = urllib.parse.unquote(urllib.parse.urlparse(url).path).rsplit("/", 1)[-1]
    path = os.path.join(dataset_dir, name)
    partial_path = path + ".partial"
    try:
        with urllib.request.urlopen(url) as source, open(partial_path, "wb") as target:
            size = int(source.headers.get("Content-Length") or 0)
            hidden = not sys.stderr.isatty()
            with tqdm.wrapattr(
                source, "read", total=size or None, desc=name, disable=hidden
            ) as watched:
                shutil.copyfileobj(watched, target)
            if size and target.tell() != size:
                raise OSError(f"received only {target.tell()} of {size} bytes")
        os.replace(partial_path, path)
    except (OSError, http.client.HTTPException) as error:
        raise OSError(
            f"Cannot download {url} into {dataset_dir!r}: {error}."
        ) from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(partial_path)
    return path


def download_and_uncompress_tarball(tarball_url: str, dataset_dir: str) -> None:
    """Downloads a tar archive, compressed or not, and unpacks it into the folder.

    Raises:
      OSError: if the archive cannot be downloaded, is damaged, has members that would
        lie outside the folder, or would unpack to far more than its size.
    """
    path = download_url(tarball_url, dataset_dir)
    total = 0

    def check(member, folder):
        nonlocal total
        total += member.size
        _check_growth(path, total)
        return tarfile.data_filter(member, folder)

    with _naming_damage(path), tarfile.open(path) as archive:
        archive.extractall(dataset_dir, filter=check)


def download_and_uncompress_zipfile(zip_url: str, dataset_dir: str) -> None:
    """Downloads a zip archive and unpacks it into the folder.

    Raises:
      OSError: as for `download_and_uncompress_tarball`, or if the archive is encrypted
        or compressed by an unknown method.
    """
    path = download_url(zip_url, dataset_dir)
    with _naming_damage(path), zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        _check_growth(path, sum(member.file_size for member in members))
        for member in members:
            parts = member.filename.replace("\\", "/").split("/")
            if parts[0] == "" or parts[0].endswith(":") or os.pardir in parts:
                raise ValueError(f"{member.filename!r} would lie outside the folder")
        archive.extractall(dataset_dir)


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
