"""From TFRecord shards to batches of images, on tf.data."""

from tf_slim_compat import slim, tf

# Encoded bytes that the shuffle buffer may hold.
SHUFFLE_BYTES = 256 * 2**20
PREFETCHED_BATCHES = 2


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
    options.deterministic = deterministic
    # Threads of its own: the session's may be few, or busy with the network.
    options.threading.private_threadpool_size = num_preprocessing_threads
    options.threading.max_intra_op_parallelism = 1
    return batches.prefetch(PREFETCHED_BATCHES).with_options(options)


def list_files(data_sources):
    """Returns the sorted paths that `data_sources`, patterns or paths, stand for.

    Raises:
      FileNotFoundError: a pattern matches nothing.
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
    return sorted(files)


def build_loader(dataset, preprocessing_fn, image_height, image_width, labels_offset):
    """Returns a function from a serialized example to (image, label).

    Args: see `build_batches`.
    """
    _check_items(dataset.decoder)
    if _can_crop_jpeg(dataset.decoder, preprocessing_fn):

        def read(record):
            return _decode_and_crop(
                record, dataset.decoder, preprocessing_fn, image_height, image_width
            )

    else:

        def read(record):
            image, label = dataset.decoder.decode(record, ["image", "label"])
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
        return tf.image.decode_and_crop_jpeg(
            encoded, window, channels, dct_method=image_handler._dct_method
        )

    def decode_other():
        tensors = {key: example[key] for key in image_handler.keys}
        tensors[image_handler._image_key] = encoded
        tensors[image_handler._format_key] = image_format
        image = image_handler.tensors_to_item(tensors)
        window = preprocessing_fn.crop_window(
            tf.shape(image), image_height, image_width
        )
        if window is None:
            return image
        size = tf.concat([window[2:], [-1]], 0)
        return tf.slice(image, tf.concat([window[:2], [0]], 0), size)

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
    num_bytes = sum(tf.io.gfile.stat(path).length for path in files)
    return max(1, min(num_samples, num_samples * SHUFFLE_BYTES // max(1, num_bytes)))
