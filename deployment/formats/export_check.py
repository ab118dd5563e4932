"""Exported models against their checkpoint, on real pictures."""

import dataclasses
import functools
import os
import time

import numpy as np

from deployment.formats import model_files, opening
from deployment.predict import classifying
from tf_slim_compat import as_written, tf

_FLOAT_TOLERANCE, _FLOAT16_TOLERANCE = 1e-4, 1e-2
# Of integers: the loss of accuracy, and the share of images, where these have no
# labels, of which the best class may change.
_ACCURACY_TOLERANCE, _CHANGE_TOLERANCE = 0.02, 0.1


@dataclasses.dataclass(frozen=True)
class Pictures:
    """Real pictures.

    Attributes:
      pixels: float32 [n, height, width, channels], preprocessed for evaluation.
      encoded: object [n], the pictures' JPEG or PNG files as bytes.
      labels: int64 [n], the network's output that is right; less than 0: unknown.
    """

    pixels: np.ndarray
    encoded: np.ndarray
    labels: np.ndarray

    def __len__(self):
        return len(self.labels)


@dataclasses.dataclass(frozen=True)
class Row:
    """How a format does against the checkpoint.

    Attributes:
      format: its name.
      size: of its files, in bytes.
      difference: the largest of any probability; NaN if one is not a number.
      agreement: the share of pictures with the same best class.
      accuracy: the share of pictures with labels that it gets right; None: no labels.
      millisecs: the median for a picture, one at a time.
      failure: what is beyond its tolerance, or None.
    """

    format: str
    size: int
    difference: float
    agreement: float
    accuracy: float | None
    millisecs: float
    failure: str | None


def read_pictures(build_batches, model, preprocessing_fn, count):
    """Reads pictures and prepares them.

    Args:
      build_batches: adds the input to the graph: a `tf.data.Dataset` of (images,
        labels int64 [1]); the images as they are stored, uint8 [1, height, width,
        channels], or encoded, string [1].
      model: the `model_export.FrozenModel` that they are for.
      preprocessing_fn: see `model_export.ExportConfig`.
      count: how many at most.

    Returns:
      `Pictures`.

    Raises:
      ValueError: if there is none.
    """
    height, width, _ = model.image_shape
    channels = model.picture_channels

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
        following = iterator.get_next()
        session.run([iterator.initializer, tf.tables_initializer()])
        while True:
            try:
                rows.append(session.run(following))
            except tf.errors.OutOfRangeError:
                break
    if not rows:
        raise ValueError(
            "There is no picture to check the exported models with: give --image_dir "
            "or --dataset_dir, or --check_images=0."
        )
    pixels, encoded, labels = zip(*rows, strict=True)
    return Pictures(
        np.stack(pixels), np.array(encoded, object), np.array(labels, np.int64)
    )


def check(config, model, paths, pictures):
    """Compares exported files with their checkpoint.

    Args:
      config: the `model_export.ExportConfig` that they were exported with.
      model: the `model_export.FrozenModel` that they were exported from.
      paths: a dict from formats to files.
      pictures: `Pictures`.

    Returns:
      A list of a `Row` for the checkpoint, then for each format; a SavedModel has
      two, for its signatures.

    Raises:
      ValueError: if a file cannot be loaded.
    """
    build = functools.partial(
        classifying.CheckpointClassifier,
        model.path,
        lambda num_classes: config.network_fn,
        len(model.class_names),
        model.image_shape,
        config.moving_average_decay,
    )
    expected, millisecs = _classify(build, pictures.pixels)
    size = sum(map(_measure, [model.path, *tf.gfile.Glob(f"{model.path}.[di]*")]))
    rows = [_compare("checkpoint", size, expected, expected, millisecs, pictures)]
    for name, path in paths.items():
        for signature in (
            ("pixels", "image_bytes") if name == "saved_model" else (None,)
        ):
            build = functools.partial(
                opening.open_model, *model_files.find_kind(path), signature=signature
            )
            is_file = signature == "image_bytes"
            inputs = pictures.encoded if is_file else pictures.pixels
            found, millisecs = _classify(build, inputs)
            title = f"{name}, {signature}" if signature else name
            rows.append(
                _compare(title, _measure(path), found, expected, millisecs, pictures)
            )
    return rows


def format_table(rows):
    """The rows as text, with a line for the names of the columns."""
    header = ("format", "MB", "difference", "agreement", "accuracy", "ms an image")
    lines = [header]
    for row in rows:
        lines.append(
            (
                row.format,
                f"{row.size / 1e6:.2f}",
                f"{row.difference:.1e}",
                f"{row.agreement:.1%}",
                "" if row.accuracy is None else f"{row.accuracy:.1%}",
                f"{row.millisecs:.2f}",
            )
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        line[0].ljust(widths[0])
        + "".join(
            f"  {text:>{w}}" for text, w in zip(line[1:], widths[1:], strict=True)
        )
        for line in lines
    )


def raise_failures(rows):
    """Raises ValueError if a format is beyond its tolerance."""
    failures = [f"{row.format}: {row.failure}" for row in rows if row.failure]
    if failures:
        raise ValueError(
            "What was exported does not do what the checkpoint does; do not use it ("
            f"{'; '.join(failures)})."
        )


def _classify(build, inputs):
    """The probabilities, and the median time of a picture in milliseconds."""
    results, times = [], []
    with build() as classifier:
        classifier.classify(inputs[:1])  # The first time, graphs are optimized.
        for i in range(len(inputs)):
            started = time.perf_counter()
            results.append(classifier.classify(inputs[i : i + 1]))
            times.append(time.perf_counter() - started)
    return np.concatenate(results), float(np.median(times)) * 1e3


def _measure(path):
    """The bytes of a file, or of all in a folder."""
    if not tf.gfile.Exists(path):
        return 0
    if not tf.gfile.IsDirectory(path):
        return tf.gfile.Stat(path).length
    return sum(
        _measure(os.path.join(path, name)) for name in tf.gfile.ListDirectory(path)
    )


def _compare(title, size, found, expected, millisecs, pictures):
    best, right = found.argmax(axis=1), expected.argmax(axis=1)
    known = pictures.labels >= 0
    accuracy = drop = None
    if known.any():
        hits = [np.mean(b[known] == pictures.labels[known]) for b in (best, right)]
        accuracy, drop = float(hits[0]), float(hits[1] - hits[0])
    difference = float(np.abs(found - expected).max())
    agreement = float(np.mean(best == right))
    return Row(
        title, size, difference, agreement, accuracy, millisecs,
        _find_failure(title, difference, agreement, drop, known.sum(), len(pictures)),
    )  # fmt: skip


def _find_failure(title, difference, agreement, drop, num_labels, num_pictures):
    """What is beyond its tolerance, or None; of integers one image may always be."""
    if not title.endswith("int8"):
        is_half = title.endswith("float16")
        tolerance = _FLOAT16_TOLERANCE if is_half else _FLOAT_TOLERANCE
        if difference <= tolerance:
            return None
        return f"probabilities differ by {difference:.1e}, more than {tolerance:.0e}"
    if not np.isfinite(difference):
        return "a probability is not a number"
    if drop is not None and drop > max(_ACCURACY_TOLERANCE, 1 / num_labels) + 1e-9:
        return f"it gets {drop:.1%} less right, more than {_ACCURACY_TOLERANCE:.0%}"
    change = 1 - agreement
    if drop is None and change > max(_CHANGE_TOLERANCE, 1 / num_pictures) + 1e-9:
        return (
            f"the best class is another one for {change:.1%} of the images, more than "
            f"{_CHANGE_TOLERANCE:.0%}"
        )
    return None
