"""Random erasing."""

from preprocessing import random_ops
from preprocessing.augment import arguments
from tf_slim_compat import tf

_ATTEMPTS = 20


def erase(
    image: tf.Tensor,
    seed: tf.Tensor,
    p: float = 0.5,
    min_area: float = 0.02,
    max_area: float = 0.4,
    min_ratio: float = 0.3,
) -> tf.Tensor:
    """Replaces a rectangle by noise, with probability `p`.

    "Random erasing data augmentation" (Zhong et al., 2017,
    https://arxiv.org/abs/1708.04896), algorithm 1. If none of 20 sampled rectangles
    fits into the image, nothing is erased.

    Args:
      image: uint8 [height, width, channels].
      seed: int64 [2].
      p: probability.
      min_area: smallest area, as a fraction of the image's.
      max_area: largest area, as a fraction of the image's.
      min_ratio: smallest ratio of height to width; the largest is 1 / `min_ratio`.
    """
    arguments.check("erase", p=(p, 0, 1), min_area=(min_area, 0, 1))
    arguments.check("erase", max_area=(max_area, min_area, 1))
    arguments.check("erase", min_ratio=(min_ratio, 0.01, 1))
    numbers = tf.random.stateless_uniform([2 * _ATTEMPTS + 3], seed)
    limits = tf.shape(image)[:2]
    total = tf.cast(tf.reduce_prod(limits), tf.float32)
    areas = total * (min_area + numbers[:_ATTEMPTS] * (max_area - min_area))
    ratios = min_ratio + numbers[_ATTEMPTS:-3] * (1 / min_ratio - min_ratio)
    sizes = tf.stack([tf.sqrt(areas * ratios), tf.sqrt(areas / ratios)], 1)
    sizes = tf.cast(sizes + 0.5, tf.int32)
    does_fit = tf.reduce_all((sizes > 0) & (sizes < limits), 1)
    size = sizes[tf.argmax(tf.cast(does_fit, tf.int32), output_type=tf.int32)]
    places = tf.cast(limits - size + 1, tf.float32)
    begin = tf.cast(numbers[-3:-1] * places, tf.int32)
    is_erased = (numbers[-1] < p) & tf.reduce_any(does_fit)
    noise_seed = random_ops.derive_seed(seed, "noise")
    return tf.cond(
        is_erased,
        lambda: _paste_noise(image, begin, size, noise_seed),
        lambda: image,
    )


def _paste_noise(image, begin, size, seed):
    channels = image.shape[-1]
    top, left = begin[0], begin[1]
    bottom, right = top + size[0], left + size[1]
    count = size[0] * size[1] * channels
    # Four values from each random number.
    numbers = tf.random.stateless_uniform(
        [(count + 3) // 4], seed, None, None, tf.uint32
    )
    noise = tf.reshape(tf.bitcast(numbers, tf.uint8), [-1])[:count]
    noise = tf.reshape(noise, [size[0], size[1], channels])
    # Joining parts copies memory; a mask would touch every value several times.
    middle = tf.concat(
        [image[top:bottom, :left], noise, image[top:bottom, right:]], axis=1
    )
    result = tf.concat([image[:top], middle, image[bottom:]], axis=0)
    result.set_shape(image.shape)
    return result
