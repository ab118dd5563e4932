"""Broken shards and images are named, and so are datasets that were replaced."""

import contextlib
import dataclasses
import json
import os
import shutil

import numpy as np
import pytest
from pipeline_runs import (
    SMOOTH,
    encode,
    first_pixel,
    get,
    get_by_hand,
    run,
    write_by_hand,
    write_records,
    write_shards,
)

from datasets import (
    bad_records,
    convert_images,
    dataset_factory,
    input_pipeline,
    record_reader,
    shuffled_stream,
)
from tf_slim_compat import tf


def shards_with(folder, position, spoil):
    """Writes three shards and spoils the bytes of the second."""
    for shard in range(3):
        path = folder / f"satellite_train_{shard:05d}-of-00003.tfrecord"
        write_records(path, [encode(SMOOTH)] * 4, [1] * 4)
    path = folder / "satellite_train_00001-of-00003.tfrecord"
    data = bytearray(path.read_bytes())
    path.write_bytes(spoil(data, len(data) // 4 * position))
    return get(folder)


def flip(data, position):
    data[position] ^= 255
    return data


@pytest.mark.parametrize(
    ("position", "spoil", "message"),
    [
        (
            3,
            lambda data, position: data[: position + 99],
            "byte [0-9]+, after 3 records",
        ),
        (1, lambda data, position: flip(data, position + 4), "after 1 records"),
        (2, lambda data, position: flip(data, position + 99), "Record 2 of.*corrupted"),
    ],
    ids=["truncated", "length", "payload"],
)
def test_broken_shards_are_named(tmp_path, position, spoil, message):
    dataset = shards_with(tmp_path, position, spoil)
    for is_training in True, False:
        with (
            pytest.raises(OSError, match=message) as caught,
            input_pipeline.naming_broken_files(dataset),
        ):
            run(dataset, 6, is_training=is_training)
        assert dataset.data_sources[1] in str(caught.value)


def test_a_shard_truncated_in_the_length_of_a_record(tmp_path):
    # TensorFlow takes this for the end of the file.
    dataset = shards_with(tmp_path, 3, lambda data, position: data[: position + 7])
    assert "after 3 records" in bad_records.diagnose(dataset)


def test_broken_images_are_named(tmp_path):
    photo = encode(SMOOTH, "JPEG")
    records = [
        {"image/encoded": photo, "image/filename": b"rock/good.jpg"},
        {"image/encoded": photo[:300], "image/filename": b"rock/\xe9.jpg"},
    ]
    write_by_hand(tmp_path, records)
    dataset = get_by_hand(tmp_path)
    name = os.fsdecode(b"rock/\xe9.jpg")
    assert "Record 1 of" in bad_records.diagnose(dataset)
    assert f"the image {name!r}" in bad_records.diagnose(dataset)
    write_by_hand(tmp_path, [records[0], {"image/encoded": b"text"}])
    assert "Record 1 of" in bad_records.diagnose(dataset)
    write_by_hand(tmp_path, [records[0]])
    assert bad_records.diagnose(dataset) is None


@pytest.mark.parametrize(
    "tail",
    ["", "\n\t [[IteratorGetNext]]", "\n\nOriginal stack trace for 'x':\n  a.py"],
)
@pytest.mark.parametrize(
    "head",
    [
        "",
        "Graph execution error:\n\nNode: 'IteratorGetNext'\n",
        "Error in user-defined function f of iterator: Iterator::Root::ParallelMapV2: ",
    ],
)
def test_reason_of_an_error(head, tail):
    error = tf.errors.DataLossError(None, None, f"{head}corrupted record at 584{tail}")
    assert bad_records.extract_reason(error) == "corrupted record at 584"


def test_errors_from_elsewhere_pass(tmp_path):
    dataset = get(write_shards(tmp_path, 3))
    with (
        pytest.raises(tf.errors.InvalidArgumentError, match="elsewhere"),
        input_pipeline.naming_broken_files(dataset),
        tf.Graph().as_default(),
        tf.Session() as session,
    ):
        session.run(tf.debugging.Assert(tf.constant(False), ["elsewhere"]))


@pytest.fixture
def converted(tmp_path):
    """A converted dataset and a function that replaces it by one with other labels."""
    source, data = tmp_path / "photos", tmp_path / "data"
    for label, name in enumerate(["cat", "dog"]):
        (source / name).mkdir(parents=True)
        for index in range(6):
            path = source / name / f"{index}.png"
            path.write_bytes(encode(np.full((4, 5, 3), 10 * index + label)))

    def convert(**options):
        config = convert_images.ConvertConfig(str(source), str(data), **options)
        convert_images.convert(dataclasses.replace(config, shards=2, workers=1))

    def replace(is_overwritten):
        (source / "dog").rename(source / "ape")
        if not is_overwritten:
            shutil.rmtree(data)
        convert(overwrite=is_overwritten)

    convert()
    return data, replace


@pytest.fixture
def get_batch():
    """Returns a function that builds the input; that returns functions to run it."""
    with contextlib.ExitStack() as stack:

        def build(dataset, is_training):
            stack.enter_context(tf.Graph().as_default())
            session = stack.enter_context(tf.Session())
            batches = input_pipeline.build_batches(
                dataset, first_pixel, 2, 2, 4, is_training=is_training
            )
            iterator = tf.data.make_initializable_iterator(batches)
            element = iterator.get_next()
            return (
                lambda: session.run(iterator.initializer),
                lambda: session.run(element),
            )

        yield build


def fails(dataset):
    """Expects the sentence about a dataset that was replaced."""
    stack = contextlib.ExitStack()
    match = "dataset in .* was replaced or removed after it had been opened: start"
    stack.enter_context(pytest.raises(OSError, match=match))
    stack.enter_context(input_pipeline.naming_broken_files(dataset))
    return stack


@pytest.mark.parametrize("is_overwritten", [True, False])
def test_a_dataset_that_was_replaced_is_not_read(converted, get_batch, is_overwritten):
    data, replace = converted
    opened = []
    for split in "train", "validation":
        dataset = dataset_factory.get_dataset("image_folder", split, str(data))
        start, get_next = get_batch(dataset, is_training=split == "train")
        for _ in range(2):
            start()
            get_next()
        opened.append((dataset, start))
    replace(is_overwritten)
    for dataset, start in opened:
        with fails(dataset):
            start()
        with fails(dataset):
            run(dataset, is_training=False)
        with fails(dataset):
            record_reader.read_file_names(dataset)
    shutil.rmtree(data)
    with fails(dataset):
        start()
    with fails(dataset):
        run(dataset, is_training=False)


def test_wrong_numbers_of_records_in_dataset_info(converted):
    data, _ = converted
    path = data / "dataset_info.json"
    info = json.loads(path.read_text())
    first, second = info["splits"]["train"]["shards"]
    first["records"] += 1
    second["records"] -= 1
    path.write_text(json.dumps(info))
    dataset = dataset_factory.get_dataset("image_folder", "train", str(data))
    match = f"{first['file']}' holds 5 records instead of the 6 that dataset_info.json"
    for is_training in True, False:
        with pytest.raises(OSError, match=match):
            run(dataset, 1, is_training=is_training)


def test_training_ends_when_it_opens_replaced_shards(converted, get_batch, monkeypatch):
    data, replace = converted
    runs = []
    for limit in 2**20, 0:
        monkeypatch.setattr(shuffled_stream, "SHUFFLE_BYTES", limit)
        dataset = dataset_factory.get_dataset("image_folder", "train", str(data))
        start, get_next = get_batch(dataset, is_training=True)
        start()
        get_next()
        runs.append(get_next)
    replace(is_overwritten=True)
    from_memory, from_files = runs
    for _ in range(20):
        from_memory()
    with fails(dataset):
        for _ in range(1000):
            from_files()


def test_overwriting_with_the_same_records_disturbs_no_reader(converted, get_batch):
    data, _ = converted
    source = data.parent / "photos"
    config = convert_images.ConvertConfig(str(source), str(data), overwrite=True)
    config = dataclasses.replace(config, shards=2, workers=1)
    convert_images.convert(config)
    dataset = dataset_factory.get_dataset("image_folder", "validation", str(data))
    start, get_next = get_batch(dataset, is_training=False)
    start()
    convert_images.convert(config)
    start()
    get_next()
