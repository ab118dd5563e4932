"""The folder of a dataset is whole at any moment, whatever ends a conversion."""

import contextlib
import os
import resource

import pytest
from conversions import convert, draw_pets, read

from datasets import dataset_factory, dataset_folder, dataset_info, shard_files


@pytest.fixture
def source(tmp_path):
    return draw_pets(tmp_path / "photos")


def test_output_that_cannot_be_written(source, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="Cannot write into .*--dataset_dir"):
        convert(source, dataset_dir=tmp_path / "file" / "data")


def test_overwriting(source, tmp_path):
    first = convert(source, dataset_name="pets", shards=3)
    with pytest.raises(ValueError, match="already holds .*--overwrite"):
        convert(source, dataset_name="pets")
    with pytest.raises(ValueError, match="already holds the dataset 'pets'"):
        convert(source, dataset_name="others", overwrite=True)
    assert len(read(tmp_path / "data")) == 16
    (tmp_path / "data" / "notes.txt").write_text("keep")
    second = convert(source, dataset_name="pets", shards=1, seed=5, overwrite=True)
    assert second.fingerprint != first.fingerprint
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == [
        "dataset_info.json",
        "labels.txt",
        "notes.txt",
        f"pets_train_00000-of-00001.{second.fingerprint[:8]}.tfrecord",
        f"pets_validation_00000-of-00001.{second.fingerprint[:8]}.tfrecord",
    ]
    third = convert(source, dataset_name="pets", shards=1, seed=5, overwrite=True)
    assert third == second
    assert len(read(tmp_path / "data")) == 16


class Killed(BaseException):
    """Ends a conversion as a signal would."""


@pytest.mark.parametrize("after", range(7))
def test_killed_while_overwriting_a_whole_dataset_is_left(
    source, tmp_path, monkeypatch, after
):
    data = tmp_path / "data"
    first = convert(source, shards=2)
    (source / "cat").rename(source / "fox")
    calls = []

    def interrupt(call):
        def call_until(*paths):
            if str(data) in str(paths[-1]) and ".partial" not in str(paths[-1]):
                calls.append(paths)
                if len(calls) > after:
                    raise Killed
            return call(*paths)

        return call_until

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", interrupt(os.replace))
        patch.setattr(os, "remove", interrupt(os.remove))
        with pytest.raises(Killed):
            convert(source, shards=2, overwrite=True)
    # Four shards are added and labels.txt is removed; then the old one is replaced.
    names = ("cat", "dog") if after < 6 else ("dog", "fox")
    for split in first.splits:
        dataset = dataset_factory.get_dataset("image_folder", split, str(data))
        assert tuple(dataset.labels_to_names.values()) == names
        files = [os.path.basename(path) for path in dataset.data_sources]
        texts = {r["image/class/text"] for name in files for r in read(data, name)}
        assert texts == {name.encode() for name in names}
    second = convert(source, shards=2, overwrite=True)
    shards = {shard.file for shards in second.splits.values() for shard in shards}
    assert shards == {path.name for path in data.glob("*.tfrecord")}


def test_files_of_others_are_not_overwritten(source, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "dataset_info.json").write_text('{"name": "theirs"}')
    with pytest.raises(ValueError, match="already holds"):
        convert(source, overwrite=True)


def test_failure_while_overwriting_keeps_the_old(source, tmp_path):
    first = convert(source)
    (source / "cat" / "bad.png").write_bytes(b"?")
    with pytest.raises(ValueError, match=r"bad\.png"):
        convert(source, overwrite=True, skip_bad_images=False)
    assert len(read(tmp_path / "data")) == 16
    info = shard_files.read_info(str(tmp_path / "data"))
    assert info == first


def test_interrupted_while_moving_into_place(source, tmp_path):
    info = convert(source)
    data = tmp_path / "data"
    (data / ".images.partial").mkdir()
    for name in dataset_info.FILE_NAME, info.splits["train"][-1].file:
        (data / name).rename(data / ".images.partial" / name)
    with pytest.raises(OSError, match="image_folder reads"):
        dataset_factory.get_dataset("image_folder", "train", str(data))
    assert convert(source).fingerprint == info.fingerprint
    assert not list(data.glob(".*"))
    assert len(read(data)) == 16


def test_leftovers_of_killed_conversions_are_removed(source, tmp_path):
    for name in ".images.partial", ".pets.partial":
        (tmp_path / "data" / name / "x").mkdir(parents=True)
    convert(source)
    assert not list((tmp_path / "data").glob(".*"))


def test_one_process_at_a_time_converts_into_a_folder(source, tmp_path):
    data = str(tmp_path / "data")
    with dataset_folder.stage(data, "pets") as staging:
        for name in "images", "pets":
            with pytest.raises(ValueError, match="Another process is converting"):
                convert(source, dataset_name=name)
        assert os.path.isdir(staging)
    convert(source)


def test_everything_is_on_the_disk_before_it_is_listed(source, tmp_path, monkeypatch):
    """At every step, what a power cut would leave is one of the two datasets."""
    data = tmp_path / "data"
    convert(source, shards=1)
    (source / "cat").rename(source / "fox")
    steps, unsynced = [], set()
    sync, replace, remove = dataset_folder.sync, os.replace, os.remove

    def note_sync(path):
        steps.append(("sync", os.path.basename(path)))
        sync(path)

    def note_replace(old, new):
        steps.append(("replace", os.path.basename(new)))
        replace(old, new)

    def note_remove(path):
        steps.append(("remove", os.path.basename(path)))
        remove(path)

    monkeypatch.setattr(dataset_folder, "sync", note_sync)
    monkeypatch.setattr(os, "replace", note_replace)
    monkeypatch.setattr(os, "remove", note_remove)
    convert(source, shards=1, overwrite=True)
    for step, name in steps:
        if step == "sync" and name == "data":
            unsynced.clear()
            continue
        if step == "replace":
            assert ("sync", name) in steps[: steps.index((step, name))]
            if name in (dataset_info.FILE_NAME, "labels.txt"):
                assert not unsynced, (name, unsynced)
        if step != "sync":
            unsynced.add(name)
    assert len([name for step, name in steps if step == "replace"]) == 4
    assert data.exists()


@contextlib.contextmanager
def largest_file(size):
    """Lets no file grow beyond a size, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    ("size", "name"),
    [
        (400, "images_(train|validation)_0000.-of-00004.tfrecord"),
        (700, "images_(train|validation)_0000.-of-00004.tfrecord"),
        (1400, "dataset_info.json"),
    ],
)
def test_a_full_disk_leaves_the_old_dataset(source, tmp_path, size, name):
    data = tmp_path / "data"
    first = convert(source)
    (source / "cat").rename(source / "fox")
    before = sorted(data.iterdir())
    match = rf"^Cannot write '{data}/{name}' \(File too large\): free space on the disk"
    with largest_file(size), pytest.raises(OSError, match=match) as caught:
        convert(source, overwrite=True)
    assert "\n" not in str(caught.value)
    assert sorted(data.iterdir()) == before
    assert shard_files.read_info(str(data)) == first
    assert len(read(data)) == 16
