"""Turns a photograph upright within a graph, as its EXIF data says.

`tf.io.decode_image` gives the pixels as the camera stored them; most telephones store
them lying and note in EXIF how to hold the picture (CIPA DC-008, tag 0x0112).
"""

from tf_slim_compat import tf

# EXIF data begins within the first segments, and no segment is longer than half of it.
_HEAD_BYTES = 2 * 65536
_JPEG_START = b"\xff\xd8"
# Before the mark stand the segment's own and its length, of two bytes each.
_SEGMENT, _EXIF_MARK = b"\xff\xe1", b"Exif\0\0"
_NOTHING = bytes(8)
_ORIENTATION = 0x0112
_MAX_ENTRIES = 256
_TRANSPOSED = (5, 6, 7, 8)
_FLIPPED_UP_DOWN = (3, 4, 7, 8)
_FLIPPED_LEFT_RIGHT = (2, 3, 6, 7)


def turn_upright(image, encoded):
    """Returns the image as it is to be seen.

    Args:
      image: the decoded pixels, of any dtype: [height, width, channels].
      encoded: the file's content: scalar string. What is not a JPEG, and a JPEG without
        sound EXIF data, is upright.
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


def read_orientation(encoded):
    """Returns the orientation, 1 to 8, that a file's content notes; 1 is upright.

    Args:
      encoded: scalar string.
    """
    head = tf.strings.substr(encoded, 0, _HEAD_BYTES)
    parts = tf.strings.split([head], _EXIF_MARK, maxsplit=1).values
    before = tf.strings.join([_NOTHING, parts[0]])
    # Zeros are what is read where nothing is.
    tiff = tf.strings.join([tf.concat([parts, [b""]], 0)[1], _NOTHING])
    tiff = tf.io.decode_raw(tiff, tf.uint8)
    last = tf.size(tiff, out_type=tf.int64) - 1
    order = tf.cast(tiff[0], tf.int64)

    def read(places, num_bytes):
        indices = places[..., tf.newaxis] + tf.range(num_bytes, dtype=tf.int64)
        found = tf.gather(tiff, tf.clip_by_value(indices, 0, last))
        weights = 256 ** tf.range(num_bytes, dtype=tf.int64)
        weights = tf.where(tf.equal(order, ord("I")), weights, weights[::-1])
        return tf.reduce_sum(tf.cast(found, tf.int64) * weights, axis=-1)

    directory = read(tf.constant(4, tf.int64), 4)
    num_entries = tf.minimum(read(directory, 2), _MAX_ENTRIES)
    entries = directory + 2 + 12 * tf.range(num_entries)
    is_orientation = tf.equal(read(entries, 2), _ORIENTATION)
    values = tf.where(is_orientation, read(entries + 8, 2), tf.zeros_like(entries))
    noted = tf.reduce_max(values)
    is_sound = (
        tf.equal(tf.strings.substr(head, 0, len(_JPEG_START)), _JPEG_START)
        & tf.equal(tf.strings.substr(before, -4, len(_SEGMENT)), _SEGMENT)
        & _is_one_of(order, b"IM")
        & (noted <= 8)
    )
    return tf.where(is_sound, tf.maximum(noted, 1), tf.ones([], tf.int64))


def _is_one_of(number, values):
    return tf.reduce_any(tf.equal(number, tf.constant(list(values), tf.int64)))
