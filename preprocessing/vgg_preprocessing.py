"""Preprocessing of the VGG and ResNet families: float32, the mean colour subtracted.

Training draws the length of the smaller side, resizes to it, cuts a window at random
and mirrors it; evaluation resizes the smaller side to 256 and cuts the centre, after
"Very deep convolutional networks for large-scale image recognition" (Simonyan and
Zisserman, 2014, https://arxiv.org/abs/1409.1556).

Pictures of any dtype are read as 0 to 255; the output is not scaled, so it lies in
[-123.68, 151.06]. A grey picture is repeated to three channels, an alpha channel is
dropped. With `use_grayscale` the output is the luminance of the picture less the
luminance of the mean colour, which is the luminance of the colour output.

An output larger than the side to which a picture would be resized raises that side to
the output's larger side, so every output size works.
"""

import numpy as np

from preprocessing import draws
from preprocessing import preprocessing_utils as utils
from tf_slim_compat import tf

MEAN_RGB = (123.68, 116.78, 103.94)
RESIZE_SIDE_MIN = 256
RESIZE_SIDE_MAX = 512


def random_window(image_shape, output_height, output_width, side_min, side_max):
    """Draws the window of the raw picture that becomes the training picture.

    Resizing the smaller side to S and then cutting the output's size at random reads a
    window of the output's size times (smaller side / S). It is cut first, so that only
    the window is resized. Its place and size are whole pixels here: against resizing
    first, each is rounded by at most half a pixel of the raw picture.

    Args:
      image_shape: int32 [3], the shape of the raw picture.
      output_height: pixels.
      output_width: pixels.
      side_min: the least S.
      side_max: the greatest S, inclusive.

    Returns:
      int32 [4] `(y, x, height, width)`.
    """
    side_min = max(side_min, output_height, output_width)
    side_max = max(side_max, side_min)
    side = draws.uniform("side", [], side_min, side_max + 1, tf.int32)
    limits = image_shape[:2]
    scale = tf.cast(tf.reduce_min(limits), tf.float32) / tf.cast(side, tf.float32)
    output = tf.constant([output_height, output_width], tf.float32)
    size = tf.cast(tf.round(output * scale), tf.int32)
    size = tf.minimum(tf.maximum(size, 1), limits)
    return tf.concat([utils.random_begin(limits, size), size], 0)


def crop_window(image_shape, output_height, output_width, is_training):
    """The part of the raw picture that is read, or None: evaluation resizes it whole.

    Args:
      image_shape: int32 [3], the shape of the raw picture.
      output_height: pixels; for evaluation it may be None.
      output_width: as `output_height`.
      is_training: whether a window is drawn, as `random_window` does.

    Returns:
      int32 [4] `(y, x, height, width)`, or None.

    Raises:
      ValueError: training without the output's height and width.
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


def finish(image, output_height, output_width, is_training, use_grayscale=False):
    """Everything after the crop to `crop_window`; arguments as `preprocess_image`."""
    if not is_training:
        return preprocess_image(
            image, output_height, output_width, use_grayscale=use_grayscale
        )
    image = utils.with_known_channels(image)
    image = utils.random_flip(utils.resize_bilinear(image, output_height, output_width))
    return _to_output(image, output_height, output_width, use_grayscale)


def _to_output(image, output_height, output_width, use_grayscale):
    if use_grayscale:
        image = utils.to_gray(image) - np.dot(MEAN_RGB, utils.LUMA_WEIGHTS)
    else:
        # A row of means: subtracting three numbers is five times as slow.
        mean = np.tile(np.array(MEAN_RGB, np.float32), [output_width, 1])
        image = utils.to_rgb(image) - mean
    image.set_shape([output_height, output_width, 1 if use_grayscale else 3])
    return image


def preprocess_for_train(
    image,
    output_height,
    output_width,
    resize_side_min=RESIZE_SIDE_MIN,
    resize_side_max=RESIZE_SIDE_MAX,
    use_grayscale=False,
):
    """Distorts one picture for training.

    Args:
      image: `[any, any, 1 to 4 channels]`, values in 0 to 255, any dtype and size.
      output_height: pixels.
      output_width: pixels.
      resize_side_min: least length of the smaller side, of which the output is cut.
      resize_side_max: greatest length of the smaller side, inclusive.
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
    image, output_height, output_width, resize_side, use_grayscale=False
):
    """Prepares one picture for evaluation.

    Args:
      image: `[any, any, 1 to 4 channels]`, values in 0 to 255, any dtype and size.
      output_height: pixels.
      output_width: pixels.
      resize_side: length of the smaller side, of which the centre is cut.
      use_grayscale: whether the output has one channel.

    Returns:
      float32 `[output_height, output_width, 3]`, or 1 channel with `use_grayscale`.
    """
    image = utils.with_known_channels(image)
    sides = tf.shape(image)[:2]
    side = float(max(resize_side, output_height, output_width))
    scale = side / tf.cast(tf.reduce_min(sides), tf.float32)
    resized = tf.cast(tf.round(tf.cast(sides, tf.float32) * scale), tf.int32)
    image = utils.resize_bilinear(image, resized[0], resized[1])
    output = tf.constant([output_height, output_width])
    begin = (resized - output) // 2
    image = utils.crop(image, tf.concat([begin, output], 0))
    return _to_output(image, output_height, output_width, use_grayscale)


def preprocess_image(
    image,
    output_height,
    output_width,
    is_training=False,
    resize_side_min=RESIZE_SIDE_MIN,
    resize_side_max=RESIZE_SIDE_MAX,
    use_grayscale=False,
):
    """Prepares one picture for training or evaluation.

    Args:
      image: `[any, any, 1 to 4 channels]`, values in 0 to 255, any dtype and size.
      output_height: pixels.
      output_width: pixels.
      is_training: training with its random distortions, or evaluation.
      resize_side_min: for training the least length of the smaller side; for
        evaluation its length.
      resize_side_max: for training the greatest length of the smaller side.
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
