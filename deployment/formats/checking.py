"""Compares exported models with their checkpoint, on real images."""

import dataclasses
import functools
import os
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from absl import logging

from deployment import formats, tasks, text
from deployment.formats import base
from deployment.formats.freezing import ExportConfig, FrozenModel
from deployment.predict.predictor import CheckpointPredictor, Predictor
from deployment.tasks.comparison import Comparison
from tf_slim_compat import as_written, tf

_TIMED_IMAGES = 32
_BATCH_SIZE = 16  # Of the other images.


@dataclasses.dataclass(frozen=True)
class Samples:
    """Real images.

    Attributes:
      pixels: float32 [n, height, width, channels], preprocessed for evaluation.
      encoded: object [n], the images' JPEG or PNG files as bytes.
      labels: int64 [n], the right output of a classifier, negative where unknown; or
        float32 [n, num_outputs], NaN where unknown.
    """

    pixels: np.ndarray
    encoded: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


@dataclasses.dataclass(frozen=True)
class Row:
    """How a format compares with the checkpoint.

    Attributes:
      format: its name, with the signature if it has several.
      size: size of its files in bytes.
      comparison: what `Task.compare` returns.
      millisecs: median time per image in milliseconds, one image at a time.
      verdict: what the format's tolerance says about it.
    """

    format: str
    size: int
    comparison: Comparison
    millisecs: float
    verdict: base.Verdict = base.Verdict()


def read_samples(
    build_batches: Callable[[], tf.data.Dataset],
    model: FrozenModel,
    preprocessing_fn: Callable,
    count: int,
) -> Samples:
    """Reads images and preprocesses them.

    Args:
      build_batches: adds the input to the graph: a `tf.data.Dataset` of (images,
        labels). Images are as stored, uint8 [1, height, width, channels], or encoded,
        string [1]; labels have shape [1, ...].
      model: the model that they are for.
      preprocessing_fn: see `base.ExportOptions`.
      count: largest number of images.

    Raises:
      ValueError: if there are no images.
    """
    height, width, _ = model.image_shape
    channels = model.decoded_channels

    @as_written
    def prepare(images, labels):
        image = encoded = images[0]
        if image.dtype == tf.string:
            image = tf.io.decode_image(encoded, channels, expand_animations=False)
            image.set_shape([None, None, channels])
        else:
            encoded = tf.io.encode_png(image, compression=1)
        return preprocessing_fn(image, height, width), encoded, labels[0]

    rows = []
    with tf.Graph().as_default(), tf.Session() as session:
        dataset = build_batches().take(count).map(prepare, num_parallel_calls=4)
        iterator = tf.data.make_initializable_iterator(dataset)
        next_row = iterator.get_next()
        session.run([iterator.initializer, tf.tables_initializer()])
        while True:
            try:
                rows.append(session.run(next_row))
            except tf.errors.OutOfRangeError:
                break
    if not rows:
        raise ValueError(
            "There are no images to check the exported models with: give --image_dir "
            "or --dataset_dir, or skip the check with --check_images=0."
        )
    pixels, encoded, labels = zip(*rows, strict=True)
    return Samples(np.stack(pixels), np.array(encoded, object), np.stack(labels))


def check(
    config: ExportConfig,
    model: FrozenModel,
    paths: Mapping[str, str],
    samples: Samples,
) -> list[Row]:
    """Compares exported files with their checkpoint.

    Args:
      config: the configuration that they were exported with.
      model: the model that they were exported from.
      paths: format name to file.
      samples: real images.

    Returns:
      A row for the checkpoint, then one for each signature of each format.

    Raises:
      ValueError: if a file cannot be loaded, or scores of the checkpoint are not
        finite.
    """
    spec = model.spec.replace(use_grayscale=model.image_shape[2] == 1)
    compare = functools.partial(
        tasks.get_task(spec.task).compare, labels=samples.labels, spec=spec
    )
    build = functools.partial(
        CheckpointPredictor, model.path, lambda num_outputs: config.network_fn, spec
    )
    expected, millisecs = _predict(build, samples)
    finite = np.isfinite(expected).all(axis=1)
    if not finite.all():
        raise ValueError(
            f"Do not use these files: {len(finite) - finite.sum()} of {len(finite)} "
            f"images have scores that are not finite numbers in the checkpoint "
            f"{model.path!r}, whose training has diverged: export an earlier one."
        )
    size = measure_size(model.path)
    rows = [Row("checkpoint", size, compare(expected, expected), millisecs)]
    for name, path in paths.items():
        format_ = formats.get_format(name)
        for signature in format_.signatures:
            build = functools.partial(
                formats.open_predictor,
                path,
                signature=signature,
                spec=spec,
                trust=True,  # Its network runs in this process anyway.
            )
            scores, millisecs = _predict(build, samples)
            comparison = compare(scores, expected)
            title = f"{name}, {signature}" if signature else name
            verdict = format_.get_tolerance(spec).judge(comparison)
            rows.append(Row(title, measure_size(path), comparison, millisecs, verdict))
    return rows


def measure_size(path: str) -> int:
    """Returns the bytes of a file, of all files in a folder, or of a checkpoint."""
    if not tf.gfile.Exists(path):
        return sum(map(measure_size, tf.gfile.Glob(f"{path}.[di]*")))
    if not tf.gfile.IsDirectory(path):
        return tf.gfile.Stat(path).length
    names = tf.gfile.ListDirectory(path)
    return sum(measure_size(os.path.join(path, name)) for name in names)


def format_table(rows: Sequence[Row]) -> str:
    """Returns the rows as a text table with a header."""
    header = ["format", "MB", "difference", "agreement", "score", "ms/image"]
    lines = [
        [
            row.format,
            f"{row.size / 1e6:.2f}",
            f"{row.comparison.difference:.1e}",
            f"{row.comparison.agreement:.1%}",
            "" if row.comparison.score is None else f"{row.comparison.score:.1%}",
            f"{row.millisecs:.2f}",
        ]
        for row in rows
    ]
    return text.format_table(header, lines, right=range(1, len(header)))


def report(rows: Sequence[Row]) -> None:
    """Logs doubts about formats.

    Raises:
      ValueError: if a format exceeds its tolerance.
    """
    for row in rows:
        if row.verdict.doubt:
            logging.warning(
                "%s may be worse than the checkpoint: %s. Check it on more images "
                "(--check_images, --image_dir) before using it.",
                row.format, row.verdict.doubt,
            )  # fmt: skip
    failures = [f"{r.format}: {r.verdict.failure}" for r in rows if r.verdict.failure]
    if failures:
        raise ValueError(
            "Do not use these files, as they do not match the checkpoint: "
            f"{'; '.join(failures)}."
        )


def _predict(
    build: Callable[[], Predictor], samples: Samples
) -> tuple[np.ndarray, float]:
    """Returns the scores, and the median time per image in milliseconds."""
    results, times = [], []
    with build() as predictor:
        inputs = samples.encoded if predictor.takes_files else samples.pixels
        predictor.predict(inputs[:1])  # Graphs are optimized at the first call.
        for i in range(min(_TIMED_IMAGES, len(inputs))):
            started = time.perf_counter()
            results.append(predictor.predict(inputs[i : i + 1]))
            times.append(time.perf_counter() - started)
        for i in range(_TIMED_IMAGES, len(inputs), _BATCH_SIZE):
            results.append(predictor.predict(inputs[i : i + _BATCH_SIZE]))
    return np.concatenate(results), float(np.median(times)) * 1e3
