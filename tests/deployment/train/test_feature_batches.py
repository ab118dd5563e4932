"""The order in which cached features are trained on."""

import itertools

import numpy as np

from deployment.train import feature_batches
from tf_slim_compat import tf

IMAGES, COPIES = 10, 3
LABELS = np.arange(IMAGES * COPIES)
FEATURES = np.stack([LABELS, -LABELS], 1).astype(np.float32)


def take(build, count):
    """Returns the first batches, as lists of labels; checks that features fit them."""
    with tf.Graph().as_default(), tf.Session() as session:
        iterator = tf.data.make_initializable_iterator(build())
        batch = iterator.get_next()
        session.run(iterator.initializer)
        batches = [session.run(batch) for _ in range(count)]
    for features, labels in batches:
        np.testing.assert_array_equal(features, FEATURES[labels])
    return [labels.tolist() for _, labels in batches]


def stream(batch_size, seed, start_image=0):
    return lambda: feature_batches.build_stream(
        FEATURES,
        LABELS,
        IMAGES,
        batch_size=batch_size,
        seed=seed,
        start_image=start_image,
    )


def test_each_epoch_has_each_image_once_and_copies_take_turns():
    epochs = take(stream(IMAGES, seed=1), 4)
    for epoch, labels in enumerate(epochs):
        first = epoch % COPIES * IMAGES
        assert sorted(labels) == list(range(first, first + IMAGES))
        assert labels != sorted(labels)
    assert [label % IMAGES for label in epochs[0]] != [
        label % IMAGES for label in epochs[1]
    ]
    assert epochs[3] != epochs[0]  # The same copy, in another order.
    assert take(stream(IMAGES, seed=2), 1) != epochs[:1]


def test_the_stream_is_the_same_for_any_batch_size_and_start():
    whole = list(itertools.chain(*take(stream(IMAGES, seed=1), 7)))
    for batch_size, start in ((3, 0), (4, 7), (25, 12)):
        batches = take(stream(batch_size, 1, start), 2)
        assert list(itertools.chain(*batches)) == whole[start : start + 2 * batch_size]


def test_one_pass_keeps_the_order_and_ends_with_a_smaller_batch():
    batches = take(lambda: feature_batches.build_pass(FEATURES, LABELS, 13), 3)
    assert [len(batch) for batch in batches] == [13, 13, 4]
    assert list(itertools.chain(*batches)) == LABELS.tolist()
