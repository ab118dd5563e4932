"""Augmentations that move pixels: flips, rotations, shears, shifts, zooms.

Images are uint8 [height, width, channels]. Matrices of `transform` count pixels from
the upper left corner, so that the center of the first pixel is (0.5, 0.5), as Pillow's
`Image.transform(..., Image.AFFINE, ...)` does.
"""

import logging
import math
from collections.abc import Sequence

from preprocessing.augment import arguments
from tf_slim_compat import tf

# Mid-gray, which the preprocessing scales to about 0.
FILL = 128
# Of Keras' ImageDataGenerator, to those of TensorFlow.
_FILL_MODES = {
    "nearest": "NEAREST",
    "constant": "CONSTANT",
    "reflect": "REFLECT",
    "wrap": "WRAP",
}
Number = float | tf.Tensor
Matrix = Sequence[Number]


def transform(
    image: tf.Tensor,
    matrix: Matrix,
    interpolation: str = "NEAREST",
    fill_mode: str = "CONSTANT",
    fill: float = FILL,
) -> tf.Tensor:
    """Transforms an image by an affine map.

    Args:
      image: uint8 [height, width, channels].
      matrix: six numbers (a, b, c, d, e, f): the result at (x, y) is the image at
        (a x + b y + c, d x + e y + f).
      interpolation: "NEAREST" or "BILINEAR".
      fill_mode: what is outside the image: "CONSTANT", "NEAREST", "REFLECT" or "WRAP".
      fill: value outside the image, 0 to 255, for "CONSTANT".

    Returns:
      uint8 [height, width, channels].
    """
    a, b, c, d, e, f = matrix
    # The op puts the center of the first pixel at (0, 0).
    c, f = c + (a + b - 1) / 2, f + (d + e - 1) / 2
    source = image
    if interpolation == "BILINEAR":
        # Of uint8 images the op cuts off the fractions.
        source = tf.cast(image, tf.float32)
    result = tf.raw_ops.ImageProjectiveTransformV3(
        images=source[None],
        transforms=[[a, b, c, d, e, f, 0.0, 0.0]],
        output_shape=tf.shape(image)[:2],
        interpolation=interpolation,
        fill_mode=fill_mode,
        fill_value=float(fill),
    )[0]
    if interpolation == "BILINEAR":
        result = tf.cast(result + 0.5, tf.uint8)
    result.set_shape(image.shape)
    return result


def rotate(image: tf.Tensor, degrees: Number) -> tf.Tensor:
    """Rotates counterclockwise about the center, like Pillow's `Image.rotate`."""
    radians = degrees * (math.pi / 180)
    cos, sin = tf.cos(radians), tf.sin(radians)
    return transform(image, _about_center(image, (cos, -sin, sin, cos)))


def shear_x(image: tf.Tensor, amount: Number) -> tf.Tensor:
    """Moves row y to the left by `amount * y` pixels."""
    return transform(image, (1.0, amount, 0.0, 0.0, 1.0, 0.0))


def shear_y(image: tf.Tensor, amount: Number) -> tf.Tensor:
    """Moves column x up by `amount * x` pixels."""
    return transform(image, (1.0, 0.0, 0.0, amount, 1.0, 0.0))


def translate_x(image: tf.Tensor, pixels: Number) -> tf.Tensor:
    """Moves the image to the left."""
    return transform(image, (1.0, 0.0, pixels, 0.0, 1.0, 0.0))


def translate_y(image: tf.Tensor, pixels: Number) -> tf.Tensor:
    """Moves the image up."""
    return transform(image, (1.0, 0.0, 0.0, 0.0, 1.0, pixels))


def get_sides(image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns height and width as float32 scalars."""
    return tuple(tf.unstack(tf.cast(tf.shape(image)[:2], tf.float32)))


def flip_lr(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Mirrors left to right with probability one half."""
    return _flip(image, seed, axis=1)


def flip_ud(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Mirrors top to bottom with probability one half."""
    return _flip(image, seed, axis=0)


def rot90(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Rotates by 0, 90, 180 or 270 degrees."""
    turns = tf.random.stateless_uniform([], seed, 0, 4, tf.int32)
    return tf.image.rot90(image, turns)


def affine(
    image: tf.Tensor,
    seed: tf.Tensor,
    rotation_range: float = 0,
    width_shift_range: float | Sequence[float] = 0,
    height_shift_range: float | Sequence[float] = 0,
    shear_range: float = 0,
    zoom_range: float | Sequence[float] = 0,
    horizontal_flip: bool = False,
    vertical_flip: bool = False,
    fill_mode: str = "nearest",
    cval: float = 0,
    rescale: float | None = None,
) -> tf.Tensor:
    """Rotates, shifts, shears, zooms and flips, all in one interpolation.

    The parameters are those of Keras' `ImageDataGenerator`, sampled as there and
    composed as in its `apply_affine_transform`, with bilinear interpolation.

    Args:
      image: uint8 [height, width, channels].
      seed: int64 [2].
      rotation_range: largest rotation, in degrees.
      width_shift_range: largest shift: a fraction of the width if less than 1,
        otherwise pixels, whole ones if it is an integer; or a list of shifts, one of
        which is chosen, with a random sign.
      height_shift_range: as `width_shift_range`.
      shear_range: largest shear angle, in degrees.
      zoom_range: (smallest, largest) factor by which the visible part of the image
        grows, for width and height independently; z stands for (1 - z, 1 + z).
      horizontal_flip: whether to mirror left to right with probability one half.
      vertical_flip: whether to mirror top to bottom with probability one half.
      fill_mode: what is outside the image: "nearest" (its border), "constant" (`cval`),
        "reflect" or "wrap".
      cval: value outside the image, 0 to 255, for "constant".
      rescale: accepted so that arguments of `ImageDataGenerator` can be pasted, and
        without effect: the preprocessing scales images as the network expects.

    Raises:
      ValueError: if an argument is out of range.
    """
    if rescale is not None:
        logging.info(
            "affine(rescale=%s) has no effect: the preprocessing scales images as the "
            "network expects.",
            rescale,
        )
    check = arguments.check
    check("affine", rotation_range=(rotation_range, 0, 360), cval=(cval, 0, 255))
    check("affine", shear_range=(shear_range, 0, 90))
    if fill_mode not in _FILL_MODES:
        raise ValueError(
            f"affine(fill_mode={fill_mode!r}): fill_mode must be one of "
            f"{', '.join(_FILL_MODES)}."
        )
    if arguments.is_number(zoom_range):
        check("affine", zoom_range=(zoom_range, 0, 0.99))
        zoom_range = (1 - zoom_range, 1 + zoom_range)
    zooms = arguments.check_pair("affine", "zoom_range", zoom_range, 0.01)
    height, width = get_sides(image)
    numbers = tf.unstack(tf.random.stateless_uniform([10], seed))
    angle = _spread(numbers[0], rotation_range) * (math.pi / 180)
    shear = _spread(numbers[1], shear_range) * (math.pi / 180)
    x = _sample_shift(width_shift_range, "width_shift_range", numbers[2:4], width)
    y = _sample_shift(height_shift_range, "height_shift_range", numbers[4:6], height)
    zoom_x, zoom_y = (zooms[0] + u * (zooms[1] - zooms[0]) for u in numbers[6:8])
    # A flip is a zoom by -1.
    zoom_x = tf.where(numbers[8] < 0.5 * bool(horizontal_flip), -zoom_x, zoom_x)
    zoom_y = tf.where(numbers[9] < 0.5 * bool(vertical_flip), -zoom_y, zoom_y)
    matrix = _compose(angle, (x, y), shear, (zoom_x, zoom_y))
    return transform(
        image, _about_center(image, *matrix), "BILINEAR", _FILL_MODES[fill_mode], cval
    )


def _compose(angle, shift, shear, zoom):
    """Returns rotation * shift * shear * zoom as (a, b, d, e) and its shift (x, y)."""
    cos, sin = tf.cos(angle), tf.sin(angle)
    b, e = -tf.sin(shear), tf.cos(shear)
    linear = (
        cos * zoom[0],
        (cos * b - sin * e) * zoom[1],
        sin * zoom[0],
        (sin * b + cos * e) * zoom[1],
    )
    return linear, (cos * shift[0] - sin * shift[1], sin * shift[0] + cos * shift[1])


def _about_center(image, linear, shift=(0.0, 0.0)):
    """Returns the matrix of a map whose origin is the center of the image."""
    a, b, d, e = linear
    height, width = get_sides(image)
    x, y = width / 2, height / 2
    return a, b, x - a * x - b * y + shift[0], d, e, y - d * x - e * y + shift[1]


def _spread(number, largest):
    """Returns a number from [0, 1) spread over [-largest, largest)."""
    return (2 * number - 1) * largest


def _sample_shift(largest, name, numbers, side):
    """Returns a shift in pixels, as Keras samples it; see `affine`."""
    choices = largest
    if arguments.is_number(largest):
        arguments.check("affine", **{name: (largest, 0, math.inf)})
        if isinstance(largest, float) or not largest:
            shift = _spread(numbers[0], largest)
            return shift * side if largest < 1 else shift
        choices = range(largest)
    if not choices or not all(map(arguments.is_number, choices)):
        raise ValueError(
            f"affine({name}={largest!r}): {name} must be a number or a list of numbers."
        )
    values = tf.constant([float(value) for value in choices])
    shift = tf.gather(values, tf.cast(numbers[0] * len(choices), tf.int32))
    shift = tf.where(numbers[1] < 0.5, -shift, shift)
    return shift * side if max(choices) < 1 and not isinstance(largest, int) else shift


def _flip(image, seed, axis):
    is_mirrored = tf.random.stateless_uniform([], seed) < 0.5
    return tf.cond(is_mirrored, lambda: tf.reverse(image, [axis]), lambda: image)
