"""Runs that train on small images first."""

import logging
import signal

import numpy as np
import pytest
import toy_training
from toy_training import make_config, make_spec, read_all

from deployment.config_flags import SettingError
from deployment.durations import Duration
from deployment.models.run_card import RunCard
from deployment.optimize.learning_rates import Schedule
from deployment.train import phases, time_budget
from tf_slim_compat import slim, tf

CARD = RunCard(
    model_name="toy", num_classes=3, image_size=8, preprocessing_name="lenet"
)


def build_batches(seed, start_image, image_height=8, image_width=8):
    def shrink(images, labels):
        return images[:, :: 8 // image_height, :: 8 // image_width], labels

    return toy_training.build_batches(seed, start_image).map(shrink)


class Network:
    """A network for images of any size.

    It notes the sizes that it was built for, and the size at each step.

    Args:
      stop_at: a step at which the process gets a signal.
    """

    def __init__(self, stop_at=None):
        self.built = set()
        self.sizes = {}
        self._stop_at = stop_at

    def __call__(self, images):
        size = int(images.shape[1])
        self.built.add(size)

        def note(step):
            self.sizes[int(step)] = size
            if step == self._stop_at:
                signal.raise_signal(signal.SIGTERM)
            return step

        net = slim.conv2d(images, 8, 3, normalizer_fn=slim.batch_norm, scope="Net/Conv")
        step = tf.train.get_global_step().read_value() + 1
        with tf.control_dependencies([tf.py_func(note, [step], tf.int64)]):
            net = tf.reduce_mean(net, [1, 2])
        logits = slim.fully_connected(net, 3, activation_fn=None, scope="Net/Logits")
        return logits, {"Logits": logits}


def train(folder, network, sizes=(2, 4), steps=8, **options):
    options.setdefault("schedule", Schedule("cosine", 0.01))
    config = make_config(
        folder,
        steps=steps,
        spec=make_spec(image_size=8),
        progressive_sizes=sizes,
        seed=3,
        **options,
    )
    return phases.train(config, network, build_batches, card=CARD)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that was never interrupted, and the sizes of its images."""
    folder, network = tmp_path_factory.mktemp("whole"), Network()
    assert train(folder, network).is_complete
    return folder, network.sizes


def test_equal_parts_train_on_each_size(whole):
    _, sizes = whole
    assert sizes == {1: 2, 2: 2, 3: 2, 4: 4, 5: 4, 6: 8, 7: 8, 8: 8}


@pytest.mark.parametrize(
    ("stop", "left"), [(2, {2, 4, 8}), (3, {4, 8}), (4, {4, 8}), (7, {8})]
)
def test_it_resumes_exactly_in_any_part(tmp_path, whole, stop, left):
    first, second = Network(stop_at=stop), Network()
    assert not train(tmp_path, first).is_complete
    assert train(tmp_path, second).step == 8
    assert {**first.sizes, **second.sizes} == whole[1]
    assert (min(second.sizes), second.built) == (stop + 1, left)
    expected, found = read_all(whole[0]), read_all(tmp_path)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(value, found[name], name)


def test_a_complete_run_has_nothing_to_do(tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="absl")
    train(tmp_path, Network())
    network = Network()
    assert train(tmp_path, network).step == 8 and not network.sizes
    assert "nothing to do for --max_number_of_steps=8" in caplog.text


class Steps(time_budget.Clock):
    """A clock by which a step takes a second; the graph asks it once per step."""

    secs = 0

    @property
    def used_secs(self):
        return self._earlier + self.secs

    def record(self):
        self._recorded = -np.inf
        super().record()


def test_parts_of_a_time_budget_end_with_the_clock(tmp_path, monkeypatch):
    monkeypatch.setattr(time_budget, "Clock", Steps)

    class Ticking(Network):
        def __call__(self, images):
            def tick(images):
                Steps.secs += 1
                return images

            ticking = tf.py_func(tick, [images], tf.float32)
            ticking.set_shape(images.shape)
            return super().__call__(ticking)

    options = {"steps": None, "time_budget": Duration(20, "secs"), "sizes": (4,)}
    network = Ticking(stop_at=12)
    monkeypatch.setattr(Steps, "secs", 0)
    result = train(tmp_path, network, **options)
    assert (result.step, result.stopped_because) == (12, "SIGTERM was received")
    assert [network.sizes[step] for step in (1, 8, 9, 10, 11, 12)] == [4, 4, 4, 8, 8, 8]
    monkeypatch.setattr(Steps, "secs", 0)  # Of the new process.
    network = Ticking()
    result = train(tmp_path, network, **options)
    assert result.step == 18 and result.is_complete  # Two are kept for the ending.
    assert network.sizes == dict.fromkeys(range(13, 19), 8)
    assert network.built == {8}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sizes": (4, 2)}, "progressive_sizes=4,2 must increase .* stay below .* 8"),
        ({"sizes": (8,)}, "must increase .* stay below the image size, 8"),
        ({"sizes": (0, 4)}, "must increase from 1"),
        ({"steps": 2}, "trains 3 equal parts of the run, but it has 2 steps: set"),
        (
            {"steps": None, "schedule": Schedule("fixed", 0.1)},
            "but it has no last step",
        ),
        (
            {"head_first": Duration(2), "checkpoint_exclude_scopes": "Net"},
            "progressive_sizes=2,4 and head_first cannot be combined",
        ),
    ],
)
def test_what_contradicts_itself_is_refused(tmp_path, options, message):
    with pytest.raises(SettingError, match=message):
        train(tmp_path, Network(), **options)
    assert not list(tmp_path.iterdir())
