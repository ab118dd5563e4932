"""Runs a predictor over many images, in the batch size and precision that are best."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from absl import logging

from deployment import tasks
from deployment.config_flags import SettingError
from deployment.models.spec import ModelSpec
from deployment.predict.predictor import FLOAT32, Predictor, read_batches
from tf_slim_compat import tf

AUTO = "auto"
PRECISIONS = (AUTO, FLOAT32, "bfloat16")

# On processors, images/s hardly depend on the batch size beyond a few images, and fall
# again where the activations of a batch do not fit into the caches.
_LARGEST_BATCH = 32
_MOST_PIXELS = _LARGEST_BATCH * 320 * 320
_LEAST_BATCHES = 4  # So that some are decoded while others are computed.

# A trial computes its sample twice and prepares the model twice.
_FEWEST_IMAGES = 512
_SAMPLE_IMAGES = 64
_SAMPLE_BATCHES = 3  # The first one, in which graphs are optimized, is not timed.
_GAIN = 1.05  # Smallest one that counts.
# Of probabilities, and of values in standard deviations of the target. Answers can then
# differ only where two probabilities are within twice that in float32, or one is within
# it of its threshold.
_TOLERANCE = 0.05

_Results = list[tuple[Sequence[int], np.ndarray]]


def choose_batch_size(num_images: int, predictor: Predictor) -> int:
    """Returns the number of images to compute at a time.

    Args:
      num_images: number of images in all.
      predictor: the model. Batches of large images are smaller.
    """
    height, width = (size or 224 for size in predictor.image_size)
    most = max(1, min(_LARGEST_BATCH, _MOST_PIXELS // (height * width)))
    size = max(1, min(most, -(-num_images // _LEAST_BATCHES)))
    fixed = predictor.batch_size or 1
    return -(-size // fixed) * fixed


def predict_all(
    predictor: Predictor,
    build_batches: Callable[[], tf.data.Dataset],
    num_images: int,
    precision: str = AUTO,
) -> Iterator[tuple[int, np.ndarray]]:
    """Yields `(index, scores)` for every image, and logs the precision.

    With 'auto', a lower precision is taken if there are many images, the processor has
    instructions for it, the first images are faster in it, and their scores agree with
    those of float32.

    Args:
      predictor: the model; it is left open.
      build_batches: see `predictor.read_batches`.
      num_images: number of images in all.
      precision: one of the predictor's `precisions`, or 'auto'.

    Raises:
      ValueError: if the model cannot be computed in the precision here.
    """
    others = [name for name in predictor.precisions if name != FLOAT32]
    batches = read_batches(build_batches)
    with contextlib.ExitStack() as stack:
        if precision != AUTO:
            predictor = stack.enter_context(_reopen(predictor, precision))
        elif others and num_images >= _FEWEST_IMAGES:
            other = stack.enter_context(predictor.reopen(others[0]))
            predictor, results = _try(predictor, other, others[0], batches)
            for indices, scores in results:
                yield from zip(indices, scores, strict=True)
        for inputs, indices in batches:
            yield from zip(indices, predictor.predict(inputs), strict=True)


def find_difference(
    scores: np.ndarray, expected: np.ndarray, spec: ModelSpec | None
) -> float:
    """Returns the largest difference between the scores of two precisions.

    Args:
      scores: float [n, num_outputs].
      expected: the same in float32.
      spec: the model's specification; None if unknown.

    Returns:
      Of probabilities, or of values in standard deviations of the target; infinite if
      a score is not finite.
    """
    if not np.isfinite(scores).all():
        return float("inf")
    spec = spec or ModelSpec(model_name=None, num_outputs=expected.shape[1])
    task = tasks.get_task(spec.task)
    if task.label_dtype == "int64":
        labels = np.full(len(scores), -1, np.int64)
    else:
        labels = np.full(scores.shape, np.nan, np.float32)
    return task.compare(scores, expected, labels, spec).difference


def _reopen(
    predictor: Predictor, name: str
) -> contextlib.AbstractContextManager[Predictor]:
    if name not in predictor.precisions:
        raise SettingError(
            f"{{{{precision}}}} is {name}, but this model on this machine computes in "
            f"{' or '.join(predictor.precisions)}: choose one, or auto."
        )
    if name == FLOAT32:
        return contextlib.nullcontext(predictor)
    logging.info("Computing in %s, as asked.", name)
    return predictor.reopen(name)


def _try(
    predictor: Predictor, other: Predictor, name: str, batches: Iterator
) -> tuple[Predictor, _Results]:
    """Computes the first batches in float32 and another precision.

    Returns:
      The predictor to go on with, and its `(indices, scores)` of these batches.
    """
    rivals, results, times = (predictor, other), ([], []), ([], [])
    count = 0
    for inputs, indices in batches:
        for rival, scores, secs in zip(rivals, results, times, strict=True):
            started = time.perf_counter()
            scores.append((indices, rival.predict(inputs)))
            secs.append(time.perf_counter() - started)
        count += len(indices)
        if count >= _SAMPLE_IMAGES and len(results[0]) >= _SAMPLE_BATCHES:
            break
    if not count:
        return predictor, []
    timed = [secs[1:] or secs for secs in times]
    gain = min(timed[0]) / min(timed[1])
    expected, found = (np.concatenate([s for _, s in rows]) for rows in results)
    difference = find_difference(found, expected, predictor.spec)
    taken = gain >= _GAIN and difference <= _TOLERANCE
    logging.info(
        "Computing in %s: on %d images, %s is %.2f times as fast as float32 (needed: "
        "%.2f), and scores differ by up to %.4f (permitted: %.2f).",
        name if taken else "float32", count, name, gain, _GAIN, difference, _TOLERANCE,
    )  # fmt: skip
    return rivals[taken], results[taken]
