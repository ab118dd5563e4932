"""What part of an image is used, and how it is fitted into the network's input.

Unlike other augmentations these replace the crop of the preprocessing.
"""

import math
from collections.abc import Sequence

from preprocessing import preprocessing_utils as utils
from preprocessing.augment import arguments
from preprocessing.augment.geometry import FILL
from tf_slim_compat import tf

_ATTEMPTS = 10


def random_resized_crop(
    image_shape: tf.Tensor,
    seed: tf.Tensor,
    min_area: float = 0.08,
    max_area: float = 1.0,
    ratio: Sequence[float] = (3 / 4, 4 / 3),
) -> tf.Tensor:
    """Samples a window by area and aspect ratio, which is resized to the input.

    "Going deeper with convolutions" (Szegedy et al., 2015,
    https://arxiv.org/abs/1409.4842), section 6: the area is uniform, the logarithm of
    the aspect ratio too. If none of ten windows fits into the image, the largest
    central one is used whose aspect ratio is allowed, as in torchvision.

    Args:
      image_shape: int32 [3], the shape of the image.
      seed: int64 [2].
      min_area: smallest area, as a fraction of the image's.
      max_area: largest area, as a fraction of the image's.
      ratio: (smallest, largest) width / height.

    Returns:
      int32 [4] `(y, x, height, width)`.
    """
    op = "random_resized_crop"
    arguments.check(op, min_area=(min_area, 0, 1), max_area=(max_area, min_area, 1))
    ratio = arguments.check_pair(op, "ratio", ratio, 0.01, 100)
    limits = image_shape[:2]
    height, width = tf.unstack(tf.cast(limits, tf.float32))
    numbers = tf.random.stateless_uniform([2 * _ATTEMPTS + 2], seed)
    areas = min_area + numbers[:_ATTEMPTS] * (max_area - min_area)
    low, high = map(math.log, ratio)
    ratios = tf.exp(low + numbers[_ATTEMPTS:-2] * (high - low))
    areas *= height * width
    sizes = tf.stack([tf.sqrt(areas / ratios), tf.sqrt(areas * ratios)], 1)
    sizes = tf.cast(sizes + 0.5, tf.int32)
    does_fit = tf.reduce_all((sizes > 0) & (sizes <= limits), 1)
    largest = tf.stack(
        [tf.minimum(height, width / ratio[0]), tf.minimum(width, height * ratio[1])]
    )
    largest = tf.maximum(tf.cast(largest + 0.5, tf.int32), 1)
    size = tf.where(
        tf.reduce_any(does_fit),
        sizes[tf.argmax(tf.cast(does_fit, tf.int32), output_type=tf.int32)],
        largest,
    )
    begin = tf.where(
        tf.reduce_any(does_fit),
        tf.cast(numbers[-2:] * tf.cast(limits - size + 1, tf.float32), tf.int32),
        (limits - size) // 2,
    )
    return tf.concat([begin, size], 0)


def stretch(image: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Resizes to `[height, width, channels]` with the dtype uint8."""
    resized = utils.resize_bilinear(image, height, width)
    return tf.cast(resized + 0.5, tf.uint8)


def letterbox(image: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Resizes the whole image without distortion, and pads with mid-gray.

    Args:
      image: uint8 [any, any, channels].
      height: of the result, in pixels.
      width: of the result, in pixels.

    Returns:
      uint8 [height, width, channels], the image in its center.
    """
    sides = tf.cast(tf.shape(image)[:2], tf.float32)
    output = tf.constant([height, width])
    scale = tf.reduce_min(tf.cast(output, tf.float32) / sides)
    size = tf.cast(sides * scale + 0.5, tf.int32)
    size = tf.clip_by_value(size, 1, output)
    resized = stretch(image, size[0], size[1])
    before = (output - size) // 2
    margins = tf.stack([before, output - size - before], 1)
    margins = tf.concat([margins, [[0, 0]]], 0)
    padded = tf.pad(resized, margins, constant_values=FILL)
    padded.set_shape([height, width, image.shape[-1]])
    return padded
