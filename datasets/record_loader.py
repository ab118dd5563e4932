"""From one record to one picture and its label, as the dataset's decoder says."""

import copy

from datasets import jpeg_crops
from tf_slim_compat import as_written, slim, tf


def build_loader(dataset, preprocessing_fn, image_height, image_width, labels_offset):
    """Returns a function from a serialized example to (image, label).

    Args: see `input_pipeline.build_batches`.

    Returns:
      `load(record, seed=None)`: (float32 [height, width, channels], int64 scalar).
      The seed, int64 [2], goes to `preprocessing_fn.with_seed`, where there is one.

    Raises:
      ValueError: the dataset lacks an item.
    """
    decoder = _detach(dataset.decoder)
    _check_items(decoder)
    can_crop_jpeg = _can_crop_jpeg(decoder, preprocessing_fn)
    num_labels = getattr(dataset, "num_classes", None)

    @as_written
    def load(record, seed=None):
        fn = preprocessing_fn
        if seed is not None and hasattr(fn, "with_seed"):
            fn = fn.with_seed(seed)
        if can_crop_jpeg:
            image, label = _decode_and_crop(
                record, decoder, fn, image_height, image_width
            )
        else:
            image, label = decoder.decode(record, ["image", "label"])
            image = fn(image, image_height, image_width)
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


def build_label_reader(dataset):
    """Returns a function from a serialized example to its label, int64 scalar.

    With the plain decoder nothing but the label is parsed; any other may do more.

    Raises:
      ValueError: the dataset lacks an item.
    """
    decoder = _detach(dataset.decoder)
    _check_items(decoder)
    if type(decoder) is slim.tfexample_decoder.TFExampleDecoder:
        decoder = copy.copy(decoder)
        decoder._keys_to_features = {
            key: decoder._keys_to_features[key]
            for key in decoder._items_to_handlers["label"].keys
        }

    @as_written
    def read(record):
        (label,) = decoder.decode(record, ["label"])
        return tf.cast(tf.reshape(label, []), tf.int64)

    return read


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

    def crop_window(shape):
        return preprocessing_fn.crop_window(shape, image_height, image_width)

    def decode_jpeg():
        return jpeg_crops.decode_jpeg(
            encoded, crop_window, channels, image_handler._dct_method
        )

    def decode_other():
        tensors = {key: example[key] for key in image_handler.keys}
        tensors[image_handler._image_key] = encoded
        tensors[image_handler._format_key] = image_format
        return jpeg_crops.crop(image_handler.tensors_to_item(tensors), crop_window)

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
