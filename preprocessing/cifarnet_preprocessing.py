"""Preprocessing of the CIFAR family: float32, each image standardized.

Training pads the image, takes a random crop, mirrors it at random and distorts
brightness and contrast; evaluation crops or pads centrally. Nothing is resized.
After "ImageNet classification with deep convolutional neural networks" (Krizhevsky et
al., 2012) and its small networks for CIFAR-10.

Values of any dtype are expected in 0 to 255; the output has mean 0 and standard
deviation 1 (an image of one color is all zeros). A grayscale image keeps its one
channel, an alpha channel is dropped.
"""

from preprocessing import preprocessing_utils as utils
from preprocessing import random_ops
from tf_slim_compat import tf

PADDING = 4
MAX_BRIGHTNESS = 63.0


def _to_float(image: tf.Tensor, use_grayscale: bool) -> tf.Tensor:
    image = tf.cast(utils.with_known_channels(image), tf.float32)
    return utils.to_gray(image) if use_grayscale else image


def preprocess_for_train(
    image: tf.Tensor,
    output_height: int,
    output_width: int,
    padding: int = PADDING,
    add_image_summaries: bool = True,
    use_grayscale: bool = False,
) -> tf.Tensor:
    """Preprocesses one image for training, with random distortions.

    Args:
      image: `[any, any, 1 to 4 channels]`, values in 0 to 255, any dtype and size.
      output_height: in pixels.
      output_width: in pixels.
      padding: zeros added to each side before cropping, in pixels; an image that is
        still smaller than the output is padded further.
      add_image_summaries: whether to add summaries of the raw and the distorted image.
      use_grayscale: whether the output has one channel.

    Returns:
      float32 `[output_height, output_width, channels]`, standardized.
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
    return _distort(cropped, add_image_summaries)


def _distort(image: tf.Tensor, add_image_summaries: bool) -> tf.Tensor:
    image = utils.random_flip(image)
    if add_image_summaries:
        tf.summary.image("distorted_image", image[None])
    delta = random_ops.uniform("brightness", [], -MAX_BRIGHTNESS, MAX_BRIGHTNESS)
    image = tf.image.adjust_brightness(image, delta)
    image = tf.image.adjust_contrast(
        image, random_ops.uniform("contrast", [], 0.2, 1.8)
    )
    return tf.image.per_image_standardization(image)


def convert(
    image: tf.Tensor,
    output_height: int,
    output_width: int,
    is_training: bool,
    use_grayscale: bool = False,
) -> tf.Tensor:
    """Does everything but padding and cropping; see `preprocess_image`."""
    image = _to_float(image, use_grayscale)
    image.set_shape([output_height, output_width, None])
    if is_training:
        return _distort(image, add_image_summaries=False)
    return tf.image.per_image_standardization(image)


def preprocess_for_eval(
    image: tf.Tensor,
    output_height: int,
    output_width: int,
    add_image_summaries: bool = True,
    use_grayscale: bool = False,
) -> tf.Tensor:
    """Preprocesses one image for evaluation.

    Args:
      image: `[any, any, 1 to 4 channels]`, values in 0 to 255, any dtype and size.
      output_height: in pixels.
      output_width: in pixels.
      add_image_summaries: whether to add summaries of the raw and the cropped image.
      use_grayscale: whether the output has one channel.

    Returns:
      float32 `[output_height, output_width, channels]`, standardized.
    """
    image = _to_float(image, use_grayscale)
    if add_image_summaries:
        tf.summary.image("image", image[None])
    image = tf.image.resize_image_with_crop_or_pad(image, output_height, output_width)
    if add_image_summaries:
        tf.summary.image("resized_image", image[None])
    return tf.image.per_image_standardization(image)


def preprocess_image(
    image: tf.Tensor,
    output_height: int,
    output_width: int,
    is_training: bool = False,
    add_image_summaries: bool = True,
    use_grayscale: bool = False,
) -> tf.Tensor:
    """Preprocesses one image for training or evaluation.

    Args:
      image: `[any, any, 1 to 4 channels]`, values in 0 to 255, any dtype and size.
      output_height: in pixels.
      output_width: in pixels.
      is_training: training with random distortions, or evaluation.
      add_image_summaries: whether to add summaries of the image before and after.
      use_grayscale: whether the output has one channel.

    Returns:
      float32 `[output_height, output_width, channels]`, standardized.
    """
    preprocess = preprocess_for_train if is_training else preprocess_for_eval
    return preprocess(
        image,
        output_height,
        output_width,
        add_image_summaries=add_image_summaries,
        use_grayscale=use_grayscale,
    )
