"""Bad records are named, whatever the split, and can be left out of training."""

import logging

import numpy as np
import pytest
from mutations import mutate
from pipeline_runs import encode, first_pixel, get, list_indices, run, write_records

from datasets import bad_records, input_pipeline
from tf_slim_compat import tf

NUM_IMAGES = 30
OPTIONS = {"skip_bad_records": True, "seed": 3, "batch_size": 1}


def write(folder, bad=(), bad_labels=()):
    """Writes images whose pixels are their index, some of them damaged."""
    folder.mkdir(exist_ok=True)
    encoded = [encode(np.full((4, 5, 3), index)) for index in range(NUM_IMAGES)]
    for index in bad:
        encoded[index] = encoded[index][:-20] + bytes([index])
    labels = [77 if index in bad_labels else 1 for index in range(NUM_IMAGES)]
    for shard in range(3):
        path = folder / f"satellite_train_{shard:05d}-of-00003.tfrecord"
        write_records(path, encoded[shard::3], labels[shard::3])
    return get(folder)


@pytest.fixture(autouse=True)
def more_images_are_skipped(monkeypatch):
    monkeypatch.setattr(bad_records, "MAX_SKIPPED_FRACTION", 0.1)


def test_the_next_good_image_takes_the_place_of_a_bad_one(tmp_path, caplog):
    whole = list_indices(run(write(tmp_path / "a"), 2 * NUM_IMAGES, **OPTIONS))
    assert sorted(whole) == sorted([*range(NUM_IMAGES)] * 2)
    # Two in a row, the last of an epoch, and one with a wrong label.
    bad = [whole[4], whole[5], whole[NUM_IMAGES - 1]]
    dataset = write(tmp_path / "b", bad[:2], bad[2:])
    caplog.set_level(logging.WARNING)
    found = list_indices(run(dataset, 2 * NUM_IMAGES, **OPTIONS))
    good = [
        next(index for index in whole[place:] if index not in bad)
        for place in range(2 * NUM_IMAGES - 1)
    ]
    assert found[:-1] == good
    records = [r.message for r in caplog.records if "skipped" in r.message]
    assert len(records) == 3
    for index, message in zip(bad, records, strict=True):
        place = f"Record {index // 3} of {dataset.data_sources[index % 3]!r} cannot be"
        assert message.startswith(place)
    assert "A label, less --labels_offset=0, is outside" in records[2]
    # Resumed anywhere, the stream goes on as it would have.
    for start in 4, 5, NUM_IMAGES - 1:
        resumed = run(dataset, 8, start_image=start, **OPTIONS)
        assert list_indices(resumed) == found[start : start + 8], start


def test_too_many_bad_records_end_training(tmp_path):
    dataset = write(tmp_path, [1, 2, 3, 4])
    with (
        pytest.raises(OSError, match="Record . of .*is bad record 4 of 30") as caught,
        input_pipeline.naming_broken_files(dataset),
    ):
        run(dataset, NUM_IMAGES, **OPTIONS)
    assert "\n" not in str(caught.value)


def test_the_record_is_named_in_whichever_dataset_it_is(tmp_path):
    training, validation = write(tmp_path / "a"), write(tmp_path / "b", [7])
    with (
        pytest.raises(OSError, match="Record 2 of .*/b/satellite_train_00001"),
        input_pipeline.naming_broken_files(training),
    ):
        run(training, 1)
        run(validation, is_training=False)


def test_wrong_checksums_are_not_skipped(tmp_path):
    dataset = write(tmp_path)
    path = tmp_path / "satellite_train_00001-of-00003.tfrecord"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with (
        pytest.raises(OSError, match="Record 9 of .*corrupted"),
        input_pipeline.naming_broken_files(dataset),
    ):
        run(dataset, NUM_IMAGES, **OPTIONS)


def set_length(data, length):
    """Gives the last record a length, with the checksum that belongs to it."""
    table = [0] * 256
    for index in range(256):
        value = index
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table[index] = value
    encoded = length.to_bytes(8, "little")
    crc = 0xFFFFFFFF
    for byte in encoded:
        crc = crc >> 8 ^ table[(crc ^ byte) & 255]
    crc ^= 0xFFFFFFFF
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    return data + encoded + masked.to_bytes(4, "little") + bytes(40)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        *(
            (lambda data, bits=bits: set_length(data, 2**bits), "after 10 records")
            for bits in (32, 36, 40, 62, 63)
        ),
        (lambda data: data + bytes(64), "after 10 records"),
        (lambda data: b"\x1f\x8b" + data, "is compressed with gzip"),
        (lambda data: data[:-1], "after 9 records"),
    ],
)
def test_lengths_are_checked_before_tensorflow_reads(tmp_path, spoil, message):
    dataset = write(tmp_path)
    path = tmp_path / "satellite_train_00001-of-00003.tfrecord"
    path.write_bytes(spoil(path.read_bytes()))
    for is_training in True, False:
        with pytest.raises(OSError, match=f"00001-of-00003.*{message}"):
            run(dataset, 1, first_pixel, is_training=is_training)


def test_records_that_are_no_examples(tmp_path, caplog):
    dataset = write(tmp_path)
    path = tmp_path / "satellite_train_00001-of-00003.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(b"\n\xff\xfe")
    match = "Record 0 of .*00001-of-00003.* cannot be used .it is no tf.train.Example"
    for options in {}, {"is_training": False}:
        with (
            pytest.raises(OSError, match=match),
            input_pipeline.naming_broken_files(dataset),
        ):
            run(dataset, **options)
    run(dataset, 20, **OPTIONS)
    assert "it is no tf.train.Example" in caplog.text


def test_checksums_of_set_length_are_right(tmp_path):
    path = tmp_path / "x"
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(bytes(36))
    record = path.read_bytes()
    assert set_length(b"", 36)[:12] == record[:12]


def test_missing_records_are_a_warning_without_dataset_info(tmp_path, caplog):
    dataset = write(tmp_path)
    dataset.num_samples = NUM_IMAGES
    caplog.set_level(logging.WARNING)
    run(dataset, 1)
    assert not caplog.records
    # TensorFlow reads a shard that was cut between two records without a word.
    path = tmp_path / "satellite_train_00001-of-00003.tfrecord"
    for count, message in (9, "hold 29 images instead of the 30"), (0, "is empty"):
        write_records(path, [encode(np.zeros((4, 5, 3)))] * count, [1] * count)
        caplog.clear()
        run(dataset, 1)
        run(dataset, 1, is_training=False)
        assert [message in record.message for record in caplog.records] == [True]


def test_damaged_shards_end_in_one_kind_of_error(tmp_path):
    random = np.random.RandomState(0)
    dataset = write(tmp_path)
    path = tmp_path / "satellite_train_00001-of-00003.tfrecord"
    whole = path.read_bytes()
    records = list(tf.io.tf_record_iterator(str(path)))
    failures = 0
    for case in range(12):
        if case % 2:
            path.write_bytes(mutate(whole, random))
        else:
            # With checksums that are right.
            with tf.io.TFRecordWriter(str(path)) as writer:
                for index, record in enumerate(records):
                    writer.write(mutate(record, random) if index == 2 else record)
        try:
            with input_pipeline.naming_broken_files(dataset):
                run(dataset, is_training=False)
        except OSError as error:
            assert path.name in str(error) and "\n" not in str(error)
            failures += 1
    assert failures > 6
