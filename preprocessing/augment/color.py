"""Augmentations that change colors, and blurring.

The functions without a seed equal those of Pillow's ImageEnhance and ImageOps, up to
one unit for rounding. Images are uint8 [height, width, 1 or 3 channels].
"""

import math

import numpy as np

from preprocessing import random_ops
from preprocessing.augment import arguments
from tf_slim_compat import tf

# ITU-R BT.601 luma, as Pillow's conversion to "L" has it.
_LUMA = np.array([[0.299], [0.587], [0.114]], np.float32)
# In standard deviations.
_BLUR_RADIUS = 3.0


def enhance_brightness(image: tf.Tensor, factor: float | tf.Tensor) -> tf.Tensor:
    """Multiplies all values, like Pillow's `ImageEnhance.Brightness`."""
    return tf.saturate_cast(tf.cast(image, tf.float32) * factor, tf.uint8)


def enhance_contrast(image: tf.Tensor, factor: float | tf.Tensor) -> tf.Tensor:
    """Blends with the mean luminance, like Pillow's `ImageEnhance.Contrast`."""
    values = tf.cast(image, tf.float32)
    mean = tf.reduce_mean(values, [0, 1])
    if image.shape[-1] == 3:
        mean = tf.reduce_sum(mean * _LUMA[:, 0])
    mean = tf.floor(mean + 0.5)
    return tf.saturate_cast(mean + factor * (values - mean), tf.uint8)


def enhance_color(image: tf.Tensor, factor: float | tf.Tensor) -> tf.Tensor:
    """Blends with the grayscale image, like Pillow's `ImageEnhance.Color`."""
    if image.shape[-1] == 1:
        return image
    gray = np.tile(_LUMA, [1, 3])
    mixed = _map_channels(
        image, np.eye(3, dtype=np.float32) * factor + gray * (1 - factor)
    )
    return tf.saturate_cast(mixed, tf.uint8)


def enhance_sharpness(image: tf.Tensor, factor: float | tf.Tensor) -> tf.Tensor:
    """Blends with a smoothed image, like Pillow's `ImageEnhance.Sharpness`."""
    values = tf.cast(image, tf.float32)
    rows = values[:-2] + values[1:-1] + values[2:]
    box = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]
    inside = values[1:-1, 1:-1]
    smooth = tf.floor((box + 4 * inside) / 13 + 0.5)
    change = (inside - smooth) * (factor - 1)
    # The border is not smoothed; an image of one row has no inside.
    missing = tf.shape(values) - tf.shape(change)
    change = tf.pad(change, tf.stack([missing // 2, missing - missing // 2], 1))
    return _with_shape_of(image, tf.saturate_cast(values + change, tf.uint8))


def autocontrast(image: tf.Tensor) -> tf.Tensor:
    """Stretches each channel to 0 to 255, like Pillow's `ImageOps.autocontrast`."""
    low = tf.cast(tf.reduce_min(image, [0, 1]), tf.float32)
    high = tf.cast(tf.reduce_max(image, [0, 1]), tf.float32)
    is_flat = high <= low
    scale = tf.where(is_flat, tf.ones_like(low), 255 / tf.maximum(high - low, 1))
    offset = tf.where(is_flat, tf.zeros_like(low), -low * scale)
    # A row of numbers: broadcasting three is several times as slow.
    scale, offset = (tf.tile(x[None], [tf.shape(image)[1], 1]) for x in (scale, offset))
    # Products such as 51 * (255 / 51) may lie just below a whole number.
    values = tf.cast(image, tf.float32) * scale + (offset + 1e-3)
    return tf.saturate_cast(values, tf.uint8)


def equalize(image: tf.Tensor) -> tf.Tensor:
    """Equalizes each channel's histogram, like Pillow's `ImageOps.equalize`."""
    channels = image.shape[-1]
    starts = tf.tile([[256 * i for i in range(channels)]], [tf.shape(image)[1], 1])
    indices = tf.cast(image, tf.int32) + starts
    size = 256 * channels
    counts = tf.math.bincount(
        tf.reshape(indices, [-1]), minlength=size, maxlength=size, dtype=tf.int32
    )
    counts = tf.reshape(counts, [channels, 256])
    last = tf.gather(
        counts, tf.cast(tf.reduce_max(image, [0, 1]), tf.int32), batch_dims=1
    )
    step = ((tf.reduce_sum(counts, 1) - last) // 255)[:, None]
    below = tf.cumsum(counts, axis=1, exclusive=True)
    table = tf.minimum((step // 2 + below) // tf.maximum(step, 1), 255)
    unchanged = tf.zeros_like(counts) + tf.range(256)
    table = tf.where(tf.tile(step > 0, [1, 256]), table, unchanged)
    return tf.gather(tf.reshape(tf.cast(table, tf.uint8), [-1]), indices)


def posterize(image: tf.Tensor, dropped_bits: float | tf.Tensor) -> tf.Tensor:
    """Sets low bits to 0, like `ImageOps.posterize(image, 8 - dropped_bits)`.

    Args:
      image: uint8 image.
      dropped_bits: 0 to 8; a fraction is cut off.
    """
    mask = 256 - tf.bitwise.left_shift(1, tf.cast(dropped_bits, tf.int32))
    return tf.bitwise.bitwise_and(image, tf.cast(mask, tf.uint8))


def solarize(image: tf.Tensor, inverted: float | tf.Tensor) -> tf.Tensor:
    """Inverts bright values, like `ImageOps.solarize(image, 256 - inverted)`.

    Args:
      image: uint8 image.
      inverted: how many of the 256 values are inverted; a fraction is cut off.
    """
    threshold = 256 - tf.cast(inverted, tf.int32)
    return tf.where(tf.cast(image, tf.int32) < threshold, image, 255 - image)


def shift_hue(image: tf.Tensor, turns: float | tf.Tensor) -> tf.Tensor:
    """Shifts the hue by a fraction of the color circle, -1 to 1."""
    if image.shape[-1] == 1:
        return image
    return _with_shape_of(image, tf.image.adjust_hue(image, turns))


def to_gray(image: tf.Tensor) -> tf.Tensor:
    """Replaces colors by their luminance; the number of channels stays."""
    if image.shape[-1] == 1:
        return image
    gray = _map_channels(image, np.tile(_LUMA, [1, 3]))
    return tf.saturate_cast(gray + 0.5, tf.uint8)


def smooth(image: tf.Tensor, sigma: float | tf.Tensor) -> tf.Tensor:
    """Blurs with a Gaussian kernel cut off at 3 sigma; border pixels are repeated.

    Args:
      image: uint8 image.
      sigma: standard deviation in pixels, more than 0.
    """
    radius = tf.cast(tf.math.ceil(_BLUR_RADIUS * sigma), tf.int32)
    offsets = tf.cast(tf.range(-radius, radius + 1), tf.float32)
    weights = tf.nn.softmax(-tf.square(offsets / sigma) / 2)
    kernel = tf.tile(weights[:, None, None, None], [1, 1, image.shape[-1], 1])
    values = tf.cast(_repeat_border(image, radius), tf.float32)[None]
    values = tf.nn.depthwise_conv2d(values, kernel, [1] * 4, "VALID")
    kernel = tf.transpose(kernel, [1, 0, 2, 3])
    values = tf.nn.depthwise_conv2d(values, kernel, [1] * 4, "VALID")[0]
    return _with_shape_of(image, tf.saturate_cast(values + 0.5, tf.uint8))


def brightness(
    image: tf.Tensor, seed: tf.Tensor, max_delta: float = 0.125
) -> tf.Tensor:
    """Adds a random number to all pixels.

    Args:
      image: uint8 image.
      seed: int64 [2].
      max_delta: largest change, as a fraction of the range of values.
    """
    arguments.check("brightness", max_delta=(max_delta, 0, 1))
    delta = tf.random.stateless_uniform([], seed, -max_delta, max_delta)
    return tf.image.adjust_brightness(image, delta)


def color_jitter(
    image: tf.Tensor,
    seed: tf.Tensor,
    brightness: float = 0.4,
    contrast: float = 0.4,
    saturation: float = 0.4,
    hue: float = 0.1,
) -> tf.Tensor:
    """Changes brightness, contrast, saturation and hue, in random order.

    The color distortion of "A simple framework for contrastive learning of visual
    representations" (Chen et al., 2020, https://arxiv.org/abs/2002.05709, appendix A),
    as torchvision's ColorJitter samples it.

    Args:
      image: uint8 image.
      seed: int64 [2].
      brightness: b, for a factor from max(0, 1 - b) to 1 + b.
      contrast: as `brightness`.
      saturation: as `brightness`.
      hue: largest shift, as a fraction of the color circle, at most 0.5.
    """
    op = "color_jitter"
    arguments.check(op, brightness=(brightness, 0, math.inf), hue=(hue, 0, 0.5))
    arguments.check(op, contrast=(contrast, 0, math.inf))
    arguments.check(op, saturation=(saturation, 0, math.inf))
    numbers = tf.random.stateless_uniform([8], seed)
    functions = (enhance_brightness, enhance_contrast, enhance_color, shift_hue)
    values = [
        max(0.0, 1.0 - b) + numbers[i] * (1.0 + b - max(0.0, 1.0 - b))
        for i, b in enumerate((brightness, contrast, saturation))
    ]
    values.append((2 * numbers[3] - 1) * hue)
    order = tf.argsort(numbers[4:])
    for place in range(len(functions)):
        branches = [
            lambda image=image, function=function, value=value: function(image, value)
            for function, value in zip(functions, values, strict=True)
        ]
        image = tf.switch_case(order[place], branches)
    return image


def grayscale(image: tf.Tensor, seed: tf.Tensor, p: float = 0.1) -> tf.Tensor:
    """Removes the colors with probability `p`; the number of channels stays."""
    arguments.check("grayscale", p=(p, 0, 1))
    is_gray = tf.random.stateless_uniform([], seed) < p
    return tf.cond(is_gray, lambda: to_gray(image), lambda: image)


def blur(
    image: tf.Tensor,
    seed: tf.Tensor,
    p: float = 0.5,
    min_sigma: float = 0.1,
    max_sigma: float = 2.0,
) -> tf.Tensor:
    """Blurs with a Gaussian kernel, with probability `p`.

    After "A simple framework for contrastive learning of visual representations" (Chen
    et al., 2020, https://arxiv.org/abs/2002.05709, appendix A).

    Args:
      image: uint8 image.
      seed: int64 [2].
      p: probability.
      min_sigma: smallest standard deviation of the kernel, in pixels.
      max_sigma: largest standard deviation of the kernel, in pixels.
    """
    arguments.check("blur", p=(p, 0, 1), min_sigma=(min_sigma, 0.01, 100))
    arguments.check("blur", max_sigma=(max_sigma, min_sigma, 100))
    is_blurred = tf.random.stateless_uniform([], seed) < p
    sigma = random_ops.derive_seed(seed, "sigma")
    sigma = tf.random.stateless_uniform([], sigma, min_sigma, max_sigma)
    return tf.cond(is_blurred, lambda: smooth(image, sigma), lambda: image)


def _map_channels(image, matrix):
    """Multiplies the colors by a matrix [3, 3]; returns float32."""
    flat = tf.reshape(tf.cast(image, tf.float32), [-1, 3])
    mapped = tf.matmul(flat, tf.cast(matrix, tf.float32))
    return _with_shape_of(image, tf.reshape(mapped, tf.shape(image)))


def _repeat_border(image, margin):
    """Adds repetitions of the border pixels on all sides."""
    for axis in (0, 1):
        length = tf.shape(image)[axis]
        places = tf.clip_by_value(tf.range(-margin, length + margin), 0, length - 1)
        image = tf.gather(image, places, axis=axis)
    return image


def _with_shape_of(image, result):
    result.set_shape(image.shape)
    return result
