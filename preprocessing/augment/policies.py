"""Policies that apply randomly chosen operations: RandAugment, TrivialAugment, AugMix.

Geometric operations take the nearest pixel and fill with mid-gray.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence

from preprocessing import random_ops
from preprocessing.augment import arguments, color, geometry
from tf_slim_compat import tf


@dataclasses.dataclass(frozen=True)
class Operation:
    """An operation of a policy and how its amount follows from a strength in [0, 1].

    Attributes:
      function: called with the image and, unless `strongest` is None, the amount.
      strongest: amount at strength 1.
      weakest: amount at strength 0.
      is_signed: whether the amount gets a random sign.
      is_whole: whether fractions of the amount are cut off.
    """

    function: Callable[..., tf.Tensor]
    strongest: float | None = None
    weakest: float = 0.0
    is_signed: bool = False
    is_whole: bool = False

    def apply(
        self, image: tf.Tensor, strength: tf.Tensor, sign: tf.Tensor
    ) -> tf.Tensor:
        """Applies the operation; `strength` and `sign` (-1 or 1) are scalars."""
        if self.strongest is None:
            return self.function(image)
        amount = self.weakest + (self.strongest - self.weakest) * strength
        if self.is_whole:
            amount = tf.floor(amount)
        return self.function(image, amount * sign if self.is_signed else amount)


def _by_factor(enhance):
    """Returns an enhancement as a function of how far its factor is from 1."""
    return lambda image, change: enhance(image, 1 + change)


def _by_width(image, fraction):
    return geometry.translate_x(image, fraction * geometry.get_sides(image)[1])


def _by_height(image, fraction):
    return geometry.translate_y(image, fraction * geometry.get_sides(image)[0])


def _by_whole_width(image, fraction):
    pixels = tf.floor(tf.abs(fraction) * geometry.get_sides(image)[1])
    return geometry.translate_x(image, pixels * tf.sign(fraction))


def _by_whole_height(image, fraction):
    pixels = tf.floor(tf.abs(fraction) * geometry.get_sides(image)[0])
    return geometry.translate_y(image, pixels * tf.sign(fraction))


_IDENTITY = Operation(tf.identity)
_AUTOCONTRAST = Operation(color.autocontrast)
_EQUALIZE = Operation(color.equalize)
_SOLARIZE = Operation(color.solarize, 256)
_ENHANCEMENTS = tuple(
    map(
        _by_factor,
        (
            color.enhance_color,
            color.enhance_contrast,
            color.enhance_brightness,
            color.enhance_sharpness,
        ),
    )
)
_SHEARS = (geometry.shear_x, geometry.shear_y)
_signed = functools.partial(Operation, is_signed=True)

# Section 3.1 of the paper, with the ranges of AutoAugment (Cubuk et al., 2018,
# https://arxiv.org/abs/1805.09501, table 6).
RANDAUGMENT = (
    _IDENTITY,
    _AUTOCONTRAST,
    _EQUALIZE,
    _signed(geometry.rotate, 30),
    _SOLARIZE,
    Operation(color.posterize, 4),
    *(_signed(enhance, 0.9) for enhance in _ENHANCEMENTS),
    *(_signed(shear, 0.3) for shear in _SHEARS),
    _signed(_by_width, 150 / 331),
    _signed(_by_height, 150 / 331),
)
# The "wide" search space of the paper's table 6, translations in pixels.
TRIVIALAUGMENT = (
    _IDENTITY,
    _AUTOCONTRAST,
    _EQUALIZE,
    _signed(geometry.rotate, 135),
    _SOLARIZE,
    Operation(color.posterize, 6),
    *(_signed(enhance, 0.99) for enhance in _ENHANCEMENTS),
    *(_signed(shear, 0.99) for shear in _SHEARS),
    _signed(geometry.translate_x, 32),
    _signed(geometry.translate_y, 32),
)
# The operations that are not among the corruptions of ImageNet-C.
AUGMIX = (
    _AUTOCONTRAST,
    _EQUALIZE,
    Operation(color.posterize, 8, weakest=4),
    _signed(geometry.rotate, 30, is_whole=True),
    _SOLARIZE,
    *(_signed(shear, 0.3) for shear in _SHEARS),
    _signed(_by_whole_width, 1 / 3),
    _signed(_by_whole_height, 1 / 3),
)


def randaugment(
    image: tf.Tensor, seed: tf.Tensor, n: int = 2, m: float = 9
) -> tf.Tensor:
    """Applies `n` of 14 operations, chosen with replacement, at strength `m`.

    "RandAugment: Practical automated data augmentation with a reduced search space"
    (Cubuk et al., 2019, https://arxiv.org/abs/1909.13719).

    Args:
      image: uint8 image.
      seed: int64 [2].
      n: number of operations, 1 to 10.
      m: strength, 0 to 10.
    """
    arguments.check_count("randaugment", n=(n, 1, 10))
    arguments.check("randaugment", m=(m, 0, 10))
    numbers = tf.random.stateless_uniform([n, 2], seed)
    indices = _choose(numbers[:, 0], len(RANDAUGMENT))
    strengths = tf.fill([n], m / 10.0)
    return _apply_all(RANDAUGMENT, image, n, indices, strengths, numbers[:, 1])


def trivialaugment(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Applies one of 14 operations at a random strength; it has no parameters.

    "TrivialAugment: Tuning-free yet state-of-the-art data augmentation" (Müller and
    Hutter, 2021, https://arxiv.org/abs/2103.10158), with the "wide" ranges.

    Args:
      image: uint8 image.
      seed: int64 [2].
    """
    number, strength, sign = tf.unstack(tf.random.stateless_uniform([3], seed))
    index = _choose(number, len(TRIVIALAUGMENT))
    strength = tf.cast(_choose(strength, 31), tf.float32) / 30.0
    return _apply(TRIVIALAUGMENT, image, index, strength, sign)


def augmix(
    image: tf.Tensor,
    seed: tf.Tensor,
    severity: float = 3,
    width: int = 3,
    depth: int = -1,
    alpha: float = 1.0,
) -> tf.Tensor:
    """Mixes the image with several chains of operations.

    "AugMix: A simple data processing method to improve robustness and uncertainty"
    (Hendrycks et al., 2019, https://arxiv.org/abs/1912.02781), without the paper's
    additional loss.

    Args:
      image: uint8 image.
      seed: int64 [2].
      severity: the strength of each operation is sampled from 0.1 to this, at most 10.
      width: number of chains, 1 to 10.
      depth: operations in each chain, 1 to 10; -1 samples from 1 to 3.
      alpha: parameter of the distributions of the weights.
    """
    arguments.check("augmix", severity=(severity, 0.1, 10), alpha=(alpha, 0.01, 100))
    arguments.check_count("augmix", width=(width, 1, 10), depth=(depth, -1, 10))
    if depth == 0:
        raise ValueError("augmix(depth=0): depth must be 1 to 10, or -1 for 1 to 3.")
    longest = 3 if depth < 0 else depth
    gammas = tf.random.stateless_gamma(
        [width + 2], random_ops.derive_seed(seed, "weights"), float(alpha)
    )
    # Quotients of gamma variables follow a Dirichlet and a Beta distribution.
    share = gammas[-1] / (gammas[-1] + gammas[-2])
    weights = share * gammas[:width] / tf.reduce_sum(gammas[:width])
    numbers = tf.random.stateless_uniform([width, longest, 3], seed)
    indices = _choose(numbers[..., 0], len(AUGMIX))
    strengths = (0.1 + numbers[..., 1] * (severity - 0.1)) / 10
    lengths = tf.fill([width], longest)
    if depth < 0:
        lengths = random_ops.derive_seed(seed, "lengths")
        lengths = tf.random.stateless_uniform([width], lengths, 1, 4, tf.int32)

    def add_chain(chain, mixed):
        result = _apply_all(
            AUGMIX,
            image,
            lengths[chain],
            indices[chain],
            strengths[chain],
            numbers[chain, :, 2],
        )
        return chain + 1, mixed + weights[chain] * tf.cast(result, tf.float32)

    mixed = (1 - share) * tf.cast(image, tf.float32)
    mixed = _repeat(width, add_chain, mixed)
    return tf.saturate_cast(mixed + 0.5, tf.uint8)


def _repeat(count, body, value):
    """Calls `body(i, value)`, which returns i + 1 and the new value, `count` times."""
    return tf.while_loop(
        lambda place, _: place < count,
        body,
        [tf.constant(0), value],
        parallel_iterations=1,
    )[1]


def _apply_all(
    operations: Sequence[Operation],
    image: tf.Tensor,
    count: int | tf.Tensor,
    indices: tf.Tensor,
    strengths: tf.Tensor,
    signs: tf.Tensor,
) -> tf.Tensor:
    """Applies the first `count` of some operations in turn; see `_apply`.

    A loop: building the operations anew for each turn takes seconds.
    """

    def apply_one(place, image):
        result = _apply(
            operations, image, indices[place], strengths[place], signs[place]
        )
        return place + 1, result

    return _repeat(count, apply_one, image)


def _choose(number, count):
    """Returns an integer below `count`, int32, for a number from [0, 1)."""
    return tf.cast(number * count, tf.int32)


def _apply(
    operations: Sequence[Operation],
    image: tf.Tensor,
    index: tf.Tensor,
    strength: tf.Tensor,
    sign: tf.Tensor,
) -> tf.Tensor:
    """Applies one operation, the only one that is computed.

    Args:
      operations: to choose from.
      image: uint8 image.
      index: which one, int32 scalar.
      strength: float32 scalar in [0, 1].
      sign: float32 scalar in [0, 1), below one half for negative amounts.
    """
    sign = tf.where(sign < 0.5, -1.0, 1.0)
    branches = [
        functools.partial(operation.apply, image, strength, sign)
        for operation in operations
    ]
    result = tf.switch_case(index, branches)
    result.set_shape(image.shape)
    return result
