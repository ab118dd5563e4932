"""From TFRecord shards to batches of images, on tf.data."""

import contextlib
import itertools
import logging
import os
import re

from google.protobuf.message import DecodeError

from datasets import record_loader, shard_files, shuffled_stream
from tf_slim_compat import tf

PREFETCHED_BATCHES = 2
# Images in work for each thread: more than one, so that no thread waits until an image
# that takes long is given out in its turn.
_PENDING_PER_THREAD = 2


def build_batches(
    dataset,
    preprocessing_fn,
    image_height,
    image_width,
    batch_size,
    *,
    is_training,
    num_readers=4,
    num_preprocessing_threads=4,
    labels_offset=0,
    seed=None,
    start_image=0,
    class_counts=None,
):
    """Builds the pipeline that reads, decodes, preprocesses and batches.

    Training: the shards are read in random order, their records shuffled while still
    encoded, repeated for ever and put into full batches; every epoch has each image
    once. With a seed all of this can be had again from any image on: which images come,
    in which order, is a function of the seed and the number of the epoch; how an image
    is distorted, of the seed and its place in the stream. It does not depend on
    threads, readers or the batch size.

    Evaluation: one pass in file order, each image once, the last batch as large as
    what is left; what is only for training is not looked at.

    Args:
      dataset: a `slim.dataset.Dataset` with the items "image" and "label".
      preprocessing_fn: called as `fn(image, image_height, image_width)` with a uint8
        [height, width, channels] image; returns float32. Where it has the methods
        `crop_window(image_shape, image_height, image_width)`, which gives the part of
        the image that it needs as (y, x, height, width) or None, and
        `finish(image, image_height, image_width)` for what is done after that crop, a
        JPEG is cropped while it is decoded. Where it has `with_seed(seed)`, in training
        `fn.with_seed(seed)` takes its place for each image, with an int64 [2] tensor
        of which its distortions are to be functions; without it they are its own.
      image_height: of the batch, in pixels.
      image_width: of the batch, in pixels.
      batch_size: images a batch.
      is_training: see above.
      num_readers: how many shards are read in parallel in training.
      num_preprocessing_threads: how many images are decoded at a time.
      labels_offset: subtracted from every label.
      seed: an integer for training that can be repeated and resumed; None for another
        order and other distortions each time.
      start_image: with which image of the stream training begins, from 0: to go on
        where a run with the same seed ended, the number of images that it took. What
        comes before is not decoded, and whole epochs are not read.
      class_counts: balances the classes in training, see
        `dataset_utils.count_labels`: how many images the dataset has of each label, as
        stored. An epoch is as long as before, and each class that has images makes an
        equal part of it: images of rare classes come several times, each time distorted
        in another way, and those of frequent classes take turns from epoch to epoch.

    Returns:
      A `tf.data.Dataset` of (images float32 [batch, height, width, channels], labels
      int64 [batch]). Iterate with `tf.data.make_initializable_iterator`.

    Raises:
      ValueError: the dataset has another kind of reader, or lacks an item; or
        `start_image` is negative, or `class_counts` are not of these images.
      FileNotFoundError: no file matches `dataset.data_sources`.
    """
    if dataset.reader not in (None, tf.TFRecordReader):
        raise ValueError(
            f"The dataset's reader is {dataset.reader!r}: only tf.TFRecordReader can "
            "be read here; convert the data to TFRecord shards."
        )
    files = shard_files.list_files(dataset.data_sources)
    load = record_loader.build_loader(
        dataset, preprocessing_fn, image_height, image_width, labels_offset
    )
    if is_training:
        records = shuffled_stream.build_stream(
            files,
            dataset.num_samples,
            num_readers,
            record_loader.build_label_reader(dataset),
            seed,
            start_image,
            class_counts,
        )
    else:
        records = tf.data.TFRecordDataset(files)
    batches = records.map(
        load,
        num_parallel_calls=num_preprocessing_threads * _PENDING_PER_THREAD,
        deterministic=seed is not None or not is_training,
    )
    batches = batches.batch(batch_size, drop_remainder=is_training)
    options = tf.data.Options()
    # Threads of its own: the session's may be few, or busy with the network.
    options.threading.private_threadpool_size = num_preprocessing_threads
    options.threading.max_intra_op_parallelism = 1
    # All counts are given: there is nothing to tune.
    options.autotune.enabled = False
    return batches.prefetch(PREFETCHED_BATCHES).with_options(options)


@contextlib.contextmanager
def naming_broken_files(dataset):
    """Within it, an error in reading the dataset becomes one that names the file.

    Raises:
      OSError: instead of a TensorFlow error from the pipeline; says what `diagnose`
        finds.
    """
    try:
        yield
    except (tf.errors.DataLossError, tf.errors.InvalidArgumentError) as error:
        if "IteratorGetNext" not in error.message:
            raise
        sentence = diagnose(dataset) or f"Reading failed: {_extract_reason(error)}"
        raise OSError(sentence) from error


def diagnose(dataset):
    """Looks for the first record that cannot be read, decoded or used.

    First the lengths of all records are followed from shard to shard, which is fast;
    then all records are decoded.

    Returns:
      One sentence that names the shard and the record, or None if all are sound.
    """
    files = shard_files.list_files(dataset.data_sources)
    logging.info("Looking for the broken record in %d files.", len(files))
    try:
        num_records = [shard_files.count_by_length(path) for path in files]
    except OSError as error:
        return str(error)
    index, reason = _find_bad_record(dataset, files)
    if index is None:
        return None
    file_index = 0
    while index >= num_records[file_index]:
        index -= num_records[file_index]
        file_index += 1
    path = files[file_index]
    return (
        f"Record {index} of {path!r}{_describe_record(path, index)} cannot be used "
        f"({reason}): convert the images again with convert_dataset.py, which leaves "
        "out damaged ones."
    )


def _find_bad_record(dataset, files):
    """Returns (index, reason) of the first record that does not load, or Nones."""

    def shrink(image, *_):
        return tf.reshape(tf.cast(tf.reduce_max(image), tf.float32), [1, 1, 1])

    index = 0
    with tf.Graph().as_default(), tf.Session() as session:
        load = record_loader.build_loader(dataset, shrink, 1, 1, labels_offset=0)
        loaded = tf.data.TFRecordDataset(files).map(load, os.cpu_count())
        iterator = tf.data.make_initializable_iterator(loaded)
        element = iterator.get_next()
        session.run([iterator.initializer, tf.tables_initializer()])
        try:
            while True:
                session.run(element)
                index += 1
        except tf.errors.OutOfRangeError:
            return None, None
        except (tf.errors.DataLossError, tf.errors.InvalidArgumentError) as error:
            return index, _extract_reason(error)


def _extract_reason(error):
    """Returns what an error from tf.data says, without where it says it happened."""
    head = re.split(r"\n\t \[\[|\n+Original stack trace", error.message)[0]
    line = head.split("\n")[-1]
    return re.sub(r"^Error in user-defined function .*?::Root::\w+: ", "", line)


def _describe_record(path, index):
    """Returns the name of the picture in a record, as far as it can be read."""
    try:
        record = next(itertools.islice(tf.io.tf_record_iterator(path), index, None))
        feature = tf.train.Example.FromString(record).features.feature
        names = feature["image/filename"].bytes_list.value
        return f" (the picture {os.fsdecode(names[0])!r})" if names else ""
    except (tf.errors.DataLossError, DecodeError):
        return ""
