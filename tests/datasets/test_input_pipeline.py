"""The pipeline: which images come, in which order, and as which pixels."""

import collections
import os

import numpy as np
import pytest
from pipeline_runs import (
    SIZE,
    SMOOTH,
    encode,
    get,
    get_by_hand,
    list_indices,
    run,
    write_by_hand,
    write_records,
    write_shards,
)

from datasets import (
    dataset_factory,
    input_pipeline,
    shuffled_stream,
)
from preprocessing import preprocessing_factory
from tf_slim_compat import slim, tf


@pytest.mark.parametrize(("num_images", "batch_size"), [(10, 4), (7, 3), (5, 8)])
def test_evaluation_sees_each_image_once_in_file_order(
    tmp_path, num_images, batch_size
):
    dataset = get(write_shards(tmp_path, num_images))
    results = run(dataset, batch_size=batch_size, is_training=False)
    in_order = [i for shard in range(3) for i in range(shard, num_images, 3)]
    assert list_indices(results) == in_order
    assert [label for _, labels in results for label in labels] == [
        index % 6 for index in in_order
    ]
    assert len(results[-1][1]) == (num_images % batch_size or batch_size)


@pytest.mark.parametrize("num_readers", [1, 2, 50])
def test_each_training_epoch_sees_each_image_once(tmp_path, num_readers):
    dataset = get(write_shards(tmp_path, 24))
    results = run(dataset, 18, num_readers=num_readers)
    indices = list_indices(results)
    epochs = [indices[start : start + 24] for start in range(0, 72, 24)]
    for epoch in epochs:
        assert sorted(epoch) == list(range(24))
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_images_and_labels_stay_together(tmp_path):
    results = run(get(write_shards(tmp_path, 24)), 12)
    for images, labels in results:
        assert np.array_equal(images[:, 0, 0, 0] % 6, labels)


def test_training_goes_on_with_fewer_images_than_a_batch(tmp_path):
    results = run(get(write_shards(tmp_path, 3)), 3, batch_size=8)
    counts = collections.Counter(list_indices(results))
    assert counts == {0: 8, 1: 8, 2: 8}


def test_seed_decides_the_order(tmp_path):
    dataset = get(write_shards(tmp_path, 24))
    orders = [list_indices(run(dataset, 12, seed=seed)) for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]


def test_shuffle_buffer_is_bounded_by_bytes(tmp_path, monkeypatch):
    dataset = get(write_shards(tmp_path, 24))
    total = sum(os.path.getsize(path) for path in dataset.data_sources)
    dataset.num_samples = 24

    def fit():
        return shuffled_stream.fit_buffer(dataset.data_sources, 24)

    assert fit() == 24
    monkeypatch.setattr(shuffled_stream, "SHUFFLE_BYTES", total // 3)
    assert fit() in (7, 8)
    monkeypatch.setattr(shuffled_stream, "SHUFFLE_BYTES", 1)
    assert fit() == 1


def test_labels_offset(tmp_path):
    dataset = get(write_shards(tmp_path, 12, labels=lambda index: index % 5 + 1))
    results = run(dataset, is_training=False, labels_offset=1)
    assert {label for _, labels in results for label in labels} == set(range(5))


@pytest.mark.parametrize(("label", "offset"), [(6, 0), (-1, 0), (0, 1)])
def test_labels_out_of_range_are_named(tmp_path, label, offset):
    dataset = get(write_shards(tmp_path, 4, labels=lambda index: label))
    with (
        pytest.raises(OSError, match=f"label.*outside 0 to {5 - offset}"),
        input_pipeline.naming_broken_files(dataset),
    ):
        run(dataset, 1, labels_offset=offset)


class RightHalf:
    """Crops; notes the sizes of what it is given."""

    def __init__(self):
        self.seen = []

    def crop_window(self, image_shape, output_height, output_width):
        assert (output_height, output_width) == (SIZE, SIZE)
        half = image_shape[1] // 2
        return tf.stack([0, half, image_shape[0], half])

    def finish(self, image, height, width):
        self.seen.append(image)
        return tf.image.resize_images(tf.cast(image, tf.float32), [height, width])


class Whole(RightHalf):
    def crop_window(self, image_shape, output_height, output_width):
        return None


@pytest.mark.parametrize("claimed", [b"jpg", b"jpeg", b"png", b""])
def test_decoding_goes_by_the_bytes(tmp_path, claimed):
    encoded = [encode(SMOOTH, kind) for kind in ("JPEG", "PNG", "BMP")]
    gray = SMOOTH[..., 0]
    encoded += [encode(gray, kind) for kind in ("JPEG", "PNG")]
    path = tmp_path / "satellite_train_0.tfrecord"
    write_records(path, encoded, [0] * len(encoded), claimed)
    for preprocessing_fn, left in (RightHalf(), 15), (Whole(), 0):
        [(images, _)] = run(
            get(tmp_path),
            preprocessing_fn=preprocessing_fn,
            size=SIZE,
            batch_size=9,
            is_training=False,
        )
        assert images.shape == (5, SIZE, SIZE, 3)
        expected = np.asarray(SMOOTH[:, left:], float)
        rows = np.arange(SIZE) * 40 / SIZE
        columns = np.arange(SIZE) * expected.shape[1] / SIZE
        expected = expected[rows.astype(int)][:, columns.astype(int)]
        for image in images[:3]:
            assert np.abs(image - expected).mean() < 8
        for image in images[3:]:
            assert np.abs(image - expected[..., :1]).mean() < 8


@pytest.mark.parametrize("name", ["inception", "vgg", "cifarnet", "lenet"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_crop_while_decoding_changes_no_pixel(tmp_path, name, kind):
    noise = np.random.RandomState(0).randint(0, 256, (301, 267, 3))
    write_records(tmp_path / "satellite_train_0.tfrecord", [encode(noise, kind)], [0])
    fn = preprocessing_factory.get_preprocessing(name, is_training=False)

    def plain(*args):
        return fn(*args)

    [(cropped, _)], [(whole, _)] = (
        run(get(tmp_path), preprocessing_fn=f, size=32, is_training=False)
        for f in (fn, plain)
    )
    np.testing.assert_allclose(cropped, whole, atol=1e-6)


@pytest.mark.parametrize("name", ["inception", "vgg"])
def test_training_preprocessing_runs(tmp_path, name):
    write_records(
        tmp_path / "satellite_train_0.tfrecord",
        [encode(SMOOTH, "JPEG"), encode(SMOOTH, "PNG")],
        [0, 1],
    )
    fn = preprocessing_factory.get_preprocessing(name, is_training=True)
    for images, _ in run(get(tmp_path), 3, preprocessing_fn=fn, size=24):
        assert images.shape == (4, 24, 24, 3)
        assert np.isfinite(images).all()


def test_one_channel_stays_one(tmp_path):
    path = tmp_path / "mnist_train.tfrecord"
    write_records(path, [encode(np.full((28, 28), 7))] * 2, [1, 2])
    dataset = dataset_factory.get_dataset("mnist", "train", str(tmp_path))

    def check(image, height, width):
        assert image.shape.as_list() == [28, 28, 1]
        return tf.cast(image, tf.float32)

    [(images, labels)] = run(
        dataset, preprocessing_fn=check, size=28, is_training=False
    )
    assert (images == 7).all()
    assert labels.tolist() == [1, 2]


@pytest.mark.parametrize(
    "preprocessing_fn", [RightHalf(), lambda *a: Whole().finish(*a)]
)
def test_long_form_module(tmp_path, preprocessing_fn):
    record = {"image/encoded": encode(SMOOTH, "JPEG"), "image/class/label": 5}
    write_by_hand(tmp_path, [record] * 4)
    [(images, labels)] = run(
        get_by_hand(tmp_path), 1, preprocessing_fn=preprocessing_fn, size=SIZE
    )
    assert images.shape == (4, SIZE, SIZE, 3)
    assert labels.tolist() == [5] * 4


def test_long_form_is_cropped_while_it_is_decoded(tmp_path):
    write_by_hand(tmp_path, [{"image/encoded": encode(SMOOTH, "JPEG")}])
    preprocessing_fn = RightHalf()
    run(get_by_hand(tmp_path), 1, preprocessing_fn=preprocessing_fn, size=SIZE)
    assert preprocessing_fn.seen


def test_other_keys_and_lists_of_one(tmp_path):
    write_by_hand(
        tmp_path,
        [{"photo": encode(SMOOTH[..., 0], "JPEG"), "kind": b"jpg", "labels": [3]}] * 2,
    )
    dataset = get_by_hand(
        tmp_path,
        image=slim.tfexample_decoder.Image("photo", "kind", channels=1),
        label=slim.tfexample_decoder.Tensor("labels"),
    )
    for preprocessing_fn in RightHalf(), Whole():
        [(images, labels)] = run(
            dataset, is_training=False, preprocessing_fn=preprocessing_fn, size=SIZE
        )
        assert images.shape == (2, SIZE, SIZE, 1)
        assert labels.tolist() == [3, 3]


@pytest.mark.parametrize("with_window", [True, False])
def test_raw_pixels(tmp_path, with_window):
    # They begin as a JPEG file does.
    raw = bytes([0xFF, 0xD8, 0xFF]) + bytes(range(45))
    write_by_hand(tmp_path, [{"image/encoded": raw, "image/format": b"raw"}])
    dataset = get_by_hand(tmp_path, image=slim.tfexample_decoder.Image(shape=[4, 4, 3]))

    class Cast(Whole):
        def __call__(self, image, height, width):
            return tf.cast(image, tf.float32)

    preprocessing_fn = Cast() if with_window else Cast().__call__
    [(images, _)] = run(
        dataset, is_training=False, preprocessing_fn=preprocessing_fn, size=4
    )
    assert images.astype(np.uint8).tobytes() == raw


def test_any_other_decoder(tmp_path):
    class Decoder(slim.data_decoder.DataDecoder):
        def list_items(self):
            return ["image", "label"]

        def decode(self, data, items):
            values = {"image": tf.io.decode_raw(data, tf.uint8), "label": 2}
            values["image"] = tf.reshape(values["image"], [1, 1, -1])
            return [values[item] for item in items]

    with tf.io.TFRecordWriter(str(tmp_path / "photos_train_0.tfrecord")) as writer:
        writer.write(b"\7\7\7")
    dataset = get_by_hand(tmp_path, Decoder())
    [(images, labels)] = run(dataset, is_training=False)
    assert (images[0] == 7).all()
    assert labels.tolist() == [2]


def test_lookup_tables_of_a_decoder(tmp_path):
    write_by_hand(tmp_path, [{"image/encoded": encode(SMOOTH), "kind": b"rock"}])

    class Named(slim.tfexample_decoder.ItemHandler):
        def tensors_to_item(self, keys_to_tensors):
            return tf.strings.length(keys_to_tensors["kind"])

    dataset = get_by_hand(tmp_path, label=Named("kind"))
    [(_, labels)] = run(dataset, is_training=False)
    assert labels.tolist() == [4]


def test_what_cannot_be_read_is_rejected(tmp_path):
    write_shards(tmp_path, 3)
    dataset = get(tmp_path)
    dataset.reader = tf.TextLineReader
    with pytest.raises(ValueError, match="TextLineReader.*only tf.TFRecordReader"):
        run(dataset)
    dataset = get(tmp_path)
    dataset.decoder._items_to_handlers = {
        "photo": dataset.decoder._items_to_handlers["image"]
    }
    with pytest.raises(ValueError, match=r"lacks \['image', 'label'\]"):
        run(dataset)
    with pytest.raises(FileNotFoundError, match=r"photos_train_\*"):
        run(get_by_hand(tmp_path))


def test_empty_shards_are_rejected(tmp_path):
    write_shards(tmp_path, 0)
    for is_training in True, False:
        with pytest.raises(OSError, match="are empty"):
            run(get(tmp_path), is_training=is_training)
