"""Augmentations: small functions, registered by name and composed by one string.

    augment = augmentations.parse("flip|randaugment(2, 9)|erase(0.25)")
    image = augment(image, seed)

An augmentation of your own is a function of a uint8 image and a seed for TensorFlow's
stateless random ops:

    @augmentations.register("invert")
    def invert(image, seed, probability=0.5):
        is_inverted = tf.random.stateless_uniform([], seed) < probability
        return tf.where(is_inverted, 255 - image, image)

Images are uint8 [height, width, channels] with 1 or 3 channels; height and width are
known at run time only and may change. The same image and seed give the same result.

Two steps come first in a chain: `random_resized_crop` samples the window that is used
and replaces all random distortions of the preprocessing, so that nothing happens but
what the chain says; `letterbox` keeps images whole, in evaluation too. See
`preprocessing_factory`.
"""

import ast
import dataclasses
import difflib
import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from preprocessing import random_ops
from preprocessing.augment import color, erasing, framing, geometry, policies
from tf_slim_compat import tf

AugmentFn = Callable[..., tf.Tensor]
Fn = TypeVar("Fn", bound=AugmentFn)

_functions: dict[str, AugmentFn] = {
    "affine": geometry.affine,
    "augmix": policies.augmix,
    "blur": color.blur,
    "brightness": color.brightness,
    "color_jitter": color.color_jitter,
    "erase": erasing.erase,
    "flip": geometry.flip_lr,
    "flip_lr": geometry.flip_lr,
    "flip_ud": geometry.flip_ud,
    "grayscale": color.grayscale,
    # As Keras' ImageDataGenerator calls them.
    "horizontal_flip": geometry.flip_lr,
    "randaugment": policies.randaugment,
    "rot90": geometry.rot90,
    "trivialaugment": policies.trivialaugment,
    "vertical_flip": geometry.flip_ud,
}
# Functions of the image's shape and a seed that return the window to use.
_WINDOWS: dict[str, AugmentFn] = {"random_resized_crop": framing.random_resized_crop}
LETTERBOX = "letterbox"
# What to write for names that users of other libraries know.
_INSTEAD = {
    "affine(rotation_range=20)": "rotate rotation random_rotation rotation_range",
    "affine(zoom_range=0.2)": "zoom random_zoom zoom_range scale",
    "affine(shear_range=10)": "shear random_shear shear_range",
    "affine(width_shift_range=0.1, height_shift_range=0.1)": "shift translate "
    "random_translation width_shift_range height_shift_range",
    "affine(rotation_range=20, zoom_range=0.2)": "ImageDataGenerator random_affine",
    "brightness(0.2)": "brightness_range random_brightness",
    "color_jitter(0.4, 0.4, 0.4, 0.1)": "contrast random_contrast saturation hue "
    "colour_jitter ColorJitter",
    "erase(0.25)": "cutout random_erasing RandomErasing",
    "random_resized_crop(0.35, 1)": "crop random_crop RandomResizedCrop",
    "letterbox": "pad resize",
    "trivialaugment": "autoaugment auto_augment TrivialAugmentWide",
    "grayscale(1)": "gray greyscale to_gray",
}


def register(name: str) -> Callable[[Fn], Fn]:
    """Returns a decorator that registers a function `fn(image, seed, ...)`.

    Args:
      name: for `parse`, a Python identifier.

    Raises:
      ValueError: if the name is taken or no identifier.
    """
    if not name.isidentifier():
        raise ValueError(
            f"{name!r} cannot name an augmentation: use letters, digits and '_'."
        )
    if name in list_names():
        raise ValueError(
            f"There is already an augmentation {name!r}: choose another name."
        )

    def decorate(function: Fn) -> Fn:
        _functions[name] = function
        return function

    return decorate


def list_names() -> list[str]:
    """Returns the names of all augmentations, sorted."""
    return sorted([*_functions, *_WINDOWS, LETTERBOX])


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """A chain of augmentations, as a callable.

    Attributes:
      text: what `parse` was given.
      letterbox: whether images are kept whole, see `framing.letterbox`.
      has_window: whether `sample_window` replaces the crop of the preprocessing.
    """

    text: str
    letterbox: bool = dataclasses.field(default=False, compare=False)
    _steps: tuple[AugmentFn, ...] = dataclasses.field(
        default=(), compare=False, repr=False
    )
    _window: AugmentFn | None = dataclasses.field(
        default=None, compare=False, repr=False
    )

    @property
    def has_window(self) -> bool:
        return self._window is not None

    def sample_window(self, image_shape: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Samples the part of the raw image that is used; needs `has_window`.

        Args:
          image_shape: int32 [3], shape of the raw image.
          seed: int64 [2].

        Returns:
          int32 [4] `(y, x, height, width)`.
        """
        return self._window(image_shape, random_ops.derive_seed(seed, "window"))

    def __call__(self, image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Augments one image, without what replaces the crop.

        Args:
          image: uint8 [height, width, channels] with 1 or 3 channels.
          seed: int64 [2]; each step of the chain gets another one derived from it.

        Returns:
          uint8 [height, width, channels]; height and width may differ.

        Raises:
          ValueError: if the image or the result of a step is not uint8, or an argument
            of a step is out of range.
        """
        image = tf.convert_to_tensor(image)
        channels = image.shape[-1]
        check_dtype(image, "the image")
        for index, step in enumerate(self._steps):
            image = step(image, random_ops.derive_seed(seed, f"augment {index}"))
            check_dtype(image, f"the result of step {index + 1}")
            image.set_shape([None, None, channels])
        return image


def check_dtype(image: tf.Tensor, what: str) -> None:
    """Raises ValueError unless an image is uint8; `what` names it in the message."""
    if image.dtype != tf.uint8:
        raise ValueError(
            f"Augmentations work on uint8 images, but {what} is {image.dtype.name}."
        )


def parse(text: str) -> Augmentation:
    """Parses a chain of augmentations.

    Args:
      text: names separated by `|`, with arguments in parentheses where needed, such as
        "flip|brightness(0.2)"; arguments are Python literals, by position or name, or
        quotients of numbers.

    Raises:
      ValueError: if a name is unknown, or the text or the arguments do not fit.
    """
    calls = [_parse_call(step) for step in text.split("|")]
    is_letterboxed = calls[0][0] == LETTERBOX
    rest = calls[is_letterboxed:]
    window = None
    if rest and rest[0][0] in _WINDOWS:
        window, rest = rest[0][1], rest[1:]
    for name, _ in rest:
        if name in _WINDOWS or name == LETTERBOX:
            raise ValueError(
                f"{name} replaces the crop of the preprocessing, so it must come first "
                f"(letterbox before random_resized_crop), but the augmentations are "
                f"{text!r}."
            )
    return Augmentation(text, is_letterboxed, tuple(call for _, call in rest), window)


def _parse_call(text: str) -> tuple[str, AugmentFn]:
    """Returns the name of a step, and its function with the arguments given."""
    text = text.strip()
    try:
        node = ast.parse(text, mode="eval").body
        call = node if isinstance(node, ast.Call) else ast.Call(node, [], [])
        name = call.func.id
        args = [_evaluate(arg) for arg in call.args]
        kwargs = {word.arg: _evaluate(word.value) for word in call.keywords}
    except (
        SyntaxError,
        ValueError,
        TypeError,
        AttributeError,
        ArithmeticError,
    ) as error:
        raise ValueError(
            f"{text!r} is no augmentation: write a name, with arguments in parentheses "
            "where needed, such as 'flip' or 'brightness(0.2)'."
        ) from error
    functions = {LETTERBOX: lambda image, seed: image, **_WINDOWS, **_functions}
    if name not in functions:
        raise ValueError(_explain_unknown(name))
    signature = inspect.signature(functions[name])
    try:
        signature.bind(None, None, *args, **kwargs)
    except TypeError as error:
        raise ValueError(
            f"The arguments of {text!r} do not fit ({error}): "
            f"{_describe_parameters(name, signature)}."
        ) from error
    return name, functools.partial(_apply, functions[name], args, kwargs)


def _evaluate(node: ast.expr) -> Any:
    """Returns the value of a literal, in which numbers may be divided, as in 1/255."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        return _evaluate(node.left) / _evaluate(node.right)
    if isinstance(node, ast.Tuple | ast.List):
        kind = tuple if isinstance(node, ast.Tuple) else list
        return kind(map(_evaluate, node.elts))
    return ast.literal_eval(node)


def _explain_unknown(name: str) -> str:
    hints = [text for text, names in _INSTEAD.items() if name in names.split()]
    hints = hints or difflib.get_close_matches(name, list_names(), n=3)
    hint = f"did you mean {' or '.join(map(repr, hints))}? " if hints else ""
    return (
        f"There is no augmentation {name!r}; {hint}It can be {', '.join(list_names())}."
    )


def _describe_parameters(name: str, signature: inspect.Signature) -> str:
    own = list(signature.parameters.values())[2:]
    if not own:
        return f"{name} has no parameters"
    known = (str(p.replace(annotation=p.empty)) for p in own)
    return f"{name} has the parameters {', '.join(known)}"


def _apply(
    function: AugmentFn, args: list, kwargs: dict, image: tf.Tensor, seed: tf.Tensor
) -> tf.Tensor:
    return function(image, seed, *args, **kwargs)
