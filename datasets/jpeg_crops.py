"""Decoding only the part of a picture that a preprocessing reads."""

from tf_slim_compat import tf

# A cut through a JPEG changes the colours beside it, where they are stored at half
# the resolution; so this much more is decoded, and cut off afterwards.
_MARGIN_PX = 2


def decode_jpeg(encoded, crop_window_fn, channels=0, dct_method=""):
    """Decodes a JPEG, or the window of it.

    Args:
      encoded: string scalar.
      crop_window_fn: called with the picture's shape, int32 [3]; gives the part that
        is wanted as int32 [4] (y, x, height, width), or None for all of it.
      channels: of the result; 0 for those of the picture.
      dct_method: see `tf.image.decode_jpeg`.

    Returns:
      uint8 [height, width, channels].
    """
    shape = tf.image.extract_jpeg_shape(encoded)
    if channels:
        shape = tf.stack([shape[0], shape[1], channels])
    window = crop_window_fn(shape)
    if window is None:
        return tf.image.decode_jpeg(encoded, channels, dct_method=dct_method)
    begin = tf.maximum(window[:2] - _MARGIN_PX, 0)
    end = tf.minimum(window[:2] + window[2:] + _MARGIN_PX, shape[:2])
    image = tf.image.decode_and_crop_jpeg(
        encoded, tf.concat([begin, end - begin], 0), channels, dct_method=dct_method
    )
    return _cut(image, window[:2] - begin, window[2:])


def crop(image, crop_window_fn):
    """Cuts the window out of a picture that is decoded already.

    Args:
      image: [height, width, channels], any type.
      crop_window_fn: see `decode_jpeg`.
    """
    window = crop_window_fn(tf.shape(image))
    return image if window is None else _cut(image, window[:2], window[2:])


def _cut(image, begin, size):
    return tf.slice(image, tf.concat([begin, [0]], 0), tf.concat([size, [-1]], 0))
