"""Stores decoded images by key, in memory or in a file.

A store never fails while it is used: an image that cannot be kept or read back is one
that is not there.
"""

import atexit
import contextlib
import fcntl
import logging
import os
import threading
import weakref

import numpy as np

_INDEX, _PIXELS = "index.npz", "pixels.bin"
# The index is written when the images have grown by this part, and at the end.
_GROWTH = 0.25
_LEAST_NEW = 64
# TensorFlow uses the memory of arrays that are aligned like this without copying them.
_ALIGNMENT = 64


class MemoryStore:
    """Images in memory.

    Args:
      max_bytes: of pixels; images beyond it are not kept.
    """

    def __init__(self, max_bytes: int):
        self.max_bytes = max_bytes
        self._num_bytes = 0
        self._images = {}
        self._lock = threading.Lock()

    def find(self, key: int) -> np.ndarray | None:
        """Returns a copy of an image, which the caller may change; None if missing."""
        image = self._images.get(key)
        if image is None:
            return None
        copy = _allocate(image.shape)
        copy[...] = image
        return copy

    def add(self, key: int, image: np.ndarray) -> None:
        """Keeps a copy of an image, uint8 [height, width, channels]."""
        with self._lock:
            if key in self._images:
                return
            if self._num_bytes + image.nbytes > self.max_bytes:
                _warn_full(self)
                return
            self._images[key] = image.copy()
            self._num_bytes += image.nbytes


class FileStore:
    """Images in a file that the next run uses as well.

    The pixels are synced before the index that names them is replaced, so whatever the
    index names is whole. Without a matching index the file is written again.

    Args:
      folder: holds the file and its index; created if need be.
      fingerprint: identifies the data and the decoder; the images of another one are
        dropped.
      max_bytes: of pixels; images beyond it are not kept.

    Raises:
      OSError: if the folder cannot be written.
    """

    def __init__(self, folder: str, fingerprint: str, max_bytes: int):
        self._folder = folder
        self._fingerprint = fingerprint
        self.max_bytes = max_bytes
        self._lock = threading.Lock()
        self._file = -1
        self._is_writer = False
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(folder, _PIXELS)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        self._is_writer = _try_lock(self._file)
        self._places, self._num_bytes = self._load_index()
        self._num_committed = len(self._places)
        if self._is_writer:
            os.ftruncate(self._file, self._num_bytes)
            atexit.register(_close_if_alive, weakref.ref(self))

    def __del__(self) -> None:
        self.close()

    @property
    def num_bytes(self) -> int:
        """Bytes of pixels in the file."""
        return self._num_bytes

    def find(self, key: int) -> np.ndarray | None:
        """Returns an image, which the caller may change; None if missing."""
        place = self._places.get(key)
        if place is None:
            return None
        position, *shape = place
        image = _allocate(shape)
        try:
            count = os.preadv(self._file, [image.reshape(-1)], position)
        except OSError:
            return None
        return image if count == image.nbytes else None

    def add(self, key: int, image: np.ndarray) -> None:
        """Writes an image, uint8 [height, width, channels]; commits now and then."""
        with self._lock:
            if key in self._places or not self._is_writer:
                return
            if self._num_bytes + image.nbytes > self.max_bytes:
                _warn_full(self)
                return
            try:
                self._write(image)
                self._places[key] = (self._num_bytes, *image.shape)
                self._num_bytes += image.nbytes
                new = len(self._places) - self._num_committed
                if new >= max(_LEAST_NEW, _GROWTH * self._num_committed):
                    self._commit()
            except OSError as error:
                self._is_writer = False
                logging.warning(
                    "The cache in %r takes no more images: %s.",
                    self._folder,
                    error.strerror,
                )

    def commit(self) -> None:
        """Makes the images so far durable, for the next run."""
        with self._lock:
            if self._is_writer and len(self._places) > self._num_committed:
                self._commit()

    def close(self) -> None:
        """Commits and closes the file; afterwards no image is found."""
        with contextlib.suppress(OSError):
            self.commit()
        with self._lock:
            self._is_writer = False
            self._places = {}
            if self._file >= 0:
                os.close(self._file)
            self._file = -1

    def _write(self, image: np.ndarray) -> None:
        rest, position = memoryview(image.tobytes()), self._num_bytes
        while rest:
            count = os.pwrite(self._file, rest, position)
            rest, position = rest[count:], position + count

    def _commit(self) -> None:
        os.fsync(self._file)
        path = os.path.join(self._folder, _INDEX)
        partial = os.path.join(self._folder, f".{_INDEX}.partial")
        with open(partial, "wb") as file:
            np.savez(
                file,
                fingerprint=np.array(self._fingerprint),
                num_bytes=np.array(self._num_bytes),
                keys=np.array(list(self._places), np.int64),
                places=np.array(list(self._places.values()), np.int64),
            )
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        _sync_folder(self._folder)
        self._num_committed = len(self._places)

    def _load_index(self) -> tuple[dict[int, tuple[int, ...]], int]:
        """Returns the places of the images and the bytes of pixels that they take."""
        path = os.path.join(self._folder, _INDEX)
        if not os.path.exists(path):
            return {}, 0
        try:
            with np.load(path, allow_pickle=False) as index:
                is_same = str(index["fingerprint"]) == self._fingerprint
                num_bytes = int(index["num_bytes"])
                places = dict(
                    zip(
                        index["keys"].tolist(),
                        map(tuple, index["places"].tolist()),
                        strict=True,
                    )
                )
        except Exception as error:  # NumPy and zipfile raise many kinds.
            return self._start_again(f"its index cannot be read ({error})")
        if not is_same:
            return self._start_again("the dataset or the decoder has changed")
        size = os.fstat(self._file).st_size
        if size < num_bytes:
            return self._start_again(f"it was cut to {size} of {num_bytes} bytes")
        return places, num_bytes

    def _start_again(self, reason: str) -> tuple[dict, int]:
        logging.warning(
            "The cache of decoded images in %r is written again: %s.",
            self._folder,
            reason,
        )
        if self._is_writer:
            os.remove(os.path.join(self._folder, _INDEX))
            _sync_folder(self._folder)
        return {}, 0


def _allocate(shape: tuple[int, ...]) -> np.ndarray:
    """Returns a uint8 array that TensorFlow takes over without copying it."""
    size = int(np.prod(shape))
    buffer = np.empty(size + _ALIGNMENT, np.uint8)
    begin = -buffer.ctypes.data % _ALIGNMENT
    return buffer[begin : begin + size].reshape(shape)


def _try_lock(file: int) -> bool:
    """Returns whether this process may write; another one may be doing so."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):  # Some file systems cannot sync folders.
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _close_if_alive(reference: "weakref.ref[FileStore]") -> None:
    store = reference()
    if store is not None:
        store.close()


_warned = weakref.WeakSet()


def _warn_full(store: MemoryStore | FileStore) -> None:
    """Logs once per store that it takes no more images."""
    if store not in _warned:
        _warned.add(store)
        logging.warning(
            "The cache of decoded images is full: the images beyond it are decoded in "
            "every epoch."
        )
