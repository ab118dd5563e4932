"""Preprocessing of LeNet: float32, cropped or padded centrally, about [-1, 1].

For the small grayscale digits of "Gradient-based learning applied to document
recognition" (LeCun et al., 1998). Training and evaluation are
the same; nothing is resized.

Values of any dtype are expected in 0 to 255; the output lies in [-1, 0.9921875]. A
grayscale image keeps its one channel, an alpha channel is dropped.
"""

from preprocessing import preprocessing_utils as utils
from tf_slim_compat import tf


def preprocess_image(
    image: tf.Tensor,
    output_height: int,
    output_width: int,
    is_training: bool,
    use_grayscale: bool = False,
) -> tf.Tensor:
    """Preprocesses one image.

    Args:
      image: `[any, any, 1 to 4 channels]`, values in 0 to 255, any dtype and size.
      output_height: in pixels.
      output_width: in pixels.
      is_training: has no effect.
      use_grayscale: whether the output has one channel.

    Returns:
      float32 `[output_height, output_width, channels]` in [-1, 0.9921875].
    """
    image = tf.cast(utils.with_known_channels(image), tf.float32)
    if use_grayscale:
        image = utils.to_gray(image)
    image = tf.image.resize_image_with_crop_or_pad(image, output_height, output_width)
    return (image - 128.0) / 128.0
