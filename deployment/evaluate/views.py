"""Test-time augmentation: predictions averaged over several views of each image.

A view is a function of preprocessed images [batch, height, width, channels] that
returns images of the same shape. `VIEW_SETS` names sets of views.
"""

from collections.abc import Callable

import numpy as np

from deployment import tasks
from deployment.models.spec import ModelSpec
from tf_slim_compat import tf

View = Callable[[tf.Tensor], tf.Tensor]
NONE = "none"
# Side of a cropped view relative to the image's: 224 of 256 pixels (Krizhevsky et al.
# 2012, section 4.1).
_CROP = 224 / 256
_ZOOMS = (1.0, 7 / 8, 3 / 4)


def build_logits(
    network_fn: Callable, images: tf.Tensor, spec: ModelSpec, view_set: str = NONE
) -> tf.Tensor:
    """Returns logits whose scores are the mean of the scores of all views.

    Probabilities are averaged, and values of a regression; then they are turned into
    logits again, so that metrics are computed as without views.

    Args:
      network_fn: maps images to (logits, end_points).
      images: float32 [batch, height, width, channels].
      spec: the model's specification.
      view_set: a name in `VIEW_SETS`.

    Returns:
      float32 [batch, num_outputs].
    """
    views = VIEW_SETS[view_set]
    if not views:
        return network_fn(images)[0]
    inputs = tf.concat([view(images) for view in views], 0)
    logits = tf.reshape(network_fn(inputs)[0], [len(views), -1, spec.num_outputs])
    return tasks.get_task(spec.task).build_mean_logits(logits)


def _keep(images: tf.Tensor) -> tf.Tensor:
    return images


def _mirror(images: tf.Tensor) -> tf.Tensor:
    return tf.reverse(images, [2])


def _crop(top: float, left: float, side: float) -> View:
    """Returns the view of a part of the images, resized to their size.

    Args:
      top: place of the part, from 0 at the top to 1 at the bottom.
      left: place of the part, from 0 at the left to 1 at the right.
      side: height and width of the part relative to the images', in (0, 1].
    """

    def view(images: tf.Tensor) -> tf.Tensor:
        corners = [top * (1 - side), left * (1 - side)]
        box = np.array([*corners, *(c + side for c in corners)], np.float32)
        count = tf.shape(images)[0]
        cropped = tf.image.crop_and_resize(
            images,
            tf.tile(box[np.newaxis], [count, 1]),
            box_indices=tf.range(count),
            crop_size=tf.shape(images)[1:3],
        )
        return tf.ensure_shape(cropped, images.shape)

    return view


def _with_mirrors(*views: View) -> tuple[View, ...]:
    mirrored = tuple(lambda images, v=view: _mirror(v(images)) for view in views)
    return (*views, *mirrored)


_PLACES = ((0.5, 0.5), (0, 0), (0, 1), (1, 0), (1, 1))
VIEW_SETS: dict[str, tuple[View, ...]] = {
    NONE: (),
    "flip": _with_mirrors(_keep),
    "scales": _with_mirrors(_keep, *(_crop(0.5, 0.5, zoom) for zoom in _ZOOMS[1:])),
    "crops": _with_mirrors(*(_crop(*place, _CROP) for place in _PLACES)),
}
