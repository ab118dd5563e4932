"""Keeps features and labels of images on disk, row by row, for this and later runs.

A folder holds `features.bin`, with a row for each image, and `digests.txt`, with a line
for each chunk of rows that is complete and durable. What a kill, a full disk or damage
leaves is found by the digests: the rows from there on are computed again.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence

import numpy as np
from absl import logging

from deployment import files
from deployment.config_flags import SettingError
from deployment.text import format_bytes

_ROWS, _DIGESTS, _LOCK = "features.bin", "digests.txt", ".lock"


class FeatureStore:
    """Rows of features with their labels, in a folder.

    Args:
      folder: it is created if need be.
      num_rows: the number of rows when it is complete.
      rows_per_chunk: the number of rows that are written at a time.
      num_values: the number of features in a row, float32.
      label_dtype: the type of a label.
      label_shape: the shape of a label.
    """

    def __init__(
        self,
        folder: str,
        num_rows: int,
        rows_per_chunk: int,
        num_values: int,
        label_dtype: str,
        label_shape: Sequence[int] = (),
    ):
        self.folder = folder
        self.num_rows = num_rows
        self.rows_per_chunk = rows_per_chunk
        self.num_values = num_values
        self._row = np.dtype(
            [
                ("features", np.float32, (num_values,)),
                ("label", label_dtype, tuple(label_shape)),
            ]
        )

    @property
    def num_bytes(self) -> int:
        """The size of the file when it is complete."""
        return self.num_rows * self._row.itemsize

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Within, no other process writes here; waits until that is so.

        Raises:
          OSError: if the folder cannot be written.
        """
        files.make_folder(self.folder)
        path = os.path.join(self.folder, _LOCK)
        files.append_text(path, "", is_durable=False)
        with open(path, "rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                logging.info("Another process computes the same features: waiting.")
                fcntl.flock(file, fcntl.LOCK_EX)
            except OSError:
                pass  # Not every file system has locks.
            yield

    def recover(self) -> int:
        """Drops rows that are damaged or incomplete, and all after them.

        Returns:
          The number of rows that there are; a multiple of `rows_per_chunk`, or
          `num_rows`.
        """
        listed = (files.read_text(self._path(_DIGESTS)) or "").splitlines()
        whole = []
        for digest, chunk in zip(listed, self._read_chunks(), strict=False):
            if digest != _digest(chunk):
                break
            whole.append(digest)
        count = min(len(whole) * self.rows_per_chunk, self.num_rows)
        if len(whole) < len(listed):
            logging.warning(
                "The cached features in %r are damaged from row %d on: they are "
                "computed again.",
                *(self.folder, count),
            )
        if count < self.num_rows:
            files.write_text(self._path(_DIGESTS), "".join(f"{d}\n" for d in whole))
            with open(self._path(_ROWS), "ab") as file:
                file.truncate(count * self._row.itemsize)
        return count

    def check_space(self, num_written: int) -> None:
        """Checks that the disk has room for the rows that are missing.

        Args:
          num_written: the number of rows that there are.

        Raises:
          ValueError: if it has not.
        """
        needed = (self.num_rows - num_written) * self._row.itemsize
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            raise SettingError(
                f"The features take {format_bytes(needed)}, but the disk of "
                f"{self.folder!r} has {format_bytes(free)}: set XDG_CACHE_HOME to a "
                "folder on a larger disk, or use a smaller {{feature_copies}}, where 0 "
                "keeps none."
            )

    def append(self, features: np.ndarray, labels: np.ndarray) -> None:
        """Appends a chunk of rows, and makes it durable.

        Args:
          features: float32 [rows, num_values].
          labels: [rows, ...].

        Raises:
          OSError: if it cannot be written.
        """
        rows = np.empty(len(features), self._row)
        rows["features"], rows["label"] = features, labels
        path, content = self._path(_ROWS), rows.tobytes()
        try:
            with open(path, "ab") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise OSError(f"{path!r} cannot be written: {error.strerror}.") from error
        files.append_text(self._path(_DIGESTS), f"{_digest(content)}\n")

    def open(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns features and labels of all rows, read from the file when needed."""
        rows = np.memmap(self._path(_ROWS), self._row, "r", shape=(self.num_rows,))
        return rows["features"], rows["label"]

    def _read_chunks(self):
        """Generates the bytes of the chunks in the file, whole ones only."""
        if not os.path.exists(self._path(_ROWS)):
            return
        with open(self._path(_ROWS), "rb") as file:
            for first in range(0, self.num_rows, self.rows_per_chunk):
                count = min(self.rows_per_chunk, self.num_rows - first)
                chunk = file.read(count * self._row.itemsize)
                if len(chunk) < count * self._row.itemsize:
                    return
                yield chunk

    def _path(self, name):
        return os.path.join(self.folder, name)


def _digest(chunk: bytes) -> str:
    return hashlib.blake2b(chunk, digest_size=16).hexdigest()
