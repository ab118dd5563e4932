"""The stream of training images: resuming it anywhere, and balancing classes."""

import collections
import os

import numpy as np
import pipeline_runs
import pytest
from pipeline_runs import SMOOTH, encode, get, list_indices, run

from datasets import dataset_utils, input_pipeline, shard_files, shuffled_stream
from preprocessing import augmentations, preprocessing_factory
from tf_slim_compat import slim, tf

NUM_IMAGES = 23
_FIRST = ["letterbox", "random_resized_crop"]
EVERY_AUGMENTATION = "|".join(
    _FIRST + [name for name in augmentations.list_names() if name not in _FIRST]
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return pipeline_runs.write_shards(tmp_path_factory.mktemp("data"), NUM_IMAGES, 5)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Ten noise images in three shards, JPEG and PNG."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.RandomState(0)
    for shard, num_images in enumerate((4, 1, 5)):
        pipeline_runs.write_records(
            folder / f"satellite_train_{shard}.tfrecord",
            [
                encode(rng.randint(0, 256, (40, 50, 3)), ("JPEG", "PNG")[i % 2])
                for i in range(num_images)
            ],
            range(num_images),
        )
    return folder


@pytest.fixture
def small_groups(monkeypatch):
    """Treats the dataset as a large one: groups of two shards, and a small buffer."""
    monkeypatch.setattr(shuffled_stream, "SHUFFLE_BYTES", 1200)
    monkeypatch.setattr(shuffled_stream, "GROUP_BYTES", 800)
    monkeypatch.setattr(shuffled_stream, "MIXED_SHARDS", 2)


def read_indices(folder, num_images, **options):
    """Returns the indices of the images in order."""
    results = run(get(folder), num_images, batch_size=1, **{"seed": 3, **options})
    return list_indices(results)


def check_epochs(folder):
    """Checks three epochs, and that resuming continues them; returns them."""
    num_images = 3 * NUM_IMAGES
    whole = read_indices(folder, num_images)
    epochs = [
        tuple(whole[start : start + NUM_IMAGES])
        for start in range(0, num_images, NUM_IMAGES)
    ]
    for epoch in epochs:
        assert sorted(epoch) == list(range(NUM_IMAGES))
    assert len(set(epochs)) == 3
    for start in (1, 22, 23, 40, 46):
        resumed = read_indices(folder, num_images - start, start_image=start)
        assert resumed == whole[start:], start
    return whole


def test_the_order_can_be_resumed(folder):
    whole = check_epochs(folder)
    assert read_indices(folder, 30, seed=4) != whole[:30]


@pytest.mark.parametrize("is_large", [False, True])
def test_processes_share_the_stream(folder, is_large, request, monkeypatch):
    if is_large:
        request.getfixturevalue("small_groups")
    whole = read_indices(folder, 60, start_image=7)
    located = []
    locate = shard_files.locate_records
    monkeypatch.setattr(
        shard_files, "locate_records", lambda path: located.append(path) or locate(path)
    )
    for count in (2, 3):
        for index in range(count):
            part = read_indices(
                folder, 60 // count, start_image=7, part=(index, count), num_readers=3
            )
            assert part == whole[index::count]
    assert bool(located) == is_large


def test_processes_share_a_split_in_evaluation(folder):
    whole = list_indices(run(get(folder), is_training=False))
    for index in range(3):
        part = run(get(folder), is_training=False, part=(index, 3), most_images=20)
        assert list_indices(part) == whole[:20][index::3]


def test_the_order_of_a_large_dataset_can_be_resumed(folder, small_groups):
    dataset = get(folder)
    files = dataset.data_sources
    sizes = [os.path.getsize(path) for path in files]
    assert sum(sizes) > shuffled_stream.SHUFFLE_BYTES
    assert shuffled_stream._fit_group(files) == 2
    assert 2 < shuffled_stream.fit_buffer(files, NUM_IMAGES) < 10
    check_epochs(folder)


@pytest.mark.parametrize("name", ["small", "large"])
def test_the_order_depends_on_seed_and_data_alone(folder, name, request):
    if name == "large":
        request.getfixturevalue("small_groups")
    expected = read_indices(folder, 40)
    for options in (
        {"num_preprocessing_threads": 1},
        {"num_readers": 1},
        {"num_readers": 50, "num_preprocessing_threads": 9},
    ):
        assert read_indices(folder, 40, **options) == expected
    results = run(get(folder), 5, batch_size=8, seed=3)
    assert list_indices(results) == expected


def test_the_seed_of_the_graph_does_not_matter(folder, small_groups):
    expected = read_indices(folder, 30)
    with tf.Graph().as_default(), tf.Session() as session:
        tf.set_random_seed(99)
        batches = input_pipeline.build_batches(
            get(folder), pipeline_runs.first_pixel, 2, 2, 30, is_training=True, seed=3
        )
        iterator = tf.data.make_initializable_iterator(batches)
        session.run(iterator.initializer)
        results = [session.run(iterator.get_next())]
    assert list_indices(results) == expected


def test_the_order_for_a_seed_stays_from_version_to_version(folder, small_groups):
    """Runs that began with another version continue in their own order."""
    assert read_indices(folder, NUM_IMAGES) == [
        1,
        21,
        20,
        5,
        6,
        0,
        16,
        15,
        11,
        10,
        12,
        2,
        22,
        14,
        4,
        19,
        7,
        17,
        9,
        3,
        13,
        8,
        18,
    ]


@pytest.mark.parametrize(
    ("seed", "is_training", "in_order"),
    [(None, True, b"false"), (1, True, b"true"), (None, False, b"true")],
)
def test_images_may_overtake_each_other_only_in_training_without_a_seed(
    folder, graph, seed, is_training, in_order
):
    input_pipeline.build_batches(
        get(folder),
        pipeline_runs.first_pixel,
        *(2, 2, 2),
        is_training=is_training,
        seed=seed,
    )
    (decoding,) = (
        op for op in graph.get_operations() if op.type == "ParallelMapDatasetV2"
    )
    assert decoding.get_attr("deterministic") == in_order


def test_groups_of_shards_are_left_out_unread(folder, small_groups, monkeypatch):
    read = shuffled_stream._Stream._read
    groups = []

    def note(files):
        groups.append([os.fsdecode(path) for path in files])
        return files

    def read_and_note(self, files):
        return read(self, tf.numpy_function(note, [files], tf.string))

    whole = read_indices(folder, NUM_IMAGES)
    monkeypatch.setattr(shuffled_stream._Stream, "_read", read_and_note)
    # Two groups of two shards hold 20 images at most, the third group is one shard.
    assert read_indices(folder, 1, start_image=20) == whole[20:21]
    assert groups[0] == [get(folder).data_sources[whole[-1] % 5]]


@pytest.mark.parametrize(
    ("family", "augment"),
    [
        ("inception", None),
        ("vgg", "rot90|brightness(0.1)"),
        ("cifarnet", None),
        ("inception", EVERY_AUGMENTATION),
    ],
)
def test_every_pixel_can_be_resumed(photos, family, augment):
    fn = preprocessing_factory.get_preprocessing(
        family, is_training=True, augment=augment
    )

    def read(num_batches, batch_size, **options):
        results = run(
            get(photos),
            num_batches,
            preprocessing_fn=fn,
            size=24,
            batch_size=batch_size,
            **options,
        )
        images, labels = (np.concatenate(part) for part in zip(*results, strict=True))
        return images, labels

    images, labels = read(24, 1, seed=3, num_preprocessing_threads=1)
    # The second epoch has the same ten images, distorted differently; two may be moved
    # out of sight, which leaves plain gray.
    assert len({image.tobytes() for image in images}) >= 23
    for start, batch_size in ((3, 7), (17, 7)):
        resumed, resumed_labels = read(
            (24 - start) // batch_size,
            batch_size,
            seed=3,
            start_image=start,
            num_preprocessing_threads=4,
        )
        expected = slice(start, start + len(resumed))
        np.testing.assert_array_equal(resumed, images[expected])
        np.testing.assert_array_equal(resumed_labels, labels[expected])
    others, _ = read(4, 5, seed=4)
    assert not {image.tobytes() for image in images} & {o.tobytes() for o in others}


def test_without_a_seed_each_run_differs(photos):
    fn = preprocessing_factory.get_preprocessing("vgg", is_training=True)
    first, second = (
        np.concatenate(
            [images for images, _ in run(get(photos), 5, fn, 24, batch_size=2)]
        )
        for _ in range(2)
    )
    assert not {image.tobytes() for image in first} & {i.tobytes() for i in second}


class Seeds:
    """A custom preprocessing that returns its seed."""

    def __init__(self, seed=None):
        self.seed = seed

    def with_seed(self, seed):
        return Seeds(seed)

    def __call__(self, image, height, width):
        return tf.cast(tf.reshape(tf.tile(self.seed, [2]), [2, 2, 1]), tf.float32)


def test_preprocessing_of_ones_own_gets_seed_and_index(folder):
    results = run(get(folder), 24, Seeds(), batch_size=1, seed=3)
    seeds = np.concatenate([images[:, 0, :, 0] for images, _ in results])
    assert (seeds[:, 0] == 3).all()
    assert seeds[:23, 1].tolist() == list(range(23))
    assert len(set(seeds[:, 1])) == 24


def test_what_start_image_must_be(folder):
    with pytest.raises(ValueError, match="start_image=-1 must be at least 0"):
        read_indices(folder, 1, start_image=-1)


def test_wrong_num_samples_spoil_nothing(folder):
    # Hand-written modules may state more or fewer.
    for num_samples in (3, 500):
        dataset = get(folder)
        dataset.num_samples = num_samples
        whole = list_indices(run(dataset, 50, batch_size=1, seed=3))
        assert sorted(whole[:NUM_IMAGES]) == list(range(NUM_IMAGES))
        resumed = list_indices(run(dataset, 20, batch_size=1, seed=3, start_image=30))
        assert resumed == whole[30:]


# Twelve images of class 0, three of class 1, none of class 2, five of class 3.
LABELS = [0] * 6 + [3] * 5 + [1] * 3 + [0] * 6
COUNTS = [12, 3, 0, 5, 0, 0]


@pytest.fixture(scope="module")
def uneven(tmp_path_factory):
    return pipeline_runs.write_shards(
        tmp_path_factory.mktemp("uneven"), 20, 3, LABELS.__getitem__
    )


@pytest.mark.parametrize("name", ["small", "large"])
def test_balanced_classes(uneven, name, request):
    if name == "large":
        request.getfixturevalue("small_groups")
    whole = read_indices(uneven, 200, class_counts=COUNTS)
    seen = collections.Counter()
    for start in range(0, 200, 20):
        epoch = whole[start : start + 20]
        counts = np.bincount([LABELS[index] for index in epoch], minlength=6)
        assert counts.tolist() == [7, 7, 0, 6, 0, 0]
        times = collections.Counter(epoch)
        for index, label in enumerate(LABELS):
            rate = counts[label] / COUNTS[label]
            assert int(rate) <= times[index] <= int(rate) + 1
        seen.update(times)
    for index, label in enumerate(LABELS):
        expected = [70, 70, 0, 60][label] / COUNTS[label]
        assert abs(seen[index] - expected) < 5
    for start in (7, 20, 33):
        resumed = read_indices(
            uneven, 50, class_counts=COUNTS, start_image=start, num_readers=1
        )
        assert resumed == whole[start : start + 50]


def test_copies_of_an_image_are_distorted_differently(photos):
    fn = preprocessing_factory.get_preprocessing("vgg", is_training=True)
    counts = [3, 2, 2, 2, 1, 0]
    results = run(get(photos), 10, fn, 24, batch_size=1, seed=3, class_counts=counts)
    assert len({images.tobytes() for images, _ in results}) == 10


@pytest.mark.parametrize(
    ("counts", "error"),
    [
        ([12, 3, 0, 4, 0, 0], ValueError),
        ([11, 4, 0, 5, 0, 0], tf.errors.InvalidArgumentError),
        ([12, 8], tf.errors.InvalidArgumentError),
    ],
)
def test_counts_of_other_images_are_rejected(uneven, counts, error):
    with pytest.raises(error, match="count (these|them) with dataset_utils"):
        read_indices(uneven, 40, class_counts=counts)


def test_hand_written_modules(tmp_path):
    records = [
        {"image/encoded": encode(np.full_like(SMOOTH, i)), "labels": label}
        for i, label in enumerate([5, 5, 5, 1])
    ]
    pipeline_runs.write_by_hand(tmp_path, records)
    dataset = pipeline_runs.get_by_hand(
        tmp_path, label=slim.tfexample_decoder.Tensor("labels")
    )
    counts = dataset_utils.count_labels(dataset)
    assert counts.tolist() == [0, 1, 0, 0, 0, 3]
    options = {"batch_size": 1, "seed": 1, "class_counts": counts}
    whole = run(dataset, 8, **options)
    assert [label for _, (label,) in whole].count(1) == 4
    resumed = run(dataset, 5, start_image=3, **options)
    assert list_indices(resumed) == list_indices(whole)[3:]
