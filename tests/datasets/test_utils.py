"""Label files, features and sharded output."""

import contextlib

import numpy as np
import pytest

from datasets import dataset_factory, dataset_utils, shard_files
from tf_slim_compat import tf


def test_label_files(tmp_path):
    names = {0: "ice", 1: "big rock: red", 2: "Алиса"}
    assert not dataset_utils.has_labels(str(tmp_path))
    dataset_utils.write_label_file(names, str(tmp_path))
    assert dataset_utils.has_labels(str(tmp_path))
    assert dataset_utils.read_label_file(str(tmp_path)) == names
    assert not dataset_utils.has_labels(str(tmp_path), "other.txt")


def test_features():
    for values in 3, [3], (3, 4):
        feature = dataset_utils.int64_feature(values)
        expected = list(values) if not isinstance(values, int) else [3]
        assert list(feature.int64_list.value) == expected
    assert list(dataset_utils.float_feature(1.5).float_list.value) == [1.5]
    assert list(dataset_utils.float_list_feature([1, 2]).float_list.value) == [1, 2]
    assert list(dataset_utils.bytes_feature(b"a").bytes_list.value) == [b"a"]
    assert len(dataset_utils.bytes_list_feature([b"a", b"b"]).bytes_list.value) == 2
    example = dataset_utils.image_to_tfexample(b"data", b"png", 4, 5, 2)
    assert example.features.feature["image/class/label"].int64_list.value[0] == 2


def test_sharded_output(tmp_path):
    with contextlib.ExitStack() as stack:
        writers = dataset_utils.open_sharded_output_tfrecords(
            stack, str(tmp_path / "train.record"), 3
        )
        for writer in writers:
            writer.write(b"record")
    paths = sorted(tmp_path.iterdir())
    assert [path.name for path in paths] == [
        f"train.record-0000{index}-of-00003" for index in range(3)
    ]
    for path in paths:
        assert list(tf.io.tf_record_iterator(str(path))) == [b"record"]


def write_shards(folder, labels, num_shards=2):
    """Writes examples with these labels, distributed over the shards."""
    folder.mkdir(exist_ok=True)
    for shard in range(num_shards):
        path = folder / f"flowers_train_{shard:05d}-of-{num_shards:05d}.tfrecord"
        with tf.io.TFRecordWriter(str(path)) as writer:
            for label in labels[shard::num_shards]:
                example = dataset_utils.image_to_tfexample(b"", b"png", 4, 5, label)
                writer.write(example.SerializeToString())
    return dataset_factory.get_dataset("flowers", "train", str(folder))


def test_counting_labels(tmp_path):
    dataset = write_shards(tmp_path, [1, 4, 4, 0, 4, 1])
    counts = dataset_utils.count_labels(dataset)
    assert counts.dtype == np.int64
    assert counts.tolist() == [1, 2, 0, 0, 3]


def test_counting_labels_that_are_known(data_dir, monkeypatch):
    dataset = dataset_factory.get_dataset("image_folder", "train", str(data_dir))
    expected = dataset_utils.count_labels(dataset)
    assert expected.sum() == dataset.num_samples == 80
    # Another set of shards is counted itself.
    dataset.data_sources = dataset.data_sources[:1]
    part = dataset_utils.count_labels(dataset)
    assert part.sum() == shard_files.count_records(dataset.data_sources)[0] < 80
    monkeypatch.setattr(shard_files, "find_split", lambda files: (None, None))
    dataset = dataset_factory.get_dataset("image_folder", "train", str(data_dir))
    assert dataset_utils.count_labels(dataset).tolist() == expected.tolist()


@pytest.mark.parametrize("label", [5, -1])
def test_counting_labels_out_of_range(tmp_path, label):
    dataset = write_shards(tmp_path, [0, 1, label])
    with pytest.raises(ValueError, match=f"label {label}, .*allows 0 to 4"):
        dataset_utils.count_labels(dataset)


def test_counting_labels_of_a_broken_shard(tmp_path):
    dataset = write_shards(tmp_path, [0, 1, 2])
    path = tmp_path / "flowers_train_00000-of-00002.tfrecord"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(OSError, match="00000-of-00002.*truncated"):
        dataset_utils.count_labels(dataset)


def test_all_labels_are_read_in_file_order(tmp_path):
    dataset = write_shards(tmp_path, [4, 0, 3, 1, 2])
    labels = dataset_utils.read_all_labels(dataset)
    assert labels.dtype == np.int64 and sorted(labels) == [0, 1, 2, 3, 4]
    assert (labels == dataset_utils.read_all_labels(dataset)).all()


def test_fingerprint(tmp_path, data_dir):
    first = dataset_utils.fingerprint(write_shards(tmp_path / "a", [0, 1, 2, 3]))
    moved = dataset_utils.fingerprint(write_shards(tmp_path / "b", [0, 1, 2, 3]))
    other = dataset_utils.fingerprint(write_shards(tmp_path / "c", [0, 1, 2, 4]))
    longer = dataset_utils.fingerprint(write_shards(tmp_path / "d", [0, 1, 2, 3, 4]))
    assert first == moved
    assert len({first, other, longer}) == 3
    assert len(first) == 64
    dataset = dataset_factory.get_dataset("image_folder", "train", str(data_dir))
    info = shard_files.read_info(str(data_dir))
    assert dataset_utils.fingerprint(dataset) == info.fingerprint
    # It does not describe other files.
    dataset.data_sources = dataset.data_sources[:1]
    assert dataset_utils.fingerprint(dataset) != info.fingerprint
