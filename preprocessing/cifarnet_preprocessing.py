"""Preprocessing of the CIFAR family: float32, each picture standardised.

Training pads the picture, cuts a window at random, mirrors it and distorts brightness
and contrast; evaluation cuts or pads the centre. Nothing is resized. After "ImageNet
classification with deep convolutional neural networks" (Krizhevsky et al., 2012) and
its small networks for CIFAR-10.

Pictures of any dtype are read as 0 to 255; the output has mean 0 and standard deviation
1 (a picture of one colour is all zeros). A grey picture keeps its one channel, an alpha
channel is dropped.
"""

from preprocessing import draws
from preprocessing import preprocessing_utils as utils
from tf_slim_compat import tf

PADDING = 4
MAX_BRIGHTNESS = 63.0


def _to_float(image, use_grayscale):
    image = tf.cast(utils.with_known_channels(image), tf.float32)
    return utils.to_gray(image) if use_grayscale else image


def preprocess_for_train(
    image,
    output_height,
    output_width,
    padding=PADDING,
    add_image_summaries=True,
    use_grayscale=False,
):
    """Distorts one picture for training.

    Args:
      image: `[any, any, 1 to 4 channels]`, values in 0 to 255, any dtype and size.
      output_height: pixels.
      output_width: pixels.
      padding: zeros added to each side before the window is cut, pixels; a picture
        that is smaller than the output all the same is padded up to it.
      add_image_summaries: whether to add summaries of the raw and the distorted
        picture.
      use_grayscale: whether the output has one channel.

    Returns:
      float32 `[output_height, output_width, channels]`, mean 0 and deviation 1.
    """
    image = _to_float(image, use_grayscale)
    if add_image_summaries:
        tf.summary.image("image", image[None])
    output = tf.constant([output_height, output_width])
    missing = tf.maximum(output - tf.shape(image)[:2] - 2 * padding, 0)
    before = padding + missing // 2
    after = padding + missing - missing // 2
    margins = tf.concat([tf.stack([before, after], 1), [[0, 0]]], 0)
    padded = tf.pad(image, margins)
    begin = utils.random_begin(tf.shape(padded)[:2], output)
    cropped = utils.crop(padded, tf.concat([begin, output], 0))
    cropped.set_shape([output_height, output_width, image.shape[-1]])
    image = utils.random_flip(cropped)
    if add_image_summaries:
        tf.summary.image("distorted_image", image[None])
    delta = draws.uniform("brightness", [], -MAX_BRIGHTNESS, MAX_BRIGHTNESS)
    image = tf.image.adjust_brightness(image, delta)
    image = tf.image.adjust_contrast(image, draws.uniform("contrast", [], 0.2, 1.8))
    return tf.image.per_image_standardization(image)


def preprocess_for_eval(
    image, output_height, output_width, add_image_summaries=True, use_grayscale=False
):
    """Prepares one picture for evaluation.

    Args:
      image: `[any, any, 1 to 4 channels]`, values in 0 to 255, any dtype and size.
      output_height: pixels.
      output_width: pixels.
      add_image_summaries: whether to add summaries of the raw and the cut picture.
      use_grayscale: whether the output has one channel.

    Returns:
      float32 `[output_height, output_width, channels]`, mean 0 and deviation 1.
    """
    image = _to_float(image, use_grayscale)
    if add_image_summaries:
        tf.summary.image("image", image[None])
    image = tf.image.resize_image_with_crop_or_pad(image, output_height, output_width)
    if add_image_summaries:
        tf.summary.image("resized_image", image[None])
    return tf.image.per_image_standardization(image)


def preprocess_image(
    image,
    output_height,
    output_width,
    is_training=False,
    add_image_summaries=True,
    use_grayscale=False,
):
    """Prepares one picture for training or evaluation.

    Args:
      image: `[any, any, 1 to 4 channels]`, values in 0 to 255, any dtype and size.
      output_height: pixels.
      output_width: pixels.
      is_training: training with its random distortions, or evaluation.
      add_image_summaries: whether to add summaries of the picture before and after.
      use_grayscale: whether the output has one channel.

    Returns:
      float32 `[output_height, output_width, channels]`, mean 0 and deviation 1.
    """
    preprocess = preprocess_for_train if is_training else preprocess_for_eval
    return preprocess(
        image,
        output_height,
        output_width,
        add_image_summaries=add_image_summaries,
        use_grayscale=use_grayscale,
    )
