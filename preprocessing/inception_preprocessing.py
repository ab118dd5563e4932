"""Preprocessing of the Inception family: float32 pictures in [-1, 1].

Training cuts a random window by area and aspect ratio, resizes it, mirrors it and
distorts its colours, after "Going deeper with convolutions" (Szegedy et al., 2015,
https://arxiv.org/abs/1409.4842) and "Some improvements on deep convolutional neural
network based image classification" (Howard, 2013, https://arxiv.org/abs/1312.5402).
Evaluation resizes the central 87.5 % of each side.

Integer pictures are read as 0 to the dtype's maximum (uint8: 0 to 255), float pictures
as [0, 1]. A grey picture is repeated to three channels, an alpha channel is dropped.
Resizing samples at `i * source / target`, without half-pixel centres, as the published
checkpoints were trained and evaluated.
"""

import functools

from preprocessing import draws
from preprocessing import preprocessing_utils as utils
from tf_slim_compat import tf

CENTRAL_FRACTION = 0.875

_RESIZE_METHODS = (
    tf.image.ResizeMethod.BILINEAR,
    tf.image.ResizeMethod.NEAREST_NEIGHBOR,
    tf.image.ResizeMethod.BICUBIC,
    tf.image.ResizeMethod.AREA,
)

# What adjusts a picture, and between which values its amount is drawn.
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


def apply_with_random_selector(x, func, num_cases):
    """Computes `func(x, case)` for one case drawn uniformly at run time.

    Args:
      x: tensor, the first argument of `func`.
      func: function of `(x, case)`, `case` a Python int; every case must return a
        tensor of the same dtype.
      num_cases: number of cases, at least 1; only the drawn one is computed.

    Returns:
      The tensor that `func` returns for the drawn case.
    """
    if num_cases == 1:
        return func(x, 0)
    branches = [functools.partial(func, x, case) for case in range(num_cases)]
    drawn = draws.uniform("case", [], 0, num_cases, tf.int32)
    return tf.switch_case(drawn, branches)


def distort_color(image, color_ordering=0, fast_mode=True, scope=None):
    """Distorts brightness and saturation, and unless in fast mode hue and contrast.

    Args:
      image: float picture in [0, 1], 1 or 3 channels; the saturation and hue of a grey
        picture are left alone.
      color_ordering: which order of the distortions, 0 to 3. In fast mode 0 is
        brightness first and any other number saturation first.
      fast_mode: whether hue and contrast are left out.
      scope: optional name scope.

    Returns:
      The distorted picture, clipped to [0, 1]; same shape and dtype.

    Raises:
      ValueError: `color_ordering` is not 0 to 3.
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
                image = adjust(image, draws.uniform(distortion, [], low, high))
        return tf.clip_by_value(image, 0.0, 1.0)


def random_window(
    image_shape,
    bbox=None,
    min_object_covered=0.1,
    aspect_ratio_range=(0.75, 1.33),
    area_range=(0.05, 1.0),
    max_attempts=100,
):
    """Draws a window by area and aspect ratio.

    Args:
      image_shape: int32 [3], the shape of the picture.
      bbox: float32 [1, boxes, 4], boxes as (ymin, xmin, ymax, xmax) in [0, 1]; None is
        the whole picture as the one box.
      min_object_covered: the window covers at least this fraction of one box. With the
        whole picture as the box, no window is smaller than this part of the picture.
      aspect_ratio_range: width / height of the window.
      area_range: area of the window as a fraction of the picture's.
      max_attempts: draws before the whole picture is taken instead.

    Returns:
      (window, box): int32 [4] `(y, x, height, width)`, and the same as float32
      [1, 1, 4] `(ymin, xmin, ymax, xmax)` in [0, 1].
    """
    if bbox is None:
        bbox = tf.constant([[[0.0, 0.0, 1.0, 1.0]]])
    begin, size, box = draws.distorted_bounding_box(
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


def central_window(image_shape, central_fraction=CENTRAL_FRACTION):
    """The central part of a picture, `central_fraction` of each side.

    Args:
      image_shape: int32 [3], the shape of the picture.
      central_fraction: in (0, 1].

    Returns:
      int32 [4] `(y, x, height, width)`, as `tf.image.central_crop` cuts.
    """
    sides = tf.cast(image_shape[:2], tf.float64)
    begin = tf.cast((sides - sides * central_fraction) / 2, tf.int32)
    return tf.concat([begin, image_shape[:2] - 2 * begin], 0)


def distorted_bounding_box_crop(
    image,
    bbox,
    min_object_covered=0.1,
    aspect_ratio_range=(0.75, 1.33),
    area_range=(0.05, 1.0),
    max_attempts=100,
    scope=None,
):
    """Crops the picture to a window drawn by `random_window`.

    Args:
      image: picture `[height, width, channels]`, any dtype.
      bbox: float32 [1, boxes, 4], as for `random_window`.
      min_object_covered: as for `random_window`.
      aspect_ratio_range: as for `random_window`.
      area_range: as for `random_window`.
      max_attempts: as for `random_window`.
      scope: optional name scope.

    Returns:
      (cropped_image, distorted_bbox): the cut picture, and the window as float32
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


def _as_unit_float(image, source_dtype):
    """Scales values of `source_dtype`'s range to float32 in [0, 1]."""
    image = tf.cast(image, tf.float32)
    return image * (1.0 / source_dtype.max) if source_dtype.is_integer else image


def _resize(image, height, width, method=tf.image.ResizeMethod.BILINEAR):
    """Resizes to float32 in [0, 1], `[height, width, channels]`."""
    if method == tf.image.ResizeMethod.BILINEAR:
        resized = utils.resize_bilinear(image, height, width)
    else:
        resized = tf.image.resize_images(image, [height, width], method)
    return _as_unit_float(resized, image.dtype)


def _to_output(image, use_grayscale):
    """From [0, 1] to [-1, 1], with the channels that the network reads."""
    image = utils.to_gray(image) if use_grayscale else utils.to_rgb(image)
    return image * 2.0 - 1.0


def preprocess_for_train(
    image,
    height,
    width,
    bbox,
    fast_mode=True,
    scope=None,
    add_image_summaries=True,
    random_crop=True,
    use_grayscale=False,
):
    """Distorts one picture for training.

    Args:
      image: integer picture, or float in [0, 1]; `[any, any, 1 to 4 channels]`.
      height: of the output, pixels.
      width: of the output, pixels.
      bbox: float32 [1, boxes, 4] with (ymin, xmin, ymax, xmax) in [0, 1], of which the
        window covers a part; None is the whole picture.
      fast_mode: bilinear resizing, brightness and saturation only. Otherwise one of
        four resizing methods, and hue and contrast as well.
      scope: optional name scope.
      add_image_summaries: whether to add summaries of the cropped and the final
        picture.
      random_crop: whether a window is cut; else the whole picture is resized.
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
    image,
    height,
    width,
    central_fraction=CENTRAL_FRACTION,
    scope=None,
    central_crop=True,
    use_grayscale=False,
):
    """Prepares one picture for evaluation.

    Args:
      image: integer picture, or float in [0, 1]; `[any, any, 1 to 4 channels]`.
      height: of the output, pixels; without height and width nothing is resized.
      width: of the output, pixels.
      central_fraction: the part of each side that is kept; None keeps all.
      scope: optional name scope.
      central_crop: whether the central part is cut.
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


def crop_window(image_shape, output_height, output_width, is_training):
    """The part of the raw picture that is read; it does not depend on the output.

    Args:
      image_shape: int32 [3], the shape of the raw picture.
      output_height: unused.
      output_width: unused.
      is_training: `random_window`, or `central_window`.

    Returns:
      int32 [4] `(y, x, height, width)`.
    """
    del output_height, output_width
    return random_window(image_shape)[0] if is_training else central_window(image_shape)


def finish(image, output_height, output_width, is_training, use_grayscale=False):
    """Everything after the crop to `crop_window`; arguments as `preprocess_image`."""
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
    image,
    height,
    width,
    is_training=False,
    bbox=None,
    fast_mode=True,
    add_image_summaries=True,
    crop_image=True,
    use_grayscale=False,
):
    """Prepares one picture for training or evaluation.

    Args:
      image: integer picture, or float in [0, 1]; `[any, any, 1 to 4 channels]`.
      height: of the output, pixels.
      width: of the output, pixels.
      is_training: training with its random distortions, or evaluation.
      bbox: for training, as in `preprocess_for_train`.
      fast_mode: for training, as in `preprocess_for_train`.
      add_image_summaries: for training, as in `preprocess_for_train`.
      crop_image: whether a window (training) or the central part (evaluation) is cut.
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
