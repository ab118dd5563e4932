"""What the preprocessing families share: channels, windows, resizing, mirror flip.

A picture is a 3-D tensor `[height, width, channels]`; a window is an int32 `[4]`
tensor `(y, x, height, width)` in whole pixels of that picture.
"""

from preprocessing import draws
from tf_slim_compat import tf

# ITU-R BT.601 luma, as in tf.image.rgb_to_grayscale.
LUMA_WEIGHTS = (0.2989, 0.5870, 0.1140)


def with_known_channels(image):
    """Checks the rank, drops an alpha channel, and makes the channel count static.

    Args:
      image: picture of 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGB, alpha) channels,
        any dtype. A channel count unknown until run time is read as 1, 3 or 4.

    Returns:
      The picture with 1 or 3 channels (3 where the count was unknown), same dtype.

    Raises:
      ValueError: the picture is not 3-D, or has no or more than 4 channels.
    """
    image = tf.convert_to_tensor(image)
    if image.shape.rank is None:
        image.set_shape([None, None, None])
    channels = image.shape.dims[-1].value if image.shape.rank == 3 else 0
    if channels is None:
        present = tf.shape(image)[2]
        repeats = tf.where(tf.equal(present, 1), 3, 1)
        image = tf.tile(image[:, :, :3], tf.stack([1, 1, repeats]))
        image.set_shape([None, None, 3])
        return image
    if not 1 <= channels <= 4:
        raise ValueError(
            "An image must have the shape [height, width, channels] with 1 to 4 "
            f"channels, but its shape is {image.shape}; preprocess one image at a time."
        )
    return image if channels in (1, 3) else image[:, :, : channels - 1]


def to_rgb(image):
    """Repeats the one channel of a grey picture three times; leaves RGB as it is."""
    return tf.tile(image, [1, 1, 3]) if image.shape[-1] == 1 else image


def to_gray(image):
    """The luminance of a float RGB picture, `[height, width, 1]`; leaves grey as is."""
    return tf.image.rgb_to_grayscale(image) if image.shape[-1] == 3 else image


def crop(image, window):
    """Cuts the window `(y, x, height, width)` out of a picture.

    The channel count stays static; a window that reaches outside is an
    `InvalidArgumentError` when the graph runs.
    """
    window = tf.convert_to_tensor(window, tf.int32)
    begin = tf.concat([window[:2], [0]], 0)
    size = tf.concat([window[2:], [-1]], 0)
    cropped = tf.slice(image, begin, size)
    cropped.set_shape([None, None, image.shape[-1]])
    return cropped


def random_begin(limits, size):
    """Draws where a window of `size` begins, so that it lies within `limits`.

    Args:
      limits: int32 [2], height and width of the picture.
      size: int32 [2], height and width of the window, at most `limits`.

    Returns:
      int32 [2] `(y, x)`, each place as likely as any other.
    """
    places = tf.cast(limits - size + 1, tf.float32)
    return tf.cast(draws.uniform("begin", [2], 0.0, 1.0) * places, tf.int32)


def random_flip(image):
    """Mirrors the picture left to right with probability one half."""
    is_mirrored = draws.uniform("flip", [], 0.0, 1.0) < 0.5
    return tf.cond(is_mirrored, lambda: tf.reverse(image, [1]), lambda: image)


def resize_bilinear(image, height, width):
    """Resizes to float32 `[height, width, channels]`; values keep their range.

    Output pixel i is read at i * source / target, without half-pixel centres, as
    `tf.image.resize_bilinear(align_corners=False)` does: the published checkpoints
    were trained and evaluated so.

    Args:
      image: picture of a static channel count, any dtype.
      height: of the output, pixels; an int or a scalar tensor.
      width: as `height`.

    Returns:
      The resized picture; its height and width are static where they are ints.
    """

    def resize(image):
        # The raw op: the public ones warn at each call, or skip pictures that have
        # the right size without converting them.
        return tf.raw_ops.ResizeBilinear(images=image[None], size=[height, width])[0]

    if image.dtype.is_integer:
        # Integers are resized at half the speed of floats, but turning all of a big
        # photograph into floats costs more time and four times its memory.
        channels = image.shape[-1]
        is_small = tf.size(image) < 3 * height * width * channels
        resized = tf.cond(
            is_small,
            lambda: resize(tf.cast(image, tf.float32)),
            lambda: resize(image),
        )
    else:
        resized = resize(image)
    if not (tf.is_tensor(height) or tf.is_tensor(width)):
        resized.set_shape([height, width, image.shape[-1]])
    return resized
