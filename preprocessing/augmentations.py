"""Augmentations: small functions, registered by name and composed by one string.

    augment = augmentations.parse("flip_lr|brightness(0.2)")
    image = augment(image, seed)

An augmentation of your own is a function of a uint8 image and a seed for TensorFlow's
stateless random ops:

    @augmentations.register("invert")
    def invert(image, seed, probability=0.5):
        is_inverted = tf.random.stateless_uniform([], seed) < probability
        return tf.where(is_inverted, 255 - image, image)

Images are uint8 [height, width, channels] with 1 or 3 channels; height and width are
known at run time only and may change. The same image and seed give the same result.
"""

import ast
import dataclasses
import difflib
import functools
import inspect
from collections.abc import Callable
from typing import TypeVar

from preprocessing import random_ops
from tf_slim_compat import tf

AugmentFn = Callable[..., tf.Tensor]
Fn = TypeVar("Fn", bound=AugmentFn)

_functions: dict[str, AugmentFn] = {}


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
    if name in _functions:
        raise ValueError(
            f"There is already an augmentation {name!r}: choose another name."
        )

    def decorate(function: Fn) -> Fn:
        _functions[name] = function
        return function

    return decorate


def list_names() -> list[str]:
    """Returns the names of all augmentations, sorted."""
    return sorted(_functions)


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """A chain of augmentations, as a callable.

    Attributes:
      text: what `parse` was given.
    """

    text: str
    _steps: tuple[AugmentFn, ...] = dataclasses.field(compare=False, repr=False)

    def __call__(self, image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Augments one image.

        Args:
          image: uint8 [height, width, channels] with 1 or 3 channels.
          seed: int64 [2]; each step of the chain gets another one derived from it.

        Returns:
          uint8 [height, width, channels]; height and width may differ.

        Raises:
          ValueError: if the image or the result of a step is not uint8.
        """
        image = tf.convert_to_tensor(image)
        channels = image.shape[-1]
        _check_dtype(image, "the image")
        for index, step in enumerate(self._steps):
            image = step(image, random_ops.derive_seed(seed, f"augment {index}"))
            _check_dtype(image, f"the result of step {index + 1}")
            image.set_shape([None, None, channels])
        return image


def parse(text: str) -> Augmentation:
    """Parses a chain of augmentations.

    Args:
      text: names separated by `|`, with arguments in parentheses where needed, such as
        "flip_lr|brightness(0.2)"; arguments are Python literals, by position or name.

    Raises:
      ValueError: if a name is unknown, or the text or the arguments do not fit.
    """
    return Augmentation(text, tuple(map(_parse_step, text.split("|"))))


def _parse_step(text: str) -> AugmentFn:
    text = text.strip()
    try:
        node = ast.parse(text, mode="eval").body
        call = node if isinstance(node, ast.Call) else ast.Call(node, [], [])
        name = call.func.id
        args = [ast.literal_eval(arg) for arg in call.args]
        kwargs = {word.arg: ast.literal_eval(word.value) for word in call.keywords}
    except (SyntaxError, ValueError, AttributeError) as error:
        raise ValueError(
            f"{text!r} is no augmentation: write a name, with arguments in parentheses "
            "where needed, such as 'flip_lr' or 'brightness(0.2)'."
        ) from error
    if name not in _functions:
        near = difflib.get_close_matches(name, _functions, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"There is no augmentation {name!r}; it can be {', '.join(list_names())}."
            f"{hint}"
        )
    function = _functions[name]
    signature = inspect.signature(function)
    try:
        signature.bind(None, None, *args, **kwargs)
    except TypeError as error:
        raise ValueError(
            f"The arguments of {text!r} do not fit ({error}): after image and seed, "
            f"{name} has the parameters {signature}."
        ) from error
    return functools.partial(_apply, function, args, kwargs)


def _apply(
    function: AugmentFn, args: list, kwargs: dict, image: tf.Tensor, seed: tf.Tensor
) -> tf.Tensor:
    return function(image, seed, *args, **kwargs)


def _check_dtype(image: tf.Tensor, what: str) -> None:
    if image.dtype != tf.uint8:
        raise ValueError(
            f"Augmentations work on uint8 images, but {what} is {image.dtype.name}."
        )


def _flip(image: tf.Tensor, seed: tf.Tensor, axis: int) -> tf.Tensor:
    is_mirrored = tf.random.stateless_uniform([], seed) < 0.5
    return tf.cond(is_mirrored, lambda: tf.reverse(image, [axis]), lambda: image)


@register("flip_lr")
def flip_lr(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Mirrors left to right with probability one half."""
    return _flip(image, seed, axis=1)


@register("flip_ud")
def flip_ud(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Mirrors top to bottom with probability one half."""
    return _flip(image, seed, axis=0)


@register("rot90")
def rot90(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Rotates by 0, 90, 180 or 270 degrees."""
    turns = tf.random.stateless_uniform([], seed, 0, 4, tf.int32)
    return tf.image.rot90(image, turns)


@register("brightness")
def brightness(
    image: tf.Tensor, seed: tf.Tensor, max_delta: float = 0.125
) -> tf.Tensor:
    """Adds a random number to all pixels.

    Args:
      image: uint8 image.
      seed: int64 [2].
      max_delta: largest change, as a fraction of the range of values.
    """
    if not 0 <= max_delta <= 1:
        raise ValueError(f"brightness({max_delta}) must have a max_delta in [0, 1].")
    delta = tf.random.stateless_uniform([], seed, -max_delta, max_delta)
    return tf.image.adjust_brightness(image, delta)
