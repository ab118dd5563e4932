"""Finds the preprocessing that belongs to a network's name.

    fn = preprocessing_factory.get_preprocessing("resnet_v1_50", is_training=True)
    image = fn(image, 224, 224)

or, where only the window that is read of a JPEG is decoded:

    shape = tf.image.extract_jpeg_shape(contents)
    window = fn.crop_window(shape, 224, 224)
    image = fn.finish(tf.image.decode_and_crop_jpeg(contents, window, channels=3),
                      224, 224)

`decode_and_crop_jpeg` guesses the outermost column where the chroma is subsampled:
decode one pixel more on the left and the right, and cut it off, to have exactly what
decoding the whole picture gives.
"""

import dataclasses
import difflib
import fnmatch
import types

from preprocessing import (
    cifarnet_preprocessing,
    draws,
    inception_preprocessing,
    lenet_preprocessing,
    vgg_preprocessing,
)
from tf_slim_compat import as_written

# Each family with its module and the names that belong to it. The first pattern that
# fits decides, so nasnet_cifar is found before nasnet*.
FAMILIES = {
    "lenet": (lenet_preprocessing, ("lenet", "lenet5")),
    "cifarnet": (
        cifarnet_preprocessing,
        ("cifarnet", "nasnet_cifar", "simple_cnn", "softmax_regression"),
    ),
    "vgg": (
        vgg_preprocessing,
        ("vgg*", "resnet*", "alexnet*", "overfeat", "densenet*"),
    ),
    "inception": (
        inception_preprocessing,
        ("inception*", "mobilenet*", "nasnet*", "pnasnet*", "i3d", "s3dg"),
    ),
}


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """What a network's pictures go through, as a callable.

    Attributes:
      family: "inception", "vgg", "cifarnet" or "lenet".
      is_training: training with random distortions, or evaluation.
      use_grayscale: whether the output has one channel.
      seed: of what is drawn, see `with_seed`, or None.
    """

    family: str
    is_training: bool = False
    use_grayscale: bool = False
    seed: object = dataclasses.field(default=None, compare=False)

    @property
    def _module(self) -> types.ModuleType:
        return FAMILIES[self.family][0]

    def with_seed(self, seed):
        """Returns a copy whose random draws are functions of the seed alone.

        Args:
          seed: int64 [2], a tensor or a pair of integers; in a training run the
            run's seed and the image's index in the stream. What `__call__` draws is
            what `crop_window` and `finish` draw under the same seed.
        """
        return dataclasses.replace(self, seed=seed)

    @as_written
    def __call__(self, image, output_height, output_width, **kwargs):
        """Prepares one picture.

        Args:
          image: `[any, any, 1 to 4 channels]`; uint8, or float in 0 to 255 (inception:
            float in [0, 1]).
          output_height: pixels.
          output_width: pixels.
          **kwargs: further arguments of the family's `preprocess_image`.

        Returns:
          float32 `[output_height, output_width, channels]`; for the value range see
          the family's module.
        """
        # Summaries cannot be written from within tf.data.Dataset.map.
        if self.family in ("inception", "cifarnet"):
            kwargs.setdefault("add_image_summaries", False)
        with draws.seeded(self.seed):
            return self._module.preprocess_image(
                image,
                output_height,
                output_width,
                is_training=self.is_training,
                use_grayscale=self.use_grayscale,
                **kwargs,
            )

    @as_written
    def crop_window(self, image_shape, output_height=None, output_width=None):
        """The part of the raw picture that is read; training draws a new one.

        Args:
          image_shape: int32 [3], the shape of the raw picture.
          output_height: pixels; needed by vgg in training, whose window depends on it.
          output_width: as `output_height`.

        Returns:
          int32 [4] `(y, x, height, width)`, or None where the whole picture is needed.
          `fn.finish(crop(image, fn.crop_window(...)), ...)` is `fn(image, ...)`; where
          the window is None, `fn.finish(image, ...)` is.

        Raises:
          ValueError: vgg in training without the output's height and width.
        """
        if not hasattr(self._module, "crop_window"):
            return None
        with draws.seeded(self.seed):
            return self._module.crop_window(
                image_shape, output_height, output_width, self.is_training
            )

    @as_written
    def finish(self, image, output_height, output_width):
        """Everything after the crop to `crop_window`; as `__call__` otherwise."""
        if not hasattr(self._module, "finish"):
            return self(image, output_height, output_width)
        with draws.seeded(self.seed):
            return self._module.finish(
                image,
                output_height,
                output_width,
                is_training=self.is_training,
                use_grayscale=self.use_grayscale,
            )


def list_names():
    """The names that `get_preprocessing` knows, sorted; `*` stands for any ending."""
    names = {pattern for _, patterns in FAMILIES.values() for pattern in patterns}
    return sorted(names)


def get_family(name):
    """The family that a network's or a family's name belongs to.

    Args:
      name: such as "inception_v3", "resnet_v1_50" or "vgg".

    Returns:
      "inception", "vgg", "cifarnet" or "lenet".

    Raises:
      ValueError: no family has this name; the message gives the nearest names, then
        all.
    """
    name = str(name)
    for family, (_, patterns) in FAMILIES.items():
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns):
            return family
    names = list_names()
    likeness = {known: _likeness(name, known) for known in names}
    nearest = sorted((n for n in names if likeness[n] >= 0.6), key=likeness.get)[-3:]
    hint = f"did you mean {' or '.join(reversed(nearest))}? " if nearest else ""
    raise ValueError(
        f"There is no preprocessing {name!r}; {hint}"
        f"It can be {', '.join(names)} (* stands for any ending)."
    )


def _likeness(name, pattern):
    """From 0 to 1: how much the name, or its beginning, is like the pattern."""
    stem = pattern.rstrip("*")
    start = name[: len(stem)] if stem != pattern else name
    return difflib.SequenceMatcher(None, start, stem).ratio()


def get_preprocessing(name, is_training=False, use_grayscale=False):
    """Finds the preprocessing of a network.

    Args:
      name: of a network, such as "resnet_v1_50", or of a family, such as "vgg".
      is_training: training with random distortions, or evaluation.
      use_grayscale: whether the output has one channel.

    Returns:
      A `Preprocessing`: call it with `(image, output_height, output_width)`.

    Raises:
      ValueError: the name is unknown.
    """
    return Preprocessing(get_family(name), bool(is_training), bool(use_grayscale))
