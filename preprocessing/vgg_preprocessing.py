"""Preprocessing of the VGG and ResNet families: float32, the mean color subtracted.

Training samples the length of the smaller side, resizes to it, takes a random crop and
mirrors it at random; evaluation resizes the smaller side to 256 and crops centrally.
After "Very deep convolutional networks for large-scale image recognition" (Simonyan and
Zisserman, 2014, https://arxiv.org/abs/1409.1556).

Values of any dtype are expected in 0 to 255; the output is not scaled, so it lies in
[-123.68, 151.06]. A grayscale image is repeated to three channels, an alpha channel is
dropped. With `use_grayscale` the output is the luminance of the image minus the
luminance of the mean color, which is the luminance of the color output.

If the output is larger than the side to which an image would be resized, that side is
raised to the output's larger side, so every output size works.
"""

from collections.abc import Sequence

import numpy as np

from preprocessing import preprocessing_utils as utils
from preprocessing import random_ops
from tf_slim_compat import tf

# Users' code knows the means, and the functions with an underscore, by these names.
_R_MEAN, _G_MEAN, _B_MEAN = MEAN_RGB = (123.68, 116.78, 103.94)
RESIZE_SIDE_MIN = 256
RESIZE_SIDE_MAX = 512


def random_window(
    image_shape: tf.Tensor,
    output_height: int,
    output_width: int,
    side_min: int,
    side_max: int,
) -> tf.Tensor:
    """Samples the window of the raw image that becomes the training image.

    Resizing the smaller side to S and then taking a random crop of the output's size
    reads a window of the output's size times (smaller side / S). Here it is cropped
    first and only the window is resized. Its position and size are whole pixels, which
    rounds each by at most half a pixel of the raw image compared to resizing first.

    Args:
      image_shape: int32 [3], the shape of the raw image.
      output_height: in pixels.
      output_width: in pixels.
      side_min: the smallest S.
      side_max: the largest S, inclusive.

    Returns:
      int32 [4] `(y, x, height, width)`.
    """
    side_min = max(side_min, output_height, output_width)
    side_max = max(side_max, side_min)
    side = random_ops.uniform("side", [], side_min, side_max + 1, tf.int32)
    limits = image_shape[:2]
    scale = tf.cast(tf.reduce_min(limits), tf.float32) / tf.cast(side, tf.float32)
    output = tf.constant([output_height, output_width], tf.float32)
    size = tf.cast(tf.round(output * scale), tf.int32)
    size = tf.minimum(tf.maximum(size, 1), limits)
    return tf.concat([utils.random_begin(limits, size), size], 0)


def crop_window(
    image_shape: tf.Tensor,
    output_height: int | None,
    output_width: int | None,
    is_training: bool,
) -> tf.Tensor | None:
    """Returns the part of the raw image that is used: all of it in evaluation.

    Args:
      image_shape: int32 [3], the shape of the raw image.
      output_height: in pixels; may be None for evaluation.
      output_width: as `output_height`.
      is_training: whether to sample a window with `random_window`.

    Returns:
      int32 [4] `(y, x, height, width)`, or None.

    Raises:
      ValueError: in training without the output's height and width.
    """
    if not is_training:
        return None
    if output_height is None or output_width is None:
        raise ValueError(
            "The vgg training window depends on the output's size, but output_height "
            f"is {output_height} and output_width is {output_width}: pass both to "
            "crop_window."
        )
    return random_window(
        image_shape, output_height, output_width, RESIZE_SIDE_MIN, RESIZE_SIDE_MAX
    )


def finish(
    image: tf.Tensor,
    output_height: int,
    output_width: int,
    is_training: bool,
    use_grayscale: bool = False,
) -> tf.Tensor:
    """Does everything after the crop to `crop_window`; see `preprocess_image`."""
    if not is_training:
        return preprocess_image(
            image, output_height, output_width, use_grayscale=use_grayscale
        )
    image = utils.with_known_channels(image)
    image = utils.resize_bilinear(image, output_height, output_width)
    return convert(image, output_height, output_width, True, use_grayscale)


def convert(
    image: tf.Tensor,
    output_height: int,
    output_width: int,
    is_training: bool,
    use_grayscale: bool = False,
) -> tf.Tensor:
    """Does everything but cropping and resizing; see `preprocess_image`."""
    image = tf.cast(image, tf.float32)
    if is_training:
        image = utils.random_flip(image)
    return _to_output(image, output_height, output_width, use_grayscale)


def _to_output(
    image: tf.Tensor, output_height: int, output_width: int, use_grayscale: bool
) -> tf.Tensor:
    image.set_shape([output_height, output_width, image.shape[-1]])
    if use_grayscale:
        return utils.to_gray(image) - np.dot(MEAN_RGB, utils.LUMA_WEIGHTS)
    return _mean_image_subtraction(utils.to_rgb(image), MEAN_RGB)


def _mean_image_subtraction(image: tf.Tensor, means: Sequence[float]) -> tf.Tensor:
    """Subtracts the mean of each channel from an image [height, width, channels].

    Raises:
      ValueError: if the image has another rank, or another number of channels.
    """
    image = tf.convert_to_tensor(image)
    if image.shape.rank != 3 or image.shape[-1] != len(means):
        raise ValueError(
            "The image must have the shape [height, width, channels] with as many "
            f"channels as there are means, {len(means)}, but its shape is "
            f"{image.shape}."
        )
    means, width = np.array(means, np.float32), image.shape.as_list()[1]
    # A row of means: subtracting three numbers is five times as slow.
    row = means if width is None else np.tile(means, [width, 1])
    return tf.cast(image, tf.float32) - row


def _aspect_preserving_resize(
    image: tf.Tensor, smallest_side: int | tf.Tensor
) -> tf.Tensor:
    """Resizes an image bilinearly so that its smaller side has a given length."""
    image = utils.with_known_channels(image)
    sides = tf.shape(image)[:2]
    scale = tf.cast(smallest_side, tf.float32) / tf.cast(
        tf.reduce_min(sides), tf.float32
    )
    size = tf.cast(tf.round(tf.cast(sides, tf.float32) * scale), tf.int32)
    return utils.resize_bilinear(image, size[0], size[1])


def _crop_all(
    images: Sequence[tf.Tensor], begin: tf.Tensor, size: tf.Tensor
) -> list[tf.Tensor]:
    window = tf.concat([begin, size], 0)
    return [utils.crop(image, window) for image in images]


def _central_crop(
    image_list: Sequence[tf.Tensor], crop_height: int, crop_width: int
) -> list[tf.Tensor]:
    """Crops the middle of each of some images."""
    size = tf.constant([crop_height, crop_width])
    return [
        _crop_all([image], (tf.shape(image)[:2] - size) // 2, size)[0]
        for image in image_list
    ]


def _random_crop(
    image_list: Sequence[tf.Tensor], crop_height: int, crop_width: int
) -> list[tf.Tensor]:
    """Crops the same random window from images of one size, such as image and mask.

    Raises:
      ValueError: if there are no images.
    """
    if not image_list:
        raise ValueError("There are no images to crop: image_list is empty.")
    size = tf.constant([crop_height, crop_width])
    begin = utils.random_begin(tf.shape(image_list[0])[:2], size)
    return _crop_all(image_list, begin, size)


def preprocess_for_train(
    image: tf.Tensor,
    output_height: int,
    output_width: int,
    resize_side_min: int = RESIZE_SIDE_MIN,
    resize_side_max: int = RESIZE_SIDE_MAX,
    use_grayscale: bool = False,
) -> tf.Tensor:
    """Preprocesses one image for training, with random distortions.

    Args:
      image: `[any, any, 1 to 4 channels]`, values in 0 to 255, any dtype and size.
      output_height: in pixels.
      output_width: in pixels.
      resize_side_min: smallest length of the smaller side before cropping.
      resize_side_max: largest length of the smaller side, inclusive.
      use_grayscale: whether the output has one channel.

    Returns:
      float32 `[output_height, output_width, 3]`, or 1 channel with `use_grayscale`.
    """
    image = utils.with_known_channels(image)
    window = random_window(
        tf.shape(image), output_height, output_width, resize_side_min, resize_side_max
    )
    image = utils.crop(image, window)
    return finish(image, output_height, output_width, True, use_grayscale)


def preprocess_for_eval(
    image: tf.Tensor,
    output_height: int,
    output_width: int,
    resize_side: int,
    use_grayscale: bool = False,
) -> tf.Tensor:
    """Preprocesses one image for evaluation.

    Args:
      image: `[any, any, 1 to 4 channels]`, values in 0 to 255, any dtype and size.
      output_height: in pixels.
      output_width: in pixels.
      resize_side: length of the smaller side before cropping centrally.
      use_grayscale: whether the output has one channel.

    Returns:
      float32 `[output_height, output_width, 3]`, or 1 channel with `use_grayscale`.
    """
    side = max(resize_side, output_height, output_width)
    image = _aspect_preserving_resize(image, side)
    (image,) = _central_crop([image], output_height, output_width)
    return _to_output(image, output_height, output_width, use_grayscale)


def preprocess_image(
    image: tf.Tensor,
    output_height: int,
    output_width: int,
    is_training: bool = False,
    resize_side_min: int = RESIZE_SIDE_MIN,
    resize_side_max: int = RESIZE_SIDE_MAX,
    use_grayscale: bool = False,
) -> tf.Tensor:
    """Preprocesses one image for training or evaluation.

    Args:
      image: `[any, any, 1 to 4 channels]`, values in 0 to 255, any dtype and size.
      output_height: in pixels.
      output_width: in pixels.
      is_training: training with random distortions, or evaluation.
      resize_side_min: smallest length of the smaller side in training, its length in
        evaluation.
      resize_side_max: largest length of the smaller side in training.
      use_grayscale: whether the output has one channel.

    Returns:
      float32 `[output_height, output_width, 3]`, or 1 channel with `use_grayscale`.
    """
    if is_training:
        return preprocess_for_train(
            image,
            output_height,
            output_width,
            resize_side_min,
            resize_side_max,
            use_grayscale,
        )
    return preprocess_for_eval(
        image, output_height, output_width, resize_side_min, use_grayscale
    )
