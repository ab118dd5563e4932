"""Turns one record into an image and its label, using the dataset's decoder."""

import copy
from collections.abc import Callable
from typing import Any

from datasets import decoded_images, jpeg_crops
from tf_slim_compat import as_written, slim, tf


def build_loader(
    dataset: slim.dataset.Dataset,
    preprocessing_fn: Callable[..., tf.Tensor],
    image_height: int,
    image_width: int,
    labels_offset: int,
    cache: decoded_images.Cache | None = None,
) -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
    """Returns a function from a serialized example to (image, label).

    Args: see `input_pipeline.build_batches`; `cache` holds the decoded images, None
      decodes each whenever it is loaded.

    Returns:
      `load(record, seed=None)`, which gives a float32 [height, width, channels] image,
      and an int64 scalar or, where the decoder gives floats, float32 [num_classes].
      The seed, int64 [2], goes to `preprocessing_fn.with_seed` if there is one.

    Raises:
      ValueError: if the dataset lacks an item.
    """
    decoder = _detach(dataset.decoder)
    _check_items(decoder)
    is_plain = decoded_images.find_image_handler(decoder) is not None
    num_names = getattr(dataset, "num_classes", None)

    @as_written
    def load(record, seed=None):
        fn = preprocessing_fn
        if seed is not None and hasattr(fn, "with_seed"):
            fn = fn.with_seed(seed)
        if is_plain and (cache or hasattr(fn, "crop_window")):
            image, label = _decode_and_preprocess(
                record, decoder, fn, image_height, image_width, cache
            )
        else:
            image, label = decoder.decode(record, ["image", "label"])
            image = fn(image, image_height, image_width)
        image.set_shape([image_height, image_width, None])
        label = tf.convert_to_tensor(label)
        check = _check_values if label.dtype.is_floating else _check_class
        return image, check(label, num_names, labels_offset)

    return load


def build_class_reader(
    dataset: slim.dataset.Dataset,
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns a function from a serialized example to its class, int64 scalar.

    See `build_label_reader`; the function raises ValueError if labels are floats.
    """
    read_label = build_label_reader(dataset)

    @as_written
    def read(record):
        label = read_label(record)
        if label.dtype.is_floating:
            raise ValueError(
                "The images have several labels or numeric targets instead of one "
                "class each, so classes cannot be counted or balanced."
            )
        return label

    return read


def build_label_reader(
    dataset: slim.dataset.Dataset,
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns a function from a serialized example to its label.

    The label is a class, int64 scalar, or float32 [n]. The plain decoder parses nothing
    but the label; others may do more.

    Raises:
      ValueError: if the dataset lacks an item.
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
        label = tf.convert_to_tensor(label)
        if label.dtype.is_floating:
            return tf.cast(tf.reshape(label, [-1]), tf.float32)
        return tf.cast(tf.reshape(label, []), tf.int64)

    return read


def _check_class(
    label: tf.Tensor, num_classes: int | None, labels_offset: int
) -> tf.Tensor:
    """Returns the class less the offset; an error at run time if out of range."""
    label = tf.cast(tf.reshape(label, []), tf.int64) - labels_offset
    if not num_classes:
        return label
    in_range = tf.logical_and(label >= 0, label < num_classes - labels_offset)
    message = (
        f"A label, less --labels_offset={labels_offset}, is outside 0 to "
        f"{num_classes - labels_offset - 1}, the dataset's classes:"
    )
    with tf.control_dependencies([tf.Assert(in_range, [message, label])]):
        return tf.identity(label)


def _check_values(
    label: tf.Tensor, num_names: int | None, labels_offset: int
) -> tf.Tensor:
    """Returns float32 [num_names]; an error at run time if a value is not finite."""
    if labels_offset:
        raise ValueError(
            f"labels_offset is {labels_offset}, but the dataset has no background "
            "class to leave out: use 0."
        )
    label = tf.reshape(tf.cast(label, tf.float32), [num_names or -1])
    is_finite = tf.reduce_all(tf.math.is_finite(label))
    with tf.control_dependencies(
        [tf.Assert(is_finite, ["A label is not finite:", label])]
    ):
        return tf.identity(label)


def _detach(decoder: Any) -> Any:
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


def _check_items(decoder: Any) -> None:
    missing = {"image", "label"} - set(decoder.list_items())
    if missing:
        raise ValueError(
            f"The dataset's decoder provides {sorted(decoder.list_items())}: it lacks "
            f"{sorted(missing)}; add these items to items_to_handlers."
        )


def _decode_image(
    example: dict[str, tf.Tensor],
    handler: slim.tfexample_decoder.Image,
    crop_window: Callable[[tf.Tensor], tf.Tensor | None],
    cache: decoded_images.Cache | None,
) -> tf.Tensor:
    """Does what the handler does, but decodes only the window of a JPEG, or nothing."""
    encoded = tf.reshape(example[handler._image_key], [])
    image_format = tf.reshape(example[handler._format_key], [])
    # Decided by the contents: old shards say "jpg" whatever they hold.
    is_jpeg = tf.logical_and(
        tf.io.is_jpeg(encoded),
        tf.logical_not(tf.strings.regex_full_match(image_format, "raw|RAW")),
    )

    def decode(window_fn):
        def decode_jpeg():
            return jpeg_crops.decode_jpeg(
                encoded, window_fn, handler._channels, handler._dct_method
            )

        def decode_other():
            tensors = {key: example[key] for key in handler.keys}
            tensors[handler._image_key] = encoded
            tensors[handler._format_key] = image_format
            return jpeg_crops.crop(handler.tensors_to_item(tensors), window_fn)

        return tf.cond(is_jpeg, decode_jpeg, decode_other)

    if cache is None:
        image = decode(crop_window)
    else:
        whole = cache.load(
            encoded, lambda: decode(lambda shape: None), handler._channels
        )
        image = jpeg_crops.crop(whole, crop_window)
    image.set_shape([None, None, handler._channels or None])
    return image


def _decode_and_preprocess(
    record: tf.Tensor,
    decoder: Any,
    preprocessing_fn: Callable[..., tf.Tensor],
    image_height: int,
    image_width: int,
    cache: decoded_images.Cache | None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Does what decoder and preprocessing do, but decodes no more than is needed."""
    image_handler = decoder._items_to_handlers["image"]
    label_handler = decoder._items_to_handlers["label"]
    keys = {*image_handler.keys, *label_handler.keys}
    example = tf.io.parse_single_example(
        record, {key: decoder._keys_to_features[key] for key in keys}
    )
    has_window = hasattr(preprocessing_fn, "crop_window")

    def crop_window(shape):
        if not has_window:
            return None
        return preprocessing_fn.crop_window(shape, image_height, image_width)

    image = _decode_image(example, image_handler, crop_window, cache)
    finish = preprocessing_fn.finish if has_window else preprocessing_fn
    label = label_handler.tensors_to_item(
        {key: example[key] for key in label_handler.keys}
    )
    return finish(image, image_height, image_width), label
