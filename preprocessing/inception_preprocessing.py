"""Preprocessing of the Inception family: float32 images in [-1, 1].

Training crops a window of random area and aspect ratio, resizes it, mirrors it at
random and distorts its colors, after "Going deeper with convolutions" (Szegedy et
al., 2015, https://arxiv.org/abs/1409.4842) and "Some improvements on deep convolutional
neural network based image classification" (Howard, 2013,
https://arxiv.org/abs/1312.5402).
Evaluation resizes the central 87.5 % of each side.

Integer images are expected in 0 to the dtype's maximum (uint8: 0 to 255), float images
in [0, 1]. A grayscale image is repeated to three channels, an alpha channel is dropped.
Resizing samples at `i * source / target`, without half-pixel centers, as the published
checkpoints were trained and evaluated.
"""

import functools
from collections.abc import Callable

from preprocessing import preprocessing_utils as utils
from preprocessing import random_ops
from tf_slim_compat import tf

CENTRAL_FRACTION = 0.875

_RESIZE_METHODS = (
    tf.image.ResizeMethod.BILINEAR,
    tf.image.ResizeMethod.NEAREST_NEIGHBOR,
    tf.image.ResizeMethod.BICUBIC,
    tf.image.ResizeMethod.AREA,
)

# Function, and the range from which its amount is sampled.
_DISTORTIONS = {
    "brightness": (tf.image.adjust_brightness, -32.0 / 255.0, 32.0 / 255.0),
    "saturation": (tf.image.adjust_saturation, 0.5, 1.5),
    "hue": (tf.image.adjust_hue, -0.2, 0.2),
    "contrast": (tf.image.adjust_contrast, 0.5, 1.5),
}
_COLOR_ORDERINGS = (
    ("brightness", "saturation", "hue", "contrast"),
    ("saturation", "brightness", "contrast", "hue"),
    ("contrast", "hue", "brightness", "saturation"),
    ("hue", "saturation", "contrast", "brightness"),
)
_FAST_DISTORTIONS = ("brightness", "saturation")
_NEEDS_RGB = ("saturation", "hue")


def apply_with_random_selector(
    x: tf.Tensor, func: Callable[[tf.Tensor, int], tf.Tensor], num_cases: int
) -> tf.Tensor:
    """Computes `func(x, case)` for one case sampled uniformly at run time.

    Args:
      x: tensor, the first argument of `func`.
      func: function of `(x, case)`, `case` a Python int; every case must return a
        tensor of the same dtype.
      num_cases: number of cases, at least 1; only the sampled one is computed.

    Returns:
      The tensor that `func` returns for the sampled case.
    """
    if num_cases == 1:
        return func(x, 0)
    branches = [functools.partial(func, x, case) for case in range(num_cases)]
    case = random_ops.uniform("case", [], 0, num_cases, tf.int32)
    return tf.switch_case(case, branches)


def distort_color(
    image: tf.Tensor,
    color_ordering: int = 0,
    fast_mode: bool = True,
    scope: str | None = None,
) -> tf.Tensor:
    """Distorts brightness and saturation and, unless in fast mode, hue and contrast.

    Args:
      image: float image in [0, 1], 1 or 3 channels; with one channel saturation and hue
        are not changed.
      color_ordering: order of the distortions, 0 to 3. In fast mode 0 is brightness
        first and any other number saturation first.
      fast_mode: whether to leave out hue and contrast.
      scope: optional name scope.

    Returns:
      The distorted image, clipped to [0, 1]; same shape and dtype.

    Raises:
      ValueError: if `color_ordering` is not 0 to 3.
    """
    if color_ordering not in range(len(_COLOR_ORDERINGS)):
        raise ValueError(
            f"color_ordering must be 0 to {len(_COLOR_ORDERINGS) - 1}, but is "
            f"{color_ordering}."
        )
    with tf.name_scope(scope, "distort_color", [image]):
        ordering = _COLOR_ORDERINGS[color_ordering]
        if fast_mode:
            ordering = _FAST_DISTORTIONS[:: -1 if color_ordering else 1]
        for distortion in ordering:
            if image.shape[-1] == 3 or distortion not in _NEEDS_RGB:
                adjust, low, high = _DISTORTIONS[distortion]
                image = adjust(image, random_ops.uniform(distortion, [], low, high))
        return tf.clip_by_value(image, 0.0, 1.0)


def random_window(
    image_shape: tf.Tensor,
    bbox: tf.Tensor | None = None,
    min_object_covered: float = 0.1,
    aspect_ratio_range: tuple[float, float] = (0.75, 1.33),
    area_range: tuple[float, float] = (0.05, 1.0),
    max_attempts: int = 100,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Samples a window by area and aspect ratio.

    Args:
      image_shape: int32 [3], the shape of the image.
      bbox: float32 [1, boxes, 4], boxes as (ymin, xmin, ymax, xmax) in [0, 1]; None for
        one box that is the whole image.
      min_object_covered: the window covers at least this fraction of one box. If the
        box is the whole image, no window is smaller than this fraction of the image.
      aspect_ratio_range: width / height of the window.
      area_range: area of the window as a fraction of the image's.
      max_attempts: attempts before the whole image is used instead.

    Returns:
      (window, box): int32 [4] `(y, x, height, width)`, and the same as float32
      [1, 1, 4] `(ymin, xmin, ymax, xmax)` in [0, 1].
    """
    if bbox is None:
        bbox = tf.constant([[[0.0, 0.0, 1.0, 1.0]]])
    begin, size, box = random_ops.distorted_bounding_box(
        "window",
        image_size=image_shape,
        bounding_boxes=bbox,
        min_object_covered=min_object_covered,
        aspect_ratio_range=aspect_ratio_range,
        area_range=area_range,
        max_attempts=max_attempts,
        use_image_if_no_bounding_boxes=True,
    )
    return tf.concat([begin[:2], size[:2]], 0), box


def central_window(
    image_shape: tf.Tensor, central_fraction: float = CENTRAL_FRACTION
) -> tf.Tensor:
    """Returns the central part of an image, `central_fraction` of each side.

    Args:
      image_shape: int32 [3], the shape of the image.
      central_fraction: in (0, 1].

    Returns:
      int32 [4] `(y, x, height, width)`, the window of `tf.image.central_crop`.
    """
    sides = tf.cast(image_shape[:2], tf.float64)
    begin = tf.cast((sides - sides * central_fraction) / 2, tf.int32)
    return tf.concat([begin, image_shape[:2] - 2 * begin], 0)


def distorted_bounding_box_crop(
    image: tf.Tensor,
    bbox: tf.Tensor | None,
    min_object_covered: float = 0.1,
    aspect_ratio_range: tuple[float, float] = (0.75, 1.33),
    area_range: tuple[float, float] = (0.05, 1.0),
    max_attempts: int = 100,
    scope: str | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Crops the image to a window sampled by `random_window`.

    Args:
      image: `[height, width, channels]`, any dtype.
      bbox: float32 [1, boxes, 4], as for `random_window`.
      min_object_covered: as for `random_window`.
      aspect_ratio_range: as for `random_window`.
      area_range: as for `random_window`.
      max_attempts: as for `random_window`.
      scope: optional name scope.

    Returns:
      (cropped_image, distorted_bbox): the cropped image, and the window as float32
      [1, 1, 4] `(ymin, xmin, ymax, xmax)` in [0, 1].
    """
    with tf.name_scope(scope, "distorted_bounding_box_crop", [image, bbox]):
        window, box = random_window(
            tf.shape(image),
            bbox,
            min_object_covered,
            aspect_ratio_range,
            area_range,
            max_attempts,
        )
        return utils.crop(image, window), box


def _as_unit_float(image: tf.Tensor, source_dtype: tf.DType) -> tf.Tensor:
    """Scales values of `source_dtype`'s range to float32 in [0, 1]."""
    image = tf.cast(image, tf.float32)
    return image * (1.0 / source_dtype.max) if source_dtype.is_integer else image


def _resize(
    image: tf.Tensor,
    height: int,
    width: int,
    method: int = tf.image.ResizeMethod.BILINEAR,
) -> tf.Tensor:
    """Resizes to float32 in [0, 1], `[height, width, channels]`."""
    if method == tf.image.ResizeMethod.BILINEAR:
        resized = utils.resize_bilinear(image, height, width)
    else:
        resized = tf.image.resize_images(image, [height, width], method)
    return _as_unit_float(resized, image.dtype)


def _to_output(image: tf.Tensor, use_grayscale: bool) -> tf.Tensor:
    """Scales [0, 1] to [-1, 1], with the channels that the network expects."""
    image = utils.to_gray(image) if use_grayscale else utils.to_rgb(image)
    return image * 2.0 - 1.0


def preprocess_for_train(
    image: tf.Tensor,
    height: int,
    width: int,
    bbox: tf.Tensor | None,
    fast_mode: bool = True,
    scope: str | None = None,
    add_image_summaries: bool = True,
    random_crop: bool = True,
    use_grayscale: bool = False,
) -> tf.Tensor:
    """Preprocesses one image for training, with random distortions.

    Args:
      image: integers, or floats in [0, 1]; `[any, any, 1 to 4 channels]`.
      height: of the output, in pixels.
      width: of the output, in pixels.
      bbox: float32 [1, boxes, 4] with (ymin, xmin, ymax, xmax) in [0, 1], of which the
        window covers a part; None for the whole image.
      fast_mode: bilinear resizing, brightness and saturation only. Otherwise one of
        four resizing methods, and hue and contrast as well.
      scope: optional name scope.
      add_image_summaries: whether to add summaries of the cropped and the final image.
      random_crop: whether to crop; otherwise the whole image is resized.
      use_grayscale: whether the output has one channel.

    Returns:
      float32 `[height, width, 3]`, or 1 channel with `use_grayscale`, in [-1, 1].
    """
    with tf.name_scope(scope, "distort_image", [image]):
        image = utils.with_known_channels(image)
        if random_crop:
            image, _ = distorted_bounding_box_crop(image, bbox)
        image = apply_with_random_selector(
            image,
            lambda x, case: _resize(x, height, width, _RESIZE_METHODS[case]),
            num_cases=1 if fast_mode else len(_RESIZE_METHODS),
        )
        if add_image_summaries:
            tf.summary.image("cropped_resized_image", image[None])
        image = utils.random_flip(image)
        image = apply_with_random_selector(
            image,
            lambda x, ordering: distort_color(x, ordering, fast_mode),
            num_cases=2 if fast_mode else len(_COLOR_ORDERINGS),
        )
        image = _to_output(image, use_grayscale)
        if add_image_summaries:
            tf.summary.image("final_distorted_image", image[None])
        return image


def preprocess_for_eval(
    image: tf.Tensor,
    height: int | None,
    width: int | None,
    central_fraction: float | None = CENTRAL_FRACTION,
    scope: str | None = None,
    central_crop: bool = True,
    use_grayscale: bool = False,
) -> tf.Tensor:
    """Preprocesses one image for evaluation.

    Args:
      image: integers, or floats in [0, 1]; `[any, any, 1 to 4 channels]`.
      height: of the output, in pixels; without height and width nothing is resized.
      width: of the output, in pixels.
      central_fraction: fraction of each side that is kept; None keeps all.
      scope: optional name scope.
      central_crop: whether to crop.
      use_grayscale: whether the output has one channel.

    Returns:
      float32 `[height, width, 3]`, or 1 channel with `use_grayscale`, in [-1, 1].
    """
    with tf.name_scope(scope, "eval_image", [image]):
        image = utils.with_known_channels(image)
        if central_crop and central_fraction:
            window = central_window(tf.shape(image), central_fraction)
            image = utils.crop(image, window)
        if height and width:
            image = _resize(image, height, width)
        else:
            image = _as_unit_float(image, image.dtype)
        return _to_output(image, use_grayscale)


def crop_window(
    image_shape: tf.Tensor,
    output_height: int | None,
    output_width: int | None,
    is_training: bool,
) -> tf.Tensor:
    """Returns the part of the raw image that is used.

    Args:
      image_shape: int32 [3], the shape of the raw image.
      output_height: unused.
      output_width: unused.
      is_training: whether to use `random_window` or `central_window`.

    Returns:
      int32 [4] `(y, x, height, width)`.
    """
    del output_height, output_width
    return random_window(image_shape)[0] if is_training else central_window(image_shape)


def finish(
    image: tf.Tensor,
    output_height: int,
    output_width: int,
    is_training: bool,
    use_grayscale: bool = False,
) -> tf.Tensor:
    """Does everything after the crop to `crop_window`; see `preprocess_image`."""
    return preprocess_image(
        image,
        output_height,
        output_width,
        is_training,
        add_image_summaries=False,
        crop_image=False,
        use_grayscale=use_grayscale,
    )


def preprocess_image(
    image: tf.Tensor,
    height: int,
    width: int,
    is_training: bool = False,
    bbox: tf.Tensor | None = None,
    fast_mode: bool = True,
    add_image_summaries: bool = True,
    crop_image: bool = True,
    use_grayscale: bool = False,
) -> tf.Tensor:
    """Preprocesses one image for training or evaluation.

    Args:
      image: integers, or floats in [0, 1]; `[any, any, 1 to 4 channels]`.
      height: of the output, in pixels.
      width: of the output, in pixels.
      is_training: training with random distortions, or evaluation.
      bbox: for training, as in `preprocess_for_train`.
      fast_mode: for training, as in `preprocess_for_train`.
      add_image_summaries: for training, as in `preprocess_for_train`.
      crop_image: whether to crop to a random (training) or central (evaluation) window.
      use_grayscale: whether the output has one channel.

    Returns:
      float32 `[height, width, 3]`, or 1 channel with `use_grayscale`, in [-1, 1].
    """
    if is_training:
        return preprocess_for_train(
            image,
            height,
            width,
            bbox,
            fast_mode,
            add_image_summaries=add_image_summaries,
            random_crop=crop_image,
            use_grayscale=use_grayscale,
        )
    return preprocess_for_eval(
        image, height, width, central_crop=crop_image, use_grayscale=use_grayscale
    )
