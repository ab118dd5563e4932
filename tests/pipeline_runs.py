"""Small TFRecord datasets, and running the input pipeline on them."""

import io
import os

import numpy as np
from PIL import Image

from datasets import dataset_factory, dataset_utils, input_pipeline
from tf_slim_compat import slim, tf

SIZE = 16


def encode(image, kind="PNG", **options):
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(image, np.uint8)).save(buffer, kind, **options)
    return buffer.getvalue()


def write_shards(folder, num_images, num_shards=3, labels=lambda index: index % 6):
    """Writes images whose pixels are all `index`, distributed over the shards."""
    for shard in range(num_shards):
        name = f"satellite_train_{shard:05d}-of-{num_shards:05d}.tfrecord"
        indices = range(shard, num_images, num_shards)
        encoded = [encode(np.full((4, 5, 3), index)) for index in indices]
        write_records(folder / name, encoded, map(labels, indices))
    return folder


def write_records(path, encoded, labels, image_format=b"png"):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for data, label in zip(encoded, labels, strict=True):
            example = dataset_utils.image_to_tfexample(data, image_format, 4, 5, label)
            writer.write(example.SerializeToString())


def get(folder):
    return dataset_factory.get_dataset("satellite", "train", str(folder))


def first_pixel(image, height, width):
    """A preprocessing without `crop_window` that returns the value of a pixel."""
    return tf.fill([height, width, 1], tf.cast(image[0, 0, 0], tf.float32))


def run(dataset, num_batches=None, preprocessing_fn=first_pixel, size=2, **options):
    """Returns [(images, labels)] of some batches, or of all."""
    options = {"batch_size": 4, "is_training": True, **options}
    batch_size = options.pop("batch_size")
    results = []
    with tf.Graph().as_default():
        batches = input_pipeline.build_batches(
            dataset, preprocessing_fn, size, size, batch_size, **options
        )
        iterator = tf.data.make_initializable_iterator(batches)
        element = iterator.get_next()
        static_batch = batch_size if options["is_training"] else None
        assert element[0].shape.as_list()[:3] == [static_batch, size, size]
        has_classes = getattr(dataset, "task", "classification") == "classification"
        names = [] if has_classes else [dataset.num_classes]
        assert element[1].shape.as_list() == [static_batch, *names]
        label_dtype = tf.int64 if has_classes else tf.float32
        assert (element[0].dtype, element[1].dtype) == (tf.float32, label_dtype)
        # The number of threads of the session must not matter.
        threads = tf.ConfigProto(inter_op_parallelism_threads=1)
        with tf.Session(config=threads) as session:
            session.run([iterator.initializer, tf.tables_initializer()])
            while len(results) != num_batches:
                try:
                    results.append(session.run(element))
                except tf.errors.OutOfRangeError:
                    break
    return results


def list_indices(results):
    return [int(image[0, 0, 0]) for images, _ in results for image in images]


# An image of 40 by 30 pixels, smooth enough for JPEG.
SMOOTH = np.stack(
    np.broadcast_arrays(
        np.linspace(0, 255, 40)[:, None], np.linspace(255, 0, 30)[None], 99.0
    ),
    -1,
).astype(np.uint8)


def write_by_hand(folder, records):
    with tf.io.TFRecordWriter(str(folder / "photos_train_0.tfrecord")) as writer:
        for values in records:
            features = {
                key: dataset_utils.bytes_feature(value)
                if isinstance(value, bytes)
                else dataset_utils.int64_feature(value)
                for key, value in values.items()
            }
            example = tf.train.Example(features=tf.train.Features(feature=features))
            writer.write(example.SerializeToString())


def get_by_hand(folder, decoder=None, **handlers):
    """Returns a dataset in the long form of users' own modules."""
    keys_to_features = {
        "image/encoded": tf.FixedLenFeature((), tf.string, default_value=""),
        "image/format": tf.FixedLenFeature((), tf.string, default_value="jpg"),
        "image/class/label": tf.FixedLenFeature(
            [], tf.int64, default_value=tf.zeros([], dtype=tf.int64)
        ),
        "labels": tf.VarLenFeature(tf.int64),
        "photo": tf.FixedLenFeature([1], tf.string, default_value=[""]),
        "kind": tf.FixedLenFeature([1], tf.string, default_value=["jpg"]),
    }
    items_to_handlers = {
        "image": slim.tfexample_decoder.Image(),
        "label": slim.tfexample_decoder.Tensor("image/class/label"),
        **handlers,
    }
    return slim.dataset.Dataset(
        data_sources=os.path.join(str(folder), "photos_train_*.tfrecord"),
        reader=tf.TFRecordReader,
        decoder=decoder
        or slim.tfexample_decoder.TFExampleDecoder(keys_to_features, items_to_handlers),
        num_samples=4,
        items_to_descriptions={"image": "A photo.", "label": "Its class."},
        num_classes=6,
        labels_to_names=None,
    )
