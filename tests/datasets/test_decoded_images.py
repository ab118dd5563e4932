"""The cache of decoded images: the same batches, and a file that can be trusted."""

import contextlib
import gc
import logging
import os
import shutil

import numpy as np
import pipeline_runs
import pytest
from pipeline_runs import encode, get, run

from datasets import decoded_images, image_store, jpeg_crops, shard_files
from preprocessing import preprocessing_factory
from tf_slim_compat import tf

NUM_IMAGES = 10
SHAPE = (40, 50, 3)
PLENTY = 10**9


def write_photos(folder, seed=0):
    """Writes ten images in three shards, JPEG and PNG."""
    rng = np.random.RandomState(seed)
    for shard, num_images in enumerate((4, 1, 5)):
        pipeline_runs.write_records(
            folder / f"satellite_train_{shard}.tfrecord",
            [
                encode(rng.randint(0, 256, SHAPE), ("JPEG", "PNG")[i % 2])
                for i in range(num_images)
            ],
            range(num_images),
        )
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(autouse=True)
def cache_home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(decoded_images, "_MIN_AUTO_BYTES", 0)  # The images are small.
    return tmp_path / "cache"


@pytest.fixture
def decoded(monkeypatch):
    """Counts the images that are decoded into a cache, by their store's `add`."""
    counts = []
    for store in (image_store.MemoryStore, image_store.FileStore):
        add = store.add

        def count_and_add(self, key, image, add=add):
            counts.append(key)
            add(self, key, image)

        monkeypatch.setattr(store, "add", count_and_add)
    return counts


def read(folder, num_images, cache, name="inception", **options):
    """Returns the images and labels, one batch after another."""
    fn = preprocessing_factory.get_preprocessing(name, is_training=True)
    options = {"seed": 3, "free_memory": PLENTY, "batch_size": 1, **options}
    results = run(get(folder), num_images, fn, 24, cache=cache, **options)
    gc.collect()  # Closes the cache's file.
    images, labels = (np.concatenate(part) for part in zip(*results, strict=True))
    return images, labels


def assert_same(found, expected):
    for values, others in zip(found, expected, strict=True):
        np.testing.assert_array_equal(values, others)


def assert_decoded_once(decoded):
    """One image that is in progress twice, in two epochs, may be decoded twice."""
    assert len(set(decoded)) == NUM_IMAGES
    assert len(decoded) < 2 * NUM_IMAGES


@pytest.mark.parametrize("name", ["inception", "vgg", "cifarnet"])
def test_batches_have_the_same_bits(photos, decoded, name):
    whole = read(photos, 2 * NUM_IMAGES, "off", name)
    assert not decoded
    for cache in "ram", "auto", "disk":
        decoded.clear()
        assert_same(read(photos, 2 * NUM_IMAGES, cache, name), whole)
        assert_decoded_once(decoded)
    decoded.clear()
    for cache in "ram", "disk":
        for start in 4, 13:
            resumed = read(photos, 20 - start, cache, name, start_image=start)
            assert_same(resumed, [part[start:] for part in whole])
        if cache == "ram":
            assert decoded
            decoded.clear()
    assert not decoded


def test_balancing_and_skipping_use_the_cache(photos, decoded):
    options = {"class_counts": [3, 2, 2, 2, 1, 0], "skip_bad_records": True}
    whole = read(photos, 20, "off", **options)
    assert_same(read(photos, 20, "ram", **options), whole)
    assert_decoded_once(decoded)


def test_a_second_run_reads_the_file(photos, decoded):
    whole = read(photos, NUM_IMAGES, "disk")
    assert len(set(decoded)) == NUM_IMAGES
    decoded.clear()
    assert_same(read(photos, NUM_IMAGES, "disk"), whole)
    assert not decoded


def test_a_replaced_dataset_is_decoded_again(tmp_path, decoded, caplog):
    folder = tmp_path / "data"
    folder.mkdir()
    old = read(write_photos(folder), NUM_IMAGES, "disk")
    decoded.clear()
    write_photos(folder, seed=1)
    with caplog.at_level(logging.WARNING):
        new = read(folder, NUM_IMAGES, "disk")
    assert "the dataset or the decoder has changed" in caplog.text
    assert len(set(decoded)) == NUM_IMAGES
    assert_same(new, read(folder, NUM_IMAGES, "off"))
    assert not np.array_equal(new[0], old[0])


def cut(path):
    os.truncate(path, os.path.getsize(path) // 2)


@pytest.mark.parametrize(
    ("name", "message"),
    [("pixels.bin", "it was cut to"), ("index.npz", "its index cannot be read")],
)
def test_a_truncated_file_is_written_again(photos, decoded, caplog, name, message):
    whole = read(photos, NUM_IMAGES, "disk")
    folder = decoded_images.find_folder(get(photos).data_sources)
    cut(os.path.join(folder, name))
    decoded.clear()
    with caplog.at_level(logging.WARNING):
        assert_same(read(photos, NUM_IMAGES, "disk"), whole)
    assert message in caplog.text
    assert len(set(decoded)) == NUM_IMAGES
    caplog.clear()
    decoded.clear()
    assert_same(read(photos, NUM_IMAGES, "disk"), whole)
    assert not caplog.text
    assert not decoded


@contextlib.contextmanager
def opened(folder, fingerprint="a", max_bytes=PLENTY):
    store = image_store.FileStore(str(folder), fingerprint, max_bytes)
    try:
        yield store
    finally:
        store.close()


def test_what_an_interrupted_run_left_is_not_trusted(tmp_path):
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    with opened(tmp_path) as store:
        store.add(1, image)
        store.commit()
        store.add(2, image + 1)
        # As after a power cut: the pixels are there, the index does not name them.
        copy = shutil.copytree(tmp_path, tmp_path / "copy")
    with opened(copy) as store:
        assert np.array_equal(store.find(1), image)
        assert store.find(2) is None
        store.add(2, image + 2)
        assert np.array_equal(store.find(2), image + 2)
    with opened(copy) as store:
        assert np.array_equal(store.find(2), image + 2)
        assert os.path.getsize(copy / "pixels.bin") == store.num_bytes == 48


def test_a_second_process_only_reads(tmp_path):
    image = np.ones([2, 2, 3], np.uint8)
    with opened(tmp_path) as writer, opened(tmp_path) as reader:
        writer.add(1, image)
        reader.add(2, image)
        assert reader.find(2) is None
    with opened(tmp_path) as store:
        assert store.find(1) is not None
        assert store.find(2) is None


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_a_full_store_goes_on(tmp_path, kind, caplog):
    image = np.ones([2, 2, 3], np.uint8)
    store = (
        image_store.MemoryStore(30)
        if kind == "memory"
        else image_store.FileStore(str(tmp_path), "a", 30)
    )
    for key in range(4):
        store.add(key, image)
    assert [store.find(key) is not None for key in range(4)] == [
        True,
        True,
        False,
        False,
    ]
    assert caplog.text.count("is full") == 1


def test_what_is_found_may_be_changed():
    store = image_store.MemoryStore(99)
    store.add(1, np.ones([2, 2, 3], np.uint8))
    store.find(1)[...] = 7
    assert (store.find(1) == 1).all()


def test_too_little_memory(photos, caplog):
    caplog.set_level(logging.INFO)
    whole = read(photos, 12, "off")
    for free in 10_000, None:
        caplog.clear()
        assert_same(read(photos, 12, "auto", free_memory=free), whole)
        assert len([m for m in caplog.messages if "in every epoch" in m]) == 1
    with pytest.raises(ValueError, match="too little for --cache=ram"):
        read(photos, 1, "ram", free_memory=10_000)


def test_small_images_are_not_cached_by_default(photos, decoded, monkeypatch):
    least = int(np.prod(SHAPE))
    for least_bytes, is_cached in (least, True), (least + 1, False):
        monkeypatch.setattr(decoded_images, "_MIN_AUTO_BYTES", least_bytes)
        decoded.clear()
        read(photos, 4, "auto")
        assert bool(decoded) == is_cached


def test_too_little_disk(photos, monkeypatch):
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10_000))
    with pytest.raises(ValueError, match="too little for --cache=disk.*XDG_CACHE_HOME"):
        read(photos, 1, "disk")


def test_other_decoders_and_modes(photos):
    dataset = get(photos)

    class Decoder(type(dataset.decoder)):
        pass

    dataset.decoder.__class__ = Decoder
    files = shard_files.list_shards(dataset)
    assert decoded_images.open_cache(dataset, files, "auto", PLENTY) is None
    for mode in "ram", "disk":
        with pytest.raises(ValueError, match=f"--cache={mode} needs a dataset"):
            decoded_images.open_cache(dataset, files, mode, PLENTY)
    with pytest.raises(ValueError, match="--cache=tape must be one of"):
        decoded_images.open_cache(dataset, files, "tape")


def test_the_estimate_is_near(photos):
    dataset = get(photos)
    handler = decoded_images.find_image_handler(dataset.decoder)
    files = shard_files.list_shards(dataset)
    assert decoded_images.estimate_mean_bytes(files, handler) == np.prod(SHAPE)


def test_a_window_of_a_jpeg_is_that_of_the_whole(graph):
    """Without a cache only the window is decoded; no pixel may depend on that."""
    rng = np.random.RandomState(0)
    image = rng.randint(0, 256, [67, 83, 3]).astype(np.uint8)
    kinds = [
        {"subsampling": subsampling, "progressive": progressive}
        for subsampling in (0, 1, 2)
        for progressive in (False, True)
    ]
    encoded = tf.placeholder(tf.string, [])
    window = tf.placeholder(tf.int32, [4])
    pair = build_window_and_whole(encoded, window)
    with tf.Session() as session:
        for kind in kinds:
            data = pipeline_runs.encode(image, "JPEG", **kind)
            for _ in range(25):
                height, width = rng.randint(1, 67), rng.randint(1, 83)
                y, x = rng.randint(0, 68 - height), rng.randint(0, 84 - width)
                place = [y, x, height, width]
                found, whole = session.run(pair, {encoded: data, window: place})
                expected = whole[y : y + height, x : x + width]
                np.testing.assert_array_equal(found, expected, str((kind, place)))


def build_window_and_whole(encoded, window):
    found = jpeg_crops.decode_jpeg(encoded, lambda shape: window, channels=3)
    return found, tf.image.decode_jpeg(encoded, 3)
