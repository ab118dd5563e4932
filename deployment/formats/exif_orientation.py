"""Applies the EXIF orientation of JPEG files within a graph.

`tf.io.decode_image` returns the pixels as the camera stored them; most phones store
them sideways and record the orientation in EXIF (CIPA DC-008, tag 0x0112).
"""

from collections.abc import Sequence

from tf_slim_compat import tf

# EXIF data begins within the first two segments; a segment has 64 kB at most.
_HEAD_BYTES = 2 * 65536
_JPEG_START = b"\xff\xd8"
# The segment's marker and its length, 2 bytes each, precede the EXIF mark.
_SEGMENT, _EXIF_MARK = b"\xff\xe1", b"Exif\0\0"
_PADDING = bytes(8)
_ORIENTATION = 0x0112
_MAX_ENTRIES = 256
_TRANSPOSED = (5, 6, 7, 8)
_FLIPPED_UP_DOWN = (3, 4, 7, 8)
_FLIPPED_LEFT_RIGHT = (2, 3, 6, 7)


def apply_orientation(image: tf.Tensor, encoded: tf.Tensor) -> tf.Tensor:
    """Rotates and flips an image as its EXIF orientation demands.

    Args:
      image: the decoded pixels, [height, width, channels], of any dtype.
      encoded: the file's content, scalar string. Other files than JPEG, and those
        without valid EXIF data, are left as they are.
    """
    orientation = read_orientation(encoded)
    image = tf.cond(
        _is_one_of(orientation, _TRANSPOSED),
        lambda: tf.transpose(image, [1, 0, 2]),
        lambda: image,
    )
    flips = tf.stack(
        [
            _is_one_of(orientation, _FLIPPED_UP_DOWN),
            _is_one_of(orientation, _FLIPPED_LEFT_RIGHT),
        ]
    )
    return tf.reverse(image, tf.boolean_mask(tf.constant([0, 1]), flips))


def read_orientation(encoded: tf.Tensor) -> tf.Tensor:
    """Returns the EXIF orientation of a file, from 1 (upright) to 8, scalar int64.

    Args:
      encoded: the file's content, scalar string.
    """
    head = tf.strings.substr(encoded, 0, _HEAD_BYTES)
    parts = tf.strings.split([head], _EXIF_MARK, maxsplit=1).values
    before = tf.strings.join([_PADDING, parts[0]])
    # Reads beyond the end return zeros.
    tiff = tf.strings.join([tf.concat([parts, [b""]], 0)[1], _PADDING])
    tiff = tf.io.decode_raw(tiff, tf.uint8)
    last = tf.size(tiff, out_type=tf.int64) - 1
    order = tf.cast(tiff[0], tf.int64)

    def read(offsets, num_bytes):
        indices = offsets[..., tf.newaxis] + tf.range(num_bytes, dtype=tf.int64)
        chosen = tf.gather(tiff, tf.clip_by_value(indices, 0, last))
        weights = 256 ** tf.range(num_bytes, dtype=tf.int64)
        weights = tf.where(tf.equal(order, ord("I")), weights, weights[::-1])
        return tf.reduce_sum(tf.cast(chosen, tf.int64) * weights, axis=-1)

    directory = read(tf.constant(4, tf.int64), 4)
    num_entries = tf.minimum(read(directory, 2), _MAX_ENTRIES)
    entries = directory + 2 + 12 * tf.range(num_entries)
    is_orientation = tf.equal(read(entries, 2), _ORIENTATION)
    values = tf.where(is_orientation, read(entries + 8, 2), tf.zeros_like(entries))
    found = tf.reduce_max(values)
    is_valid = (
        tf.equal(tf.strings.substr(head, 0, len(_JPEG_START)), _JPEG_START)
        & tf.equal(tf.strings.substr(before, -4, len(_SEGMENT)), _SEGMENT)
        & _is_one_of(order, b"IM")
        & (found <= 8)
    )
    return tf.where(is_valid, tf.maximum(found, 1), tf.ones([], tf.int64))


def _is_one_of(number: tf.Tensor, values: Sequence[int]) -> tf.Tensor:
    return tf.reduce_any(tf.equal(number, tf.constant(list(values), tf.int64)))
