"""Features on disk: what is found again, and what is written again."""

import collections
import os

import numpy as np
import pytest

from deployment.config_flags import SettingError
from deployment.train import feature_store
from deployment.train.feature_store import FeatureStore

FEATURES = np.arange(30, dtype=np.float32).reshape(10, 3)
LABELS = np.arange(20).reshape(10, 2)
ROW_BYTES = 3 * 4 + 2 * 8


def open_store(folder):
    return FeatureStore(str(folder), 10, 4, 3, "int64", (2,))


def fill(store, begin=0, end=10):
    for first in range(begin, end, store.rows_per_chunk):
        rows = slice(first, min(first + store.rows_per_chunk, end))
        store.append(FEATURES[rows], LABELS[rows])


def cut(folder, size):
    os.truncate(folder / "features.bin", size)


def change(folder, place):
    with open(folder / "features.bin", "r+b") as file:
        file.seek(place)
        file.write(b"\xff")


def forget_half_a_line(folder):
    path = folder / "digests.txt"
    path.write_text(path.read_text()[:-20])


@pytest.mark.parametrize(
    ("damage", "num_whole"),
    [
        (lambda folder: None, 10),
        (lambda folder: cut(folder, 10 * ROW_BYTES - 1), 8),
        (lambda folder: cut(folder, 0), 0),
        (lambda folder: os.remove(folder / "features.bin"), 0),
        (lambda folder: os.remove(folder / "digests.txt"), 0),
        (lambda folder: change(folder, 5 * ROW_BYTES), 4),
        (lambda folder: change(folder, 0), 0),
        (forget_half_a_line, 8),
    ],
)
def test_what_is_damaged_is_dropped_and_written_again(tmp_path, damage, num_whole):
    with open_store(tmp_path / "store").held():
        fill(open_store(tmp_path / "store"))
    damage(tmp_path / "store")
    store = open_store(tmp_path / "store")
    assert store.recover() == num_whole
    fill(store, num_whole)
    assert store.recover() == 10
    features, labels = store.open()
    np.testing.assert_array_equal(features, FEATURES)
    np.testing.assert_array_equal(labels, LABELS)


def test_rows_that_a_kill_cut_short_are_dropped(tmp_path):
    store = open_store(tmp_path)
    fill(store, 0, 4)
    with open(tmp_path / "features.bin", "ab") as file:
        file.write(b"the next chunk, which was being written")
    assert store.recover() == 4
    assert os.path.getsize(tmp_path / "features.bin") == 4 * ROW_BYTES


def test_a_disk_that_is_too_small_is_refused_before_anything_is_computed(
    tmp_path, monkeypatch
):
    usage = collections.namedtuple("usage", ["free"])
    store = open_store(tmp_path)
    assert store.num_bytes == 10 * ROW_BYTES
    monkeypatch.setattr(
        feature_store.shutil, "disk_usage", lambda _: usage(6 * ROW_BYTES)
    )
    store.check_space(num_written=4)
    with pytest.raises(SettingError, match="features take 196 bytes.*has 168 bytes"):
        store.check_space(num_written=3)
