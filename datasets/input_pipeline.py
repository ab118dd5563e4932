"""Builds the tf.data pipeline from TFRecord shards to batches of images."""

import contextlib
import math
import traceback
from collections.abc import Callable, Iterator, Sequence

from datasets import (
    bad_records,
    decoded_images,
    record_loader,
    shard_files,
    shuffled_stream,
)
from tf_slim_compat import slim, tf

PREFETCHED_BATCHES = 2
# More than one image in progress per thread, so that no thread has to wait until an
# image that takes long can be delivered in its turn.
_PENDING_PER_THREAD = 2
# For each open `naming_broken_files`, the datasets that were read within it.
_read_datasets = []


def build_batches(
    dataset: slim.dataset.Dataset,
    preprocessing_fn: Callable[..., tf.Tensor],
    image_height: int,
    image_width: int,
    batch_size: int,
    *,
    is_training: bool,
    num_readers: int = 4,
    num_preprocessing_threads: int = 4,
    labels_offset: int = 0,
    seed: int | None = None,
    start_image: int = 0,
    class_counts: Sequence[int] | None = None,
    skip_bad_records: bool = False,
    cache: str = "off",
    free_memory: int | None = None,
    part: tuple[int, int] = (0, 1),
    most_images: int | None = None,
) -> tf.data.Dataset:
    """Builds the pipeline that reads, decodes, preprocesses and batches.

    In training the shards are read in random order, the records are shuffled while
    still encoded, repeated forever and put into full batches; every epoch has each
    image once. With a seed the stream is reproducible and can resume at any image: the
    order is a function of the seed and the epoch, the random distortions of an image a
    function of the seed and its index in the stream. Neither depends on the number of
    threads or readers or on the batch size.

    In evaluation there is one pass in file order with each image once and a smaller
    last batch; arguments for training are ignored.

    Args:
      dataset: a dataset with the items "image" and "label".
      preprocessing_fn: called as `fn(image, image_height, image_width)` with a uint8
        [height, width, channels] image; returns float32. These methods are optional:
        `crop_window(image_shape, image_height, image_width)` returns the window of the
        image that it needs as (y, x, height, width) or None, and `finish(image,
        image_height, image_width)` does what follows after that crop; with both, only
        the window of a JPEG is decoded. In training `with_seed(seed)` returns the
        function to use for one image, with an int64 [2] tensor that determines its
        random distortions; without this method they are not reproducible.
      image_height: of the batch, in pixels.
      image_width: of the batch, in pixels.
      batch_size: images per batch.
      is_training: see above.
      num_readers: number of shards that are read in parallel in training.
      num_preprocessing_threads: number of images that are decoded at a time.
      labels_offset: subtracted from every class; must be 0 for float labels.
      seed: seed of the training stream; None for a different order and different
        distortions in each run.
      start_image: index of the first image of the training stream, from 0. To resume a
        run with the same seed, the number of images that it consumed. Earlier images
        are not decoded, and earlier epochs are not read.
      class_counts: the number of images of each class, as stored, from
        `dataset_utils.count_labels`; balances the classes in training. An epoch has the
        same length, but an equal part of each class that has images: images of rare
        classes are repeated, each time distorted differently, and those of frequent
        classes take turns from epoch to epoch.
      skip_bad_records: whether training goes on without the few records that cannot be
        decoded or have a wrong label; see `bad_records.load_good`.
      cache: where training keeps decoded images: "ram", "disk", "off" or "auto"; see
        `decoded_images.open_cache`. The batches have the same bits.
      free_memory: bytes that the cache may count on; None if unknown.
      part: index and number of the processes that share the images. Image i of those
        from `start_image` on, or of the split in evaluation, is read by process
        i % number. Together they have the same images as one process alone, in
        batches as much larger.
      most_images: of the split, in evaluation; None for all.

    Returns:
      A `tf.data.Dataset` of (images float32 [batch, height, width, channels], labels
      int64 [batch], or float32 [batch, num_classes] if the dataset has float labels).
      Iterate with `tf.data.make_initializable_iterator`.

    Raises:
      ValueError: if the dataset has another kind of reader or lacks an item, if
        `start_image` is negative, or if `class_counts` do not fit or the labels are
        floats, or if the cache is impossible.
      FileNotFoundError: if no file matches `dataset.data_sources`.
    """
    _check_reader(dataset)
    for datasets in _read_datasets[-1:]:
        datasets.append(dataset)
    files = shard_files.list_shards(dataset)
    load = record_loader.build_loader(
        dataset,
        preprocessing_fn,
        image_height,
        image_width,
        labels_offset,
        decoded_images.open_cache(
            dataset, files, cache if is_training else "off", free_memory
        ),
    )
    if is_training:
        records = shuffled_stream.build_stream(
            files,
            shard_files.build_guard(dataset),
            dataset.num_samples,
            num_readers,
            record_loader.build_class_reader(dataset),
            seed,
            start_image,
            class_counts,
            part,
        )
    else:
        records = _read_once(dataset, files, most_images, part)
    loading = {
        "num_parallel_calls": num_preprocessing_threads * _PENDING_PER_THREAD,
        "deterministic": seed is not None or not is_training,
    }
    if is_training and skip_bad_records:
        images = bad_records.load_good(records, load, files, **loading)
    else:
        images = records.map(load, **loading)
    batches = images.batch(batch_size, drop_remainder=is_training)
    return _with_own_threads(batches, num_preprocessing_threads)


@contextlib.contextmanager
def naming_broken_files(dataset: slim.dataset.Dataset) -> Iterator[None]:
    """Turns errors of the pipeline within it into errors that name the broken file.

    Args:
      dataset: the dataset that is read. Others that `build_batches` was called with
        since, such as the validation's, are searched too, the smallest first.

    Raises:
      OSError: instead of a TensorFlow error from the pipeline, with the result of
        `bad_records.diagnose`, or that the dataset was replaced.
    """
    datasets = [dataset]
    _read_datasets.append(datasets)
    try:
        yield
    except (
        tf.errors.DataLossError,
        tf.errors.InvalidArgumentError,
        tf.errors.NotFoundError,
        UnicodeDecodeError,
    ) as error:
        if not _is_from_pipeline(error):
            raise
        sentence = bad_records.find_limit(error) or _diagnose_all(datasets)
        reason = f"Reading failed: {bad_records.extract_reason(error)}"
        raise OSError(sentence or reason) from error
    finally:
        _read_datasets.pop()


def _check_reader(dataset: slim.dataset.Dataset) -> None:
    if dataset.reader not in (None, tf.TFRecordReader):
        raise ValueError(
            f"The dataset's reader is {dataset.reader!r}: only tf.TFRecordReader is "
            "supported; convert the data to TFRecord shards."
        )


def _read_once(
    dataset: slim.dataset.Dataset,
    files: Sequence[str],
    most_images: int | None,
    part: tuple[int, int],
) -> tf.data.Dataset:
    """Returns a process's part of the first records, in file order."""
    records = tf.data.TFRecordDataset(shard_files.build_guard(dataset)(files))
    index, count = part
    return records.take(-1 if most_images is None else most_images).shard(count, index)


def _with_own_threads(batches: tf.data.Dataset, num_threads: int) -> tf.data.Dataset:
    options = tf.data.Options()
    # Its own threads: the session's may be few, or busy with the network.
    options.threading.private_threadpool_size = num_threads
    options.threading.max_intra_op_parallelism = 1
    # All parallelism is given: there is nothing to tune.
    options.autotune.enabled = False
    return batches.prefetch(PREFETCHED_BATCHES).with_options(options)


def _is_from_pipeline(error: tf.errors.OpError | UnicodeDecodeError) -> bool:
    if isinstance(error, UnicodeDecodeError):
        # Raised by TensorFlow for a record that is no text.
        return any(
            frame.filename.endswith("client/session.py")
            for frame in traceback.extract_tb(error.__traceback__)
        )
    return "IteratorGetNext" in error.message or shard_files.is_from_guard(error)


def _diagnose_all(datasets: Sequence[slim.dataset.Dataset]) -> str | None:
    by_size = sorted(datasets, key=lambda dataset: dataset.num_samples or math.inf)
    sentences = (bad_records.diagnose(dataset) for dataset in dict.fromkeys(by_size))
    return next(filter(None, sentences), None)
