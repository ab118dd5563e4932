"""Preprocessing by the name of a network.

    fn = preprocessing_factory.get_preprocessing("resnet_v1_50", is_training=True)
    image = fn(image, 224, 224)

or, to decode only the window of a JPEG that is used:

    shape = tf.image.extract_jpeg_shape(contents)
    window = fn.crop_window(shape, 224, 224)
    image = fn.finish(tf.image.decode_and_crop_jpeg(contents, window, channels=3),
                      224, 224)

A name that begins with "letterbox+", such as "letterbox+inception", stands for images
that are kept whole: scaled to fit into the input, and padded, instead of cropped or
stretched.

With subsampled chroma `decode_and_crop_jpeg` changes the outermost columns: for exactly
the pixels of the whole image, decode a margin of one pixel more on the left and right,
and cut it off.
"""

import dataclasses
import difflib
import fnmatch
from collections.abc import Callable, Sequence
from typing import Any

from preprocessing import (
    augmentations,
    cifarnet_preprocessing,
    inception_preprocessing,
    lenet_preprocessing,
    random_ops,
    vgg_preprocessing,
)
from preprocessing import preprocessing_utils as utils
from preprocessing.augment import framing
from tf_slim_compat import as_written, tf

# Each family with its module and the names that belong to it. The first matching
# pattern decides, so nasnet_cifar comes before nasnet*.
FAMILIES: dict[str, tuple[Any, tuple[str, ...]]] = {
    "lenet": (lenet_preprocessing, ("lenet", "lenet5")),
    "cifarnet": (
        cifarnet_preprocessing,
        (
            "cifarnet",
            "nasnet_cifar",
            "simple_cnn",
            "logistic_regression",
            "softmax_regression",
        ),
    ),
    "vgg": (
        vgg_preprocessing,
        ("vgg*", "resnet*", "alexnet*", "overfeat", "densenet*"),
    ),
    "inception": (
        inception_preprocessing,
        (
            "inception*",
            "mobilenet*",
            "nasnet*",
            "keras_*",
            "pnasnet*",
            "i3d",
            "s3dg",
            # Standardization of each image would hide its brightness.
            "linear_regression",
        ),
    ),
}

_LETTERBOX = f"{augmentations.LETTERBOX}+"


def register(name: str, functions: Any) -> None:
    """Adds a preprocessing of your own for this process.

    Args:
      name: for `get_preprocessing`; it takes precedence over the built-in patterns.
      functions: a function `fn(image, height, width, is_training)` that returns float32
        [height, width, channels]; the image is uint8 [any, any, 1 or 3]. With
        `use_grayscale` it receives an image of one channel. For reproducible
        distortions it samples with `random_ops`. Or a module or object with
        `preprocess_image(image, height, width, is_training, use_grayscale)` and
        optionally `crop_window`, `finish` and `convert`, as in `vgg_preprocessing`.

    Raises:
      ValueError: if the name is taken, or `functions` is neither.
    """
    if name in FAMILIES:
        raise ValueError(
            f"There is already a preprocessing {name!r}: choose another name."
        )
    if not hasattr(functions, "preprocess_image"):
        if not callable(functions):
            raise ValueError(
                f"Preprocessing {name!r} is {functions!r}: register a function "
                "fn(image, height, width, is_training), or a module with "
                "preprocess_image."
            )
        functions = _FunctionFamily(functions)
    FAMILIES[name] = (functions, (name,))


@dataclasses.dataclass(frozen=True)
class _FunctionFamily:
    """A plain function as a preprocessing module."""

    function: Callable[..., tf.Tensor]

    def preprocess_image(
        self,
        image: tf.Tensor,
        height: int,
        width: int,
        is_training: bool = False,
        use_grayscale: bool = False,
        **kwargs: Any,
    ) -> tf.Tensor:
        image = utils.with_known_channels(image)
        if use_grayscale:
            image = utils.to_gray(image)
        return self.function(image, height, width, is_training, **kwargs)


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """The preprocessing of a network's images, as a callable.

    Attributes:
      family: "inception", "vgg", "cifarnet", "lenet" or a registered name.
      is_training: training with random distortions, or evaluation.
      use_grayscale: whether the output has one channel.
      augment: applied before the family's own distortions, or instead of them if it
        begins with random_resized_crop; or None.
      letterbox: whether the whole image is scaled to fit and padded.
      seed: see `with_seed`; None if unseeded.
    """

    family: str
    is_training: bool = False
    use_grayscale: bool = False
    augment: augmentations.Augmentation | None = None
    letterbox: bool = False
    seed: tf.Tensor | Sequence[int] | None = dataclasses.field(
        default=None, compare=False
    )

    @property
    def _module(self) -> Any:
        return FAMILIES[self.family][0]

    def with_seed(self, seed: tf.Tensor | Sequence[int] | None) -> "Preprocessing":
        """Returns a copy whose random distortions are functions of the seed alone.

        Args:
          seed: int64 [2], a tensor or a pair of integers; in a training run the run's
            seed and the image's index in the stream. Under the same seed `__call__` and
            `crop_window` with `finish` distort alike.
        """
        return dataclasses.replace(self, seed=seed)

    @as_written
    def __call__(
        self, image: tf.Tensor, output_height: int, output_width: int, **kwargs: Any
    ) -> tf.Tensor:
        """Preprocesses one image.

        Args:
          image: `[any, any, 1 to 4 channels]`; uint8, or float in 0 to 255 (inception:
            float in [0, 1]). With `augment` or `letterbox` uint8 only.
          output_height: in pixels.
          output_width: in pixels.
          **kwargs: further arguments of the family's `preprocess_image`; not with
            `augment` or `letterbox`.

        Returns:
          float32 `[output_height, output_width, channels]`; see the family's module for
          the range of values.
        """
        if not self._is_plain:
            if kwargs:
                text = self.augment.text if self.augment else augmentations.LETTERBOX
                raise ValueError(
                    f"{sorted(kwargs)} cannot be combined with augment={text!r}."
                )
            image = utils.with_known_channels(image)
            window = self.crop_window(tf.shape(image), output_height, output_width)
            if window is not None:
                image = utils.crop(image, window)
            return self.finish(image, output_height, output_width)
        # Summaries cannot be written from within tf.data.Dataset.map.
        if self.family in ("inception", "cifarnet"):
            kwargs.setdefault("add_image_summaries", False)
        with random_ops.seeded(self.seed):
            return self._module.preprocess_image(
                image,
                output_height,
                output_width,
                is_training=self.is_training,
                use_grayscale=self.use_grayscale,
                **kwargs,
            )

    @as_written
    def crop_window(
        self,
        image_shape: tf.Tensor,
        output_height: int | None = None,
        output_width: int | None = None,
    ) -> tf.Tensor | None:
        """Returns the part of the raw image that is used; random in training.

        Args:
          image_shape: int32 [3], shape of the raw image.
          output_height: in pixels; needed by vgg in training, whose window depends on
            it.
          output_width: as `output_height`.

        Returns:
          int32 [4] `(y, x, height, width)`, or None for the whole image.
          `fn.finish(crop(image, fn.crop_window(...)), ...)` equals `fn(image, ...)`; if
          the window is None, `fn.finish(image, ...)` does.

        Raises:
          ValueError: for vgg in training without the output's height and width.
        """
        if self._has_own_window:
            return self.augment.sample_window(image_shape, self._augment_seed())
        if self.letterbox or not hasattr(self._module, "crop_window"):
            return None
        with random_ops.seeded(self.seed):
            return self._module.crop_window(
                image_shape, output_height, output_width, self.is_training
            )

    @as_written
    def finish(
        self, image: tf.Tensor, output_height: int, output_width: int
    ) -> tf.Tensor:
        """Does everything after the crop to `crop_window`; otherwise as `__call__`."""
        if not self._is_plain:
            return self._finish_augmented(image, output_height, output_width)
        if not hasattr(self._module, "finish"):
            return self(image, output_height, output_width)
        return self._call("finish", image, output_height, output_width)

    @property
    def _is_plain(self) -> bool:
        return self.augment is None and not self.letterbox

    @property
    def _has_own_window(self) -> bool:
        return self.augment is not None and self.augment.has_window

    def _augment_seed(self) -> tf.Tensor:
        with random_ops.seeded(self.seed):
            return random_ops.get_seed("augment")

    def _finish_augmented(self, image: tf.Tensor, height: int, width: int) -> tf.Tensor:
        """Fits, augments and converts an image."""
        image = utils.with_known_channels(image)
        augmentations.check_dtype(image, "the image")
        is_fitted = self.letterbox or self._has_own_window
        if self.letterbox:
            image = framing.letterbox(image, height, width)
        elif is_fitted or hasattr(self._module, "crop_window"):
            # Augmentations cost least, and mean the same, at the input's size.
            image = framing.stretch(image, height, width)
        if self.augment is not None:
            image = self.augment(image, self._augment_seed())
        plain = dataclasses.replace(
            self,
            augment=None,
            letterbox=False,
            is_training=self.is_training and not self._has_own_window,
        )
        if is_fitted and hasattr(self._module, "convert"):
            return plain._call("convert", image, height, width)
        return plain.finish(image, height, width)

    def _call(
        self, function: str, image: tf.Tensor, height: int, width: int
    ) -> tf.Tensor:
        """Calls a function of the family's module."""
        with random_ops.seeded(self.seed):
            return getattr(self._module, function)(
                image,
                height,
                width,
                is_training=self.is_training,
                use_grayscale=self.use_grayscale,
            )


def list_names() -> list[str]:
    """Returns all names that `get_preprocessing` knows; `*` stands for any ending."""
    names = {pattern for _, patterns in FAMILIES.values() for pattern in patterns}
    return sorted(names)


def get_family(name: str) -> str:
    """Returns the family to which the name of a network or family belongs.

    Args:
      name: such as "inception_v3", "resnet_v1_50", "vgg" or "letterbox+vgg".

    Returns:
      "inception", "vgg", "cifarnet", "lenet" or a registered name.

    Raises:
      ValueError: if no family has this name; the message gives the nearest names, then
        all.
    """
    name = str(name).removeprefix(_LETTERBOX)
    if name in FAMILIES:
        return name
    for family, (_, patterns) in FAMILIES.items():
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns):
            return family
    names = list_names()
    similarity = {known: _compare(name, known) for known in names}
    nearest = sorted((n for n in names if similarity[n] >= 0.6), key=similarity.get)
    hint = ""
    if nearest:
        hint = f"did you mean {' or '.join(reversed(nearest[-3:]))}? "
    raise ValueError(
        f"There is no preprocessing {name!r}; {hint}"
        f"It can be {', '.join(names)} (* stands for any ending), each also with "
        f"{_LETTERBOX} before it."
    )


def _compare(name: str, pattern: str) -> float:
    """Returns from 0 to 1 how similar the name, or its beginning, is to a pattern."""
    stem = pattern.rstrip("*")
    start = name[: len(stem)] if stem != pattern else name
    return difflib.SequenceMatcher(None, start, stem).ratio()


def get_full_name(name: str, augment: str | None = None) -> str:
    """Returns the name under which evaluation finds the preprocessing of training.

    Args:
      name: see `get_preprocessing`.
      augment: see `get_preprocessing`.

    Returns:
      The name; "letterbox+" is added if `augment` begins with letterbox.

    Raises:
      ValueError: if an augmentation is unknown.
    """
    is_letterboxed = bool(augment) and augmentations.parse(augment).letterbox
    return _LETTERBOX * is_letterboxed + name.removeprefix(_LETTERBOX * is_letterboxed)


def get_preprocessing(
    name: str,
    is_training: bool = False,
    use_grayscale: bool = False,
    augment: str | None = None,
) -> Preprocessing:
    """Returns the preprocessing of a network.

    Args:
      name: of a network, such as "resnet_v1_50", or of a family, such as "vgg"; after
        "letterbox+" images are kept whole.
      is_training: training with random distortions, or evaluation.
      use_grayscale: whether the output has one channel.
      augment: augmentations in addition to the family's distortions, such as
        "flip|brightness(0.2)", see `augmentations.parse`; ignored in evaluation, apart
        from letterbox.

    Returns:
      A `Preprocessing`: call it with `(image, output_height, output_width)`.

    Raises:
      ValueError: if the name or an augmentation is unknown.
    """
    augmentation = augmentations.parse(augment) if augment else None
    return Preprocessing(
        get_family(name),
        bool(is_training),
        bool(use_grayscale),
        augmentation if is_training else None,
        get_full_name(name, augment).startswith(_LETTERBOX),
    )
