"""Decodes only the part of an image that a preprocessing reads."""

from collections.abc import Callable

from tf_slim_compat import tf

# Cropping a JPEG with subsampled chroma changes the colors at the border, so a margin
# is decoded too and cut off afterwards.
_MARGIN_PX = 2


def decode_jpeg(
    encoded: tf.Tensor,
    crop_window_fn: Callable[[tf.Tensor], tf.Tensor | None],
    channels: int = 0,
    dct_method: str = "",
    to_end: bool = False,
) -> tf.Tensor:
    """Decodes a window of a JPEG.

    Args:
      encoded: string scalar.
      crop_window_fn: called with the image's shape, int32 [3]; returns the window as
        int32 [4] (y, x, height, width), or None for the whole image.
      channels: of the result; 0 for those of the image.
      dct_method: see `tf.image.decode_jpeg`.
      to_end: whether to read all of the file, so that damage behind the window is an
        error too.

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
    if to_end:
        end = tf.stack([shape[0], end[1]])
    image = tf.image.decode_and_crop_jpeg(
        encoded, tf.concat([begin, end - begin], 0), channels, dct_method=dct_method
    )
    return _cut(image, window[:2] - begin, window[2:])


def crop(
    image: tf.Tensor, crop_window_fn: Callable[[tf.Tensor], tf.Tensor | None]
) -> tf.Tensor:
    """Cuts the window out of an image that is decoded already.

    Args:
      image: [height, width, channels], any type.
      crop_window_fn: see `decode_jpeg`.
    """
    window = crop_window_fn(tf.shape(image))
    return image if window is None else _cut(image, window[:2], window[2:])


def _cut(image: tf.Tensor, begin: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    return tf.slice(image, tf.concat([begin, [0]], 0), tf.concat([size, [-1]], 0))
