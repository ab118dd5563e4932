"""Ops that the preprocessing families share: channels, windows, resizing, flipping.

An image is a 3-D tensor `[height, width, channels]`; a window is an int32 `[4]` tensor
`(y, x, height, width)` in whole pixels of that image.
"""

from preprocessing import random_ops
from tf_slim_compat import tf

# ITU-R BT.601 luma, as in tf.image.rgb_to_grayscale.
LUMA_WEIGHTS = (0.2989, 0.5870, 0.1140)


def with_known_channels(image: tf.Tensor) -> tf.Tensor:
    """Checks the rank, drops an alpha channel, and makes the channel count static.

    Args:
      image: image with 1 (gray), 2 (gray, alpha), 3 (RGB) or 4 (RGB, alpha) channels,
        any dtype. If the channel count is unknown until run time it may be 1, 3 or 4.

    Returns:
      The image with 1 or 3 channels (3 if the count was unknown), same dtype.

    Raises:
      ValueError: if the image is not 3-D, or has no or more than 4 channels.
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


def to_rgb(image: tf.Tensor) -> tf.Tensor:
    """Repeats the one channel of a grayscale image three times; RGB is unchanged."""
    return tf.tile(image, [1, 1, 3]) if image.shape[-1] == 1 else image


def to_gray(image: tf.Tensor) -> tf.Tensor:
    """Returns the luminance, `[height, width, 1]`; a grayscale image is unchanged."""
    return tf.image.rgb_to_grayscale(image) if image.shape[-1] == 3 else image


def crop(image: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
    """Cuts the window `(y, x, height, width)` out of an image.

    The channel count stays static; a window that is partly outside raises
    `InvalidArgumentError` at run time.
    """
    window = tf.convert_to_tensor(window, tf.int32)
    begin = tf.concat([window[:2], [0]], 0)
    size = tf.concat([window[2:], [-1]], 0)
    cropped = tf.slice(image, begin, size)
    cropped.set_shape([None, None, image.shape[-1]])
    return cropped


def random_begin(limits: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Samples the position of a window within an image uniformly.

    Args:
      limits: int32 [2], height and width of the image.
      size: int32 [2], height and width of the window, at most `limits`.

    Returns:
      int32 [2] `(y, x)`, the window's upper left corner.
    """
    places = tf.cast(limits - size + 1, tf.float32)
    return tf.cast(random_ops.uniform("begin", [2], 0.0, 1.0) * places, tf.int32)


def random_flip(image: tf.Tensor) -> tf.Tensor:
    """Mirrors the image left to right with probability one half."""
    is_mirrored = random_ops.uniform("flip", [], 0.0, 1.0) < 0.5
    return tf.cond(is_mirrored, lambda: tf.reverse(image, [1]), lambda: image)


def resize_bilinear(
    image: tf.Tensor, height: int | tf.Tensor, width: int | tf.Tensor
) -> tf.Tensor:
    """Resizes to float32 `[height, width, channels]`; values keep their range.

    Output pixel i is sampled at i * source / target, without half-pixel centers, like
    `tf.image.resize_bilinear(align_corners=False)`, with which the published
    checkpoints were trained and evaluated.

    Args:
      image: image with a static channel count, any dtype.
      height: of the output, in pixels; an int or a scalar tensor.
      width: as `height`.

    Returns:
      The resized image; its height and width are static if they are ints.
    """

    def resize(image):
        # The raw op: the public ones warn at each call, or skip images of the right
        # size without converting them.
        return tf.raw_ops.ResizeBilinear(images=image[None], size=[height, width])[0]

    if image.dtype.is_integer:
        # Integers are resized at half the speed of floats, but converting a large
        # image to floats costs more time and four times its memory.
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
