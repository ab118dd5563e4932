"""Decodes images as training will, to find those that it could not use."""

import collections
import concurrent.futures
import itertools
from collections.abc import Iterable, Iterator

from datasets import bad_records, image_files
from tf_slim_compat import tf

# Enough to keep the threads busy, few enough for large images.
_PENDING_PER_THREAD = 4
# A JPEG is decoded whole, but only every eighth pixel is computed.
_JPEG_RATIO = 8


class Checker:
    """Decides whether TensorFlow decodes images; for several threads at a time."""

    def __init__(self):
        """Builds the graph that decodes."""
        with tf.Graph().as_default() as graph:
            encoded = tf.placeholder(tf.string, [])
            jpeg = tf.image.decode_jpeg(encoded, 3, _JPEG_RATIO)
            other = tf.io.decode_image(encoded, 3, expand_animations=False)
        session = tf.Session(graph=graph)
        # Operations have no result to copy.
        self._decode = {
            "jpeg": session.make_callable(jpeg.op, [encoded]),
            "png": session.make_callable(other.op, [encoded]),
        }

    def find_fault(self, image: image_files.EncodedImage) -> str:
        """Returns why TensorFlow cannot decode an image; "" if it can."""
        try:
            self._decode[image.format](image.encoded)
        except tf.errors.OpError as error:
            return bad_records.extract_reason(error).rstrip(".")
        return ""


def check_all(
    loaded: Iterable[tuple[image_files.EncodedImage | None, str]], threads: int
) -> Iterator[tuple[image_files.EncodedImage | None, str]]:
    """Checks images that `image_pool.load_all` has loaded; yields the same pairs.

    Args:
      loaded: (image, ""), or (None, the reason why the file cannot be read).
      threads: number of images to decode at a time.
    """
    checker = Checker()

    def check(pair):
        image, fault = pair
        fault = fault or checker.find_fault(image)
        return (None, fault) if fault else pair

    loaded = iter(loaded)
    pending = collections.deque()
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        while True:
            room = threads * _PENDING_PER_THREAD - len(pending)
            for pair in itertools.islice(loaded, room):
                pending.append(pool.submit(check, pair))
            if not pending:
                return
            yield pending.popleft().result()
