"""From TFRecord shards to batches of images, on tf.data."""

import contextlib
import copy
import itertools
import logging
import os
import re
import struct

from google.protobuf.message import DecodeError

from tf_slim_compat import slim, tf

# Encoded bytes that the shuffle buffer may hold.
SHUFFLE_BYTES = 256 * 2**20
PREFETCHED_BATCHES = 2
# A cut through a JPEG changes the colours beside it, where they are stored at half
# the resolution; so this much more is decoded, and cut off afterwards.
_MARGIN_PX = 2


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
):
    """Builds the pipeline that reads, decodes, preprocesses and batches.

    Training: the shards are read in random order, their records shuffled while still
    encoded, repeated for ever and put into full batches; every epoch has each image
    once. Evaluation: one pass in file order, each image once, the last batch as large
    as what is left.

    Args:
      dataset: a `slim.dataset.Dataset` with the items "image" and "label".
      preprocessing_fn: called as `fn(image, image_height, image_width)` with a uint8
        [height, width, channels] image; returns float32. Where it has the methods
        `crop_window(image_shape, image_height, image_width)`, which gives the part of
        the image that it needs as (y, x, height, width) or None, and
        `finish(image, image_height, image_width)` for what is done after that crop, a
        JPEG is cropped while it is decoded.
      image_height: of the batch, in pixels.
      image_width: of the batch, in pixels.
      batch_size: images a batch.
      is_training: see above.
      num_readers: how many shards are read at a time in training.
      num_preprocessing_threads: how many images are decoded at a time.
      labels_offset: subtracted from every label.
      seed: makes the order of the images repeatable. What the preprocessing draws at
        random is not, as images are preprocessed side by side.

    Returns:
      A `tf.data.Dataset` of (images float32 [batch, height, width, channels], labels
      int64 [batch]). Iterate with `tf.data.make_initializable_iterator`.

    Raises:
      ValueError: the dataset has another kind of reader, or lacks an item.
      FileNotFoundError: no file matches `dataset.data_sources`.
    """
    if dataset.reader not in (None, tf.TFRecordReader):
        raise ValueError(
            f"The dataset's reader is {dataset.reader!r}: only tf.TFRecordReader can "
            "be read here; convert the data to TFRecord shards."
        )
    files = list_files(dataset.data_sources)
    deterministic = seed is not None or not is_training
    if is_training:
        records = _build_shuffled_records(files, dataset.num_samples, num_readers, seed)
    else:
        records = tf.data.TFRecordDataset(files)
    load = build_loader(
        dataset, preprocessing_fn, image_height, image_width, labels_offset
    )
    batches = records.map(
        load, num_parallel_calls=num_preprocessing_threads, deterministic=deterministic
    )
    batches = batches.batch(batch_size, drop_remainder=is_training)
    options = tf.data.Options()
    # Threads of its own: the session's may be few, or busy with the network.
    options.threading.private_threadpool_size = num_preprocessing_threads
    options.threading.max_intra_op_parallelism = 1
    # All counts are given: there is nothing to tune.
    options.autotune.enabled = False
    return batches.prefetch(PREFETCHED_BATCHES).with_options(options)


def list_files(data_sources):
    """Returns the sorted paths that `data_sources`, patterns or paths, stand for.

    Raises:
      FileNotFoundError: a pattern matches nothing.
      OSError: all files are empty.
    """
    if isinstance(data_sources, str):
        data_sources = [data_sources]
    files = set()
    for source in data_sources:
        found = [source] if tf.io.gfile.exists(source) else tf.io.gfile.glob(source)
        if not found:
            raise FileNotFoundError(
                f"No file matches {source!r}: check --dataset_dir and the dataset's "
                "file pattern."
            )
        files.update(found)
    if not any(map(_measure, files)):
        raise OSError(
            f"{data_sources[0]!r} and all other shards are empty: convert the dataset "
            "again."
        )
    return sorted(files)


def build_loader(dataset, preprocessing_fn, image_height, image_width, labels_offset):
    """Returns a function from a serialized example to (image, label).

    Args: see `build_batches`.
    """
    decoder = _detach(dataset.decoder)
    _check_items(decoder)
    if _can_crop_jpeg(decoder, preprocessing_fn):

        def read(record):
            return _decode_and_crop(
                record, decoder, preprocessing_fn, image_height, image_width
            )

    else:

        def read(record):
            image, label = decoder.decode(record, ["image", "label"])
            return preprocessing_fn(image, image_height, image_width), label

    num_labels = getattr(dataset, "num_classes", None)

    def load(record):
        image, label = read(record)
        image.set_shape([image_height, image_width, None])
        label = tf.cast(tf.reshape(label, []), tf.int64) - labels_offset
        if num_labels:
            in_range = tf.logical_and(label >= 0, label < num_labels - labels_offset)
            message = (
                f"A label, less --labels_offset={labels_offset}, is outside 0 to "
                f"{num_labels - labels_offset - 1}, the dataset's classes:"
            )
            with tf.control_dependencies([tf.Assert(in_range, [message, label])]):
                label = tf.identity(label)
        return image, label

    return load


def _detach(decoder):
    """Returns the decoder without tensors of the graph in which it was made.

    Dataset modules write `default_value=tf.zeros([], tf.int64)`.
    """
    if not isinstance(decoder, slim.tfexample_decoder.TFExampleDecoder):
        return decoder
    decoder = copy.copy(decoder)
    decoder._keys_to_features = {
        key: feature._replace(default_value=tf.get_static_value(feature.default_value))
        if tf.is_tensor(getattr(feature, "default_value", None))
        else feature
        for key, feature in decoder._keys_to_features.items()
    }
    return decoder


def _check_items(decoder):
    missing = {"image", "label"} - set(decoder.list_items())
    if missing:
        raise ValueError(
            f"The dataset's decoder provides {sorted(decoder.list_items())}: it lacks "
            f"{sorted(missing)}; name these items in items_to_handlers."
        )


def _can_crop_jpeg(decoder, preprocessing_fn):
    """Whether images may be decoded here, rather than by the decoder."""
    if not hasattr(preprocessing_fn, "crop_window"):
        return False
    # A subclass may do anything, so only the plain classes are looked into.
    if type(decoder) is not slim.tfexample_decoder.TFExampleDecoder:
        return False
    handler = decoder._items_to_handlers["image"]
    return (
        type(handler) is slim.tfexample_decoder.Image
        and handler._shape is None
        and handler._dtype == tf.uint8
        and not handler._repeated
    )


def _decode_and_crop(record, decoder, preprocessing_fn, image_height, image_width):
    """Does what decoder and preprocessing do, but decodes only the crop of a JPEG."""
    image_handler = decoder._items_to_handlers["image"]
    label_handler = decoder._items_to_handlers["label"]
    keys = {*image_handler.keys, *label_handler.keys}
    example = tf.io.parse_single_example(
        record, {key: decoder._keys_to_features[key] for key in keys}
    )
    encoded = tf.reshape(example[image_handler._image_key], [])
    image_format = tf.reshape(example[image_handler._format_key], [])
    channels = image_handler._channels

    def decode_jpeg():
        shape = tf.image.extract_jpeg_shape(encoded)
        if channels:
            shape = tf.stack([shape[0], shape[1], channels])
        window = preprocessing_fn.crop_window(shape, image_height, image_width)
        if window is None:
            return tf.image.decode_jpeg(
                encoded, channels, dct_method=image_handler._dct_method
            )
        begin = tf.maximum(window[:2] - _MARGIN_PX, 0)
        end = tf.minimum(window[:2] + window[2:] + _MARGIN_PX, shape[:2])
        image = tf.image.decode_and_crop_jpeg(
            encoded,
            tf.concat([begin, end - begin], 0),
            channels,
            dct_method=image_handler._dct_method,
        )
        return _cut(image, window[:2] - begin, window[2:])

    def decode_other():
        tensors = {key: example[key] for key in image_handler.keys}
        tensors[image_handler._image_key] = encoded
        tensors[image_handler._format_key] = image_format
        image = image_handler.tensors_to_item(tensors)
        window = preprocessing_fn.crop_window(
            tf.shape(image), image_height, image_width
        )
        return image if window is None else _cut(image, window[:2], window[2:])

    # By the bytes: old shards say "jpg" whatever they hold.
    is_jpeg = tf.logical_and(
        tf.io.is_jpeg(encoded),
        tf.logical_not(tf.strings.regex_full_match(image_format, "raw|RAW")),
    )
    image = tf.cond(is_jpeg, decode_jpeg, decode_other)
    image.set_shape([None, None, channels or None])
    label = label_handler.tensors_to_item(
        {key: example[key] for key in label_handler.keys}
    )
    return preprocessing_fn.finish(image, image_height, image_width), label


def _cut(image, begin, size):
    return tf.slice(image, tf.concat([begin, [0]], 0), tf.concat([size, [-1]], 0))


def _build_shuffled_records(files, num_samples, num_readers, seed):
    """Returns the endless dataset of serialized examples in random order."""
    cycle = min(num_readers, len(files))
    records = tf.data.Dataset.from_tensor_slices(files)
    records = records.shuffle(len(files), seed=seed)
    records = records.interleave(
        tf.data.TFRecordDataset,
        cycle_length=cycle,
        num_parallel_calls=cycle,
        deterministic=seed is not None,
    )
    buffer_size = _fit_shuffle_buffer(files, num_samples)
    return records.shuffle(buffer_size, seed=seed).repeat()


def _fit_shuffle_buffer(files, num_samples):
    """Returns how many records of mean size fill `SHUFFLE_BYTES`, or all of them."""
    num_bytes = sum(map(_measure, files))
    return max(1, min(num_samples, num_samples * SHUFFLE_BYTES // num_bytes))


def _measure(path):
    return tf.io.gfile.stat(path).length


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
    files = list_files(dataset.data_sources)
    logging.info("Looking for the broken record in %d files.", len(files))
    num_records = []
    for path in files:
        count, position = _count_records(path)
        if position is not None:
            return (
                f"{path!r} is broken at byte {position}, after {count} records: it was "
                "cut short or changed; copy or convert the dataset again."
            )
        num_records.append(count)
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


def _count_records(path):
    """Returns the number of whole records and where the rest begins, if there is any.

    A record is its length (8 bytes), a checksum (4), the payload, a checksum (4).
    """
    size = _measure(path)
    position = count = 0
    with tf.io.gfile.GFile(path, "rb") as file:
        while position < size:
            file.seek(position)
            header = file.read(8)
            end = size + 1
            if len(header) == 8:
                end = position + 16 + struct.unpack("<Q", header)[0]
            if end > size:
                return count, position
            position = end
            count += 1
    return count, None


def _find_bad_record(dataset, files):
    """Returns (index, reason) of the first record that does not load, or Nones."""

    def shrink(image, *_):
        return tf.reshape(tf.cast(tf.reduce_max(image), tf.float32), [1, 1, 1])

    index = 0
    with tf.Graph().as_default(), tf.Session() as session:
        load = build_loader(dataset, shrink, 1, 1, labels_offset=0)
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
