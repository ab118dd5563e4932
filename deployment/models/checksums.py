"""Checksums of exported models, in a file `SHA256SUMS` in their folder.

Most formats of models have no checksum of their own: a damaged file loads and predicts
something else. The file is that of the program sha256sum, so that
`sha256sum -c SHA256SUMS` verifies it as well.
"""

import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence

from deployment import files
from tf_slim_compat import tf

FILE_NAME = "SHA256SUMS"
# A path with a newline or a backslash, which sha256sum would escape, is not ours.
_LINE = re.compile(r"(?P<digest>[0-9a-f]{64}) [ *](?P<name>[^\\]+)")
_BLOCK_BYTES = 2**20


def write(folder: str, names: Iterable[str]) -> None:
    """Writes the checksums of some files, and keeps those of the others.

    Args:
      folder: the folder of the exported files.
      names: names of files and folders in it. Those that do not exist are left out.

    Raises:
      OSError: if a file cannot be read or written.
    """
    names = list(names)
    sums = _read_others(folder, names)
    for name in names:
        for found in _list_files(folder, name):
            sums[found] = _compute(os.path.join(folder, found))
    _write(folder, sums)


def forget(folder: str, names: Iterable[str]) -> None:
    """Removes the checksums of files and folders that are about to be replaced.

    Raises:
      OSError: if the checksums cannot be written.
    """
    sums = _read_others(folder, list(names))
    if sums != read(folder):
        _write(folder, sums)


def verify(path: str) -> None:
    """Verifies a file, or the files of a folder, as far as their checksums are known.

    Raises:
      ValueError: if a file was changed or is missing.
    """
    folder, own = os.path.split(os.path.abspath(path) if "://" not in path else path)
    for name, digest in read(folder).items():
        if not _is_part(name, own):
            continue
        if not _is_whole(folder, name, digest):
            found = os.path.join(folder, name)
            is_there = tf.gfile.Exists(found)
            raise ValueError(
                f"{found!r} is {'damaged or was changed' if is_there else 'missing'} "
                f"since its export, according to {FILE_NAME} beside it: export it "
                f"again, or remove its line from {FILE_NAME} to use it all the same."
            )


def is_whole(folder: str, sums: Mapping[str, str]) -> bool:
    """Returns whether the files with these checksums are there, and as they were.

    Args:
      folder: the folder of the exported files.
      sums: what `read` returned then.
    """
    return all(_is_whole(folder, *item) for item in sums.items())


def read(folder: str) -> dict[str, str]:
    """Returns file name to SHA-256, in hexadecimal digits; none without the file.

    Lines of another form are left out.
    """
    path = os.path.join(folder, FILE_NAME)
    if not tf.gfile.Exists(path) or tf.gfile.IsDirectory(path):
        return {}
    with tf.gfile.Open(path, "rb") as file:
        lines = file.read().decode(errors="replace").splitlines()
    matches = filter(None, map(_LINE.fullmatch, lines))
    return {match["name"].removeprefix("./"): match["digest"] for match in matches}


def _is_whole(folder: str, name: str, digest: str) -> bool:
    path = os.path.join(folder, name)
    is_there = tf.gfile.Exists(path) and not tf.gfile.IsDirectory(path)
    return is_there and _compute(path) == digest


def _write(folder: str, sums: Mapping[str, str]) -> None:
    lines = (f"{digest}  {name}\n" for name, digest in sorted(sums.items()))
    files.write_text(os.path.join(folder, FILE_NAME), "".join(lines))


def _read_others(folder: str, names: Sequence[str]) -> dict[str, str]:
    sums = read(folder).items()
    return {k: v for k, v in sums if not any(_is_part(k, name) for name in names)}


def _is_part(name: str, whole: str) -> bool:
    return name == whole or name.startswith(f"{whole}/")


def _list_files(folder: str, name: str) -> list[str]:
    path = os.path.join(folder, name)
    if not tf.gfile.IsDirectory(path):
        return [name] if tf.gfile.Exists(path) else []
    inner = (
        f"{name}/{part.rstrip('/')}" for part in sorted(tf.gfile.ListDirectory(path))
    )
    return [found for part in inner for found in _list_files(folder, part)]


def _compute(path: str) -> str:
    digest = hashlib.sha256()
    with tf.gfile.Open(path, "rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
