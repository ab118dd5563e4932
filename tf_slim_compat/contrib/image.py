"""`tf.contrib.image`: rotations, translations and projective transforms of images.

A transform is a row of eight numbers [a0, a1, a2, b0, b1, b2, c0, c1]: the output at
(x, y) is the input at ((a0 x + a1 y + a2) / k, (b0 x + b1 y + b2) / k), where
k = c0 x + c1 y + 1.
"""

from collections.abc import Sequence

from tf_slim_compat import tf
from tf_slim_compat.contrib.forwarding import make_getattr

_DTYPES = (tf.uint8, tf.int32, tf.int64, tf.float16, tf.float32, tf.float64)
# Rank of the images -> axes that make a batch with channels of them.
_ADDED_AXES = {2: (0, 3), 3: (0,), 4: ()}
TensorLike = tf.Tensor | Sequence | float

__getattr__ = make_getattr(
    "image",
    instead={
        "adjust_hsv_in_yiq": "use tf.image.adjust_hue and tf.image.adjust_saturation",
        "connected_components": "use scipy.ndimage.label in tf.py_func",
        "random_hsv_in_yiq": "use tf.image.random_hue and tf.image.random_saturation",
        "": "tf.image has the other operations on images",
    },
)


def angles_to_projective_transforms(
    angles: TensorLike,
    image_height: TensorLike,
    image_width: TensorLike,
    name: str | None = None,
) -> tf.Tensor:
    """Returns the transforms that rotate images about their centers.

    Args:
      angles: radians counterclockwise, a scalar or [N].
      image_height: pixels, a float scalar.
      image_width: pixels, a float scalar.
      name: scope of the operations.

    Returns:
      Transforms, float32 [N, 8].

    Raises:
      ValueError: if the angles have more than one dimension.
    """
    with tf.name_scope(name, "angles_to_projective_transforms"):
        angles = _as_rows(tf.convert_to_tensor(angles, tf.float32), 0, "angles")
        cos, sin = tf.cos(angles), tf.sin(angles)
        width = tf.cast(image_width, tf.float32) - 1
        height = tf.cast(image_height, tf.float32) - 1
        x_offset = (width - (cos * width - sin * height)) / 2
        y_offset = (height - (sin * width + cos * height)) / 2
        zeros = tf.zeros_like(angles)
        rows = [cos, -sin, x_offset, sin, cos, y_offset, zeros, zeros]
        return tf.stack(rows, axis=1)


def translations_to_projective_transforms(
    translations: TensorLike, name: str | None = None
) -> tf.Tensor:
    """Returns the transforms that shift images.

    Args:
      translations: pixels to the right and down, [2] or [N, 2].
      name: scope of the operations.

    Returns:
      Transforms, float32 [N, 8].
    """
    with tf.name_scope(name, "translations_to_projective_transforms"):
        translations = tf.convert_to_tensor(translations, tf.float32)
        translations = _as_rows(translations, 1, "translations")
        right, down = translations[:, 0], translations[:, 1]
        ones, zeros = tf.ones_like(right), tf.zeros_like(right)
        rows = [ones, zeros, -right, zeros, ones, -down, zeros, zeros]
        return tf.stack(rows, axis=1)


def _as_rows(values: tf.Tensor, rank: int, what: str) -> tf.Tensor:
    """Returns values of this rank as one row, and rows as they are."""
    if values.shape.rank == rank:
        return values[None]
    if values.shape.rank == rank + 1:
        return values
    raise ValueError(
        f"The {what} must have {rank} or {rank + 1} dimensions, known when the graph "
        f"is built; their shape is {values.shape}."
    )


def flat_transforms_to_matrices(transforms: TensorLike) -> tf.Tensor:
    """Returns transforms [8] or [N, 8] as matrices [N, 3, 3]."""
    transforms = tf.convert_to_tensor(transforms, tf.float32)
    transforms = _as_rows(transforms, 1, "transforms")
    ones = tf.ones_like(transforms[:, :1])
    return tf.reshape(tf.concat([transforms, ones], axis=1), [-1, 3, 3])


def matrices_to_flat_transforms(transform_matrices: TensorLike) -> tf.Tensor:
    """Returns matrices [3, 3] or [N, 3, 3] as transforms [N, 8]."""
    matrices = tf.convert_to_tensor(transform_matrices, tf.float32)
    flat = tf.reshape(_as_rows(matrices, 2, "matrices"), [-1, 9])
    return flat[:, :8] / flat[:, 8:]


def compose_transforms(*transforms: TensorLike) -> tf.Tensor:
    """Returns the transforms [N, 8] that have the effect of these, one after another.

    Raises:
      ValueError: if there are none.
    """
    if not transforms:
        raise ValueError("compose_transforms needs at least one transform.")
    composed = flat_transforms_to_matrices(transforms[0])
    for transform_ in transforms[1:]:
        composed = tf.matmul(composed, flat_transforms_to_matrices(transform_))
    return matrices_to_flat_transforms(composed)


def transform(
    images: tf.Tensor,
    transforms: TensorLike,
    interpolation: str = "NEAREST",
    output_shape: Sequence[int] | tf.Tensor | None = None,
    name: str | None = None,
) -> tf.Tensor:
    """Applies projective transforms; what lies outside of the input is 0.

    Args:
      images: [N, height, width, channels], [height, width, channels] or
        [height, width].
      transforms: [8] for all images, or [N, 8].
      interpolation: "NEAREST" or "BILINEAR".
      output_shape: height and width of the output; those of the input if None.
      name: scope of the operations.

    Returns:
      Images of the same type and rank.

    Raises:
      TypeError: if the type of the images is not supported.
      ValueError: if the images' rank is not 2, 3 or 4, or is unknown.
    """
    with tf.name_scope(name, "transform"):
        images = tf.convert_to_tensor(images)
        if images.dtype.base_dtype not in _DTYPES:
            names = ", ".join(dtype.name for dtype in _DTYPES)
            raise TypeError(
                f"Images of type {images.dtype.name} cannot be transformed; cast them "
                f"to one of {names}."
            )
        rank = images.shape.rank
        if rank not in _ADDED_AXES:
            raise ValueError(f"Images have rank 2, 3 or 4; these have rank {rank}.")
        added = _ADDED_AXES[rank]
        batch = images
        for axis in added:
            batch = tf.expand_dims(batch, axis)
        transforms = tf.convert_to_tensor(transforms, tf.float32)
        size = tf.shape(batch)[1:3] if output_shape is None else output_shape
        output = tf.raw_ops.ImageProjectiveTransformV2(
            images=batch,
            transforms=_as_rows(transforms, 1, "transforms"),
            output_shape=tf.cast(size, tf.int32),
            interpolation=interpolation.upper(),
        )
        if output_shape is None:
            output.set_shape(batch.shape)
        return tf.squeeze(output, added) if added else output


def _get_size(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the height and width of images of rank 2, 3 or 4."""
    shape = tf.cast(tf.shape(images), tf.float32)
    start = max(images.shape.rank - 3, 0)
    return shape[start], shape[start + 1]


def rotate(
    images: tf.Tensor,
    angles: TensorLike,
    interpolation: str = "NEAREST",
    name: str | None = None,
) -> tf.Tensor:
    """Rotates images about their centers; see `transform` for images and Raises.

    Args:
      images: one image or a batch.
      angles: radians counterclockwise, a scalar for all images or [N].
      interpolation: "NEAREST" or "BILINEAR".
      name: scope of the operations.
    """
    with tf.name_scope(name, "rotate"):
        images = tf.convert_to_tensor(images)
        transforms = angles_to_projective_transforms(angles, *_get_size(images))
        return transform(images, transforms, interpolation)


def translate(
    images: tf.Tensor,
    translations: TensorLike,
    interpolation: str = "NEAREST",
    name: str | None = None,
) -> tf.Tensor:
    """Shifts images by pixels to the right and down; see `transform` and `rotate`.

    Args:
      images: one image or a batch.
      translations: [2] for all images, or [N, 2].
      interpolation: "NEAREST" or "BILINEAR".
      name: scope of the operations.
    """
    with tf.name_scope(name, "translate"):
        transforms = translations_to_projective_transforms(translations)
        return transform(images, transforms, interpolation)
