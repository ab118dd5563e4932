"""Finds identical images under different labels, and in several splits.

This module does not import TensorFlow.
"""

import hashlib
import os

from datasets.image_source import SourceImage

_DIGEST_BYTES = 16


def compute_digest(encoded: bytes) -> bytes:
    """Returns a hash of the contents that are stored of an image."""
    return hashlib.blake2b(encoded, digest_size=_DIGEST_BYTES).digest()


class DuplicateFinder:
    """Compares each image with those before it by a hash of its contents."""

    def __init__(self, source: str):
        """Starts without images.

        Args:
          source: the folder to which paths are shown relative.
        """
        self._source = source
        self._first = {}
        self._relabeled = []
        self._leaked = []

    def add(self, image: SourceImage, split: str, digest: bytes) -> None:
        """Compares one image with those before it.

        Args:
          image: the source image.
          split: the split that it goes into.
          digest: of the contents that are stored; see `compute_digest`.
        """
        first, first_split = self._first.setdefault(digest, (image, split))
        if first.label != image.label:
            self._relabeled.append((first, image))
        elif first_split != split:
            self._leaked.append((first, image))

    def describe(self) -> list[str]:
        """Returns a sentence for each kind of duplicates that was found."""
        sentences = []
        if self._relabeled:
            first, second = self._relabeled[0]
            sentences.append(
                f"Identical images with different labels: {len(self._relabeled)}, such "
                f"as {self._show(first)} and {self._show(second)}; remove the wrong "
                "ones and convert again."
            )
        if self._leaked:
            first, second = self._leaked[0]
            sentences.append(
                f"Identical images in different splits: {len(self._leaked)}, such as "
                f"{self._show(first)} and {self._show(second)}; they make the "
                "evaluation too optimistic."
            )
        return sentences

    def _show(self, image: SourceImage) -> str:
        return repr(os.path.relpath(image.path, self._source))
