"""Turns a photograph upright within a graph, as its EXIF data says.

`tf.io.decode_image` gives the pixels as the camera stored them; most telephones store
them lying and note in EXIF how to hold the picture (CIPA DC-008, tag 0x0112).
"""

from tf_slim_compat import tf

# EXIF data stands within the first segments, and no segment is longer.
_HEAD_BYTES = 2 * 65536
_JPEG_START = (0xFF, 0xD8)
_EXIF_MARK = (0xFF, 0xE1, None, None, *b"Exif\0\0")  # None: two bytes of length.
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
    head = tf.io.decode_raw(tf.strings.substr(encoded, 0, _HEAD_BYTES), tf.uint8)
    # The zeros end every search, and are what is read behind the end.
    head = tf.cast(tf.pad(head, [[0, len(_EXIF_MARK)]]), tf.int64)
    is_mark = _find(head, _EXIF_MARK)
    tiff = tf.argmax(tf.cast(is_mark, tf.int32)) + len(_EXIF_MARK)
    order = head[tf.minimum(tiff, _last(head))]
    is_little = tf.equal(order, ord("I"))

    def read(places, num_bytes):
        indices = places[..., tf.newaxis] + tf.range(num_bytes, dtype=tf.int64)
        found = tf.gather(head, tf.clip_by_value(indices, 0, _last(head)))
        weights = 256 ** tf.range(num_bytes, dtype=tf.int64)
        weights = tf.where(is_little, weights, weights[::-1])
        return tf.reduce_sum(found * weights, axis=-1)

    directory = tiff + read(tiff + 4, 4)
    num_entries = tf.minimum(read(directory, 2), _MAX_ENTRIES)
    entries = directory + 2 + 12 * tf.range(num_entries)
    is_orientation = tf.equal(read(entries, 2), _ORIENTATION)
    noted = tf.reduce_max(tf.where(is_orientation, read(entries + 8, 2), 0 * entries))
    is_sound = tf.reduce_any(is_mark) & _is_one_of(order, b"IM") & (noted <= 8)
    is_noted = _find(head, _JPEG_START)[0] & is_sound
    return tf.where(is_noted, tf.maximum(noted, 1), tf.ones([], tf.int64))


def _last(head):
    return tf.size(head, out_type=tf.int64) - 1


def _find(head, mark):
    """Where a mark begins: booleans, one for each place at which it has room."""
    room = tf.size(head) - len(mark) + 1
    return tf.reduce_all(
        [
            tf.equal(head[i : i + room], value)
            for i, value in enumerate(mark)
            if value is not None
        ],
        axis=0,
    )


def _is_one_of(orientation, values):
    return tf.reduce_any(tf.equal(orientation, tf.constant(list(values), tf.int64)))
