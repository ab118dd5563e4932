"""File names and images of records, in the order of evaluation."""

import io

import numpy as np
import pytest
from PIL import Image

from datasets import dataset_factory, dataset_utils, input_pipeline, record_reader
from tf_slim_compat import slim, tf


@pytest.fixture(scope="module")
def dataset(data_dir):
    return dataset_factory.get_dataset("image_folder", "validation", str(data_dir))


def read_labels(dataset):
    with tf.Graph().as_default(), tf.Session() as session:
        batches = input_pipeline.build_batches(
            dataset,
            lambda image, *_: tf.zeros([1, 1, 1]),
            *(1, 1, 100),
            is_training=False,
        )
        iterator = tf.data.make_initializable_iterator(batches)
        session.run(iterator.initializer)
        return session.run(iterator.get_next())[1]


def test_names_and_images_are_those_of_the_batches(dataset, pictures_dir):
    labels = read_labels(dataset)
    names = record_reader.read_file_names(dataset)
    assert len(names) == len(set(names)) == dataset.num_samples == 20
    folders = [name.split("/")[0] for name in names]
    assert folders == [dataset.labels_to_names[label] for label in labels]

    images = record_reader.read_images(dataset, [19, 3, 3], max_size=1000)
    assert sorted(images) == [3, 19]
    for index, image in images.items():
        original = np.asarray(Image.open(pictures_dir / names[index]))
        assert image.dtype == np.uint8 and image.shape == original.shape
        assert np.abs(image.astype(int) - original).mean() < 2


def test_only_as_many_names_as_asked(dataset):
    names = record_reader.read_file_names(dataset)
    assert record_reader.read_file_names(dataset, 7) == names[:7]
    assert record_reader.read_images(dataset, []) == {}


def write_records(path, sizes, filename=None):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for height, width in sizes:
            buffer = io.BytesIO()
            Image.new("L", (width, height), 200).save(buffer, "PNG")
            example = dataset_utils.image_to_tfexample(
                buffer.getvalue(), b"png", height, width, 1
            )
            if filename is not None:
                feature = example.features.feature["image/filename"]
                feature.bytes_list.value.append(filename)
            writer.write(example.SerializeToString())


def make_dataset(paths):
    """As in a hand-written module: with a default of another graph."""
    with tf.Graph().as_default():
        decoder = slim.tfexample_decoder.TFExampleDecoder(
            {
                "image/encoded": tf.FixedLenFeature((), tf.string, ""),
                "image/format": tf.FixedLenFeature((), tf.string, "png"),
                "image/class/label": tf.FixedLenFeature(
                    [], tf.int64, tf.zeros([], tf.int64)
                ),
            },
            {
                "image": slim.tfexample_decoder.Image(channels=1),
                "label": slim.tfexample_decoder.Tensor("image/class/label"),
            },
        )
    return slim.dataset.Dataset(
        [str(path) for path in paths], tf.TFRecordReader, decoder, 4, {}, num_classes=2
    )


def test_records_without_names_are_named_by_their_place(tmp_path):
    paths = [tmp_path / f"x-{i}.tfrecord" for i in range(3)]
    write_records(paths[0], [(9, 9), (9, 9)])
    write_records(paths[1], [(9, 9)], filename=b"a/\xff.png")
    write_records(paths[2], [(9, 9)])
    names = record_reader.read_file_names(make_dataset(paths))
    assert names == ["x-0.tfrecord#0", "x-0.tfrecord#1", "a/\udcff.png"] + [
        "x-2.tfrecord#0"
    ]


def test_large_images_become_small_and_small_ones_stay(tmp_path):
    sizes = [(30, 300), (300, 30), (7, 5), (1, 400)]
    write_records(tmp_path / "x.tfrecord", sizes)
    images = record_reader.read_images(
        make_dataset([tmp_path / "x.tfrecord"]), range(4), max_size=100
    )
    shapes = [images[i].shape for i in range(4)]
    assert shapes == [(10, 100, 1), (100, 10, 1), (7, 5, 1), (1, 100, 1)]
    assert all((image == 200).all() for image in images.values())
