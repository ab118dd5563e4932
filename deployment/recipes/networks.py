"""Which network to train, if none is named: the largest that the time allows."""

import dataclasses
import statistics
import time
from collections.abc import Callable

from absl import logging

from tf_slim_compat import tf

# A network that sees each image less often is better replaced by a smaller one.
_LEAST_EPOCHS = 20
# The rest of the time is for preparations, validation and export.
_TRAINING_SHARE = 0.85
# Below, measuring would take too much of the time.
_LEAST_SECS = 120
_BATCH_SIZE = 32
_STEPS = 5


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A network to choose.

    Attributes:
      model_name: the network's name.
      image_size: height and width of the images, in pixels.
      cost: time of a training step, relative to the cheapest candidate.
    """

    model_name: str
    image_size: int
    cost: float


# From the most accurate to the cheapest. Costs are those on two cores with AVX-512.
CANDIDATES = (
    Candidate("mobilenet_v1", 224, 20.0),
    Candidate("mobilenet_v1", 160, 10.0),
    Candidate("mobilenet_v1_050", 160, 4.0),
    Candidate("mobilenet_v1_025", 128, 1.0),
)
# Without a time budget.
DEFAULT = CANDIDATES[2]


def choose(
    budget_secs: float | None, num_images: int, get_network_fn: Callable[..., Callable]
) -> Candidate:
    """Returns the network to train.

    Args:
      budget_secs: the time that the run may take; None if that is not limited.
      num_images: images per epoch.
      get_network_fn: `network_lookup.get_network_fn`.
    """
    if budget_secs is None:
        return DEFAULT
    cheapest = CANDIDATES[-1]
    if budget_secs < _LEAST_SECS:
        return cheapest
    speed = measure_speed(cheapest, get_network_fn)
    images = speed * _TRAINING_SHARE * budget_secs
    chosen = next(
        (c for c in CANDIDATES if images / c.cost >= _LEAST_EPOCHS * num_images),
        cheapest,
    )
    logging.info(
        "Network: %s at %d pixels, for about %.0f epochs in %.0f s (%s trains on %.0f "
        "images/s here).",
        *(chosen.model_name, chosen.image_size),
        *(images / chosen.cost / num_images, budget_secs),
        *(cheapest.model_name, speed),
    )
    return chosen


def measure_speed(
    candidate: Candidate, get_network_fn: Callable[..., Callable]
) -> float:
    """Returns the images/s of a network's training steps on random images."""
    size = candidate.image_size
    network_fn = get_network_fn(candidate.model_name, num_classes=2, is_training=True)
    with tf.Graph().as_default(), tf.Session() as session:
        logits, _ = network_fn(tf.random.uniform([_BATCH_SIZE, size, size, 3]))
        loss = tf.reduce_mean(tf.square(logits))
        gradients = tf.gradients(loss, tf.trainable_variables())
        # A group of them would be pruned to nothing.
        step = tf.add_n([tf.reduce_sum(gradient) for gradient in gradients])
        session.run(tf.global_variables_initializer())
        secs = []
        for _ in range(_STEPS):
            started = time.monotonic()
            session.run(step)
            secs.append(time.monotonic() - started)
    # The first steps compile kernels.
    return _BATCH_SIZE / statistics.median(secs[2:])
