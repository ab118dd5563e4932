"""Batch sizes and precisions of predictions."""

import functools
import threading

import numpy as np
import pytest
import tiny_models

from deployment import formats, precision
from deployment.config_flags import SettingError
from deployment.predict import predictor, running
from tf_slim_compat import as_written, tf

COUNT = 600


class Pair(predictor.Predictor):
    """Returns two probabilities; reopened, they are changed, and computed sooner."""

    precisions = ("float32", "bfloat16")

    def __init__(self, clock, change=0.0, secs=0.5):
        self.clock, self.change, self.secs = clock, change, secs
        self.name, self.is_open = "float32", True

    def reopen(self, name):
        self.other = Pair(self.clock)
        self.other.name, self.other.reopened = name, self
        return self.other

    def close(self):
        self.is_open = False

    def _score(self, inputs):
        own = getattr(self, "reopened", None)
        self.clock[0] += own.secs if own else 1.0
        first = 0.75 + (own.change if own else 0.0)
        return np.tile([first, 1 - first], [len(inputs), 1])


def run(opened, monkeypatch, precision="auto", count=COUNT):
    """Returns the probability of the first class of each image."""
    monkeypatch.setattr(running.time, "perf_counter", lambda: opened.clock[0])

    def build_batches():
        return tf.data.Dataset.range(count).map(lambda i: (i, i)).batch(32)

    results = list(running.predict_all(opened, build_batches, count, precision))
    assert [index for index, _ in results] == list(range(count))
    return {round(float(scores[0]), 6) for _, scores in results}


@pytest.mark.parametrize(
    ("change", "secs", "count", "said", "taken"),
    [
        (0.01, 0.5, COUNT, "bfloat16 is 2.00 times as fast", True),
        (0.06, 0.5, COUNT, "differ by up to 0.0600 (permitted: 0.05)", False),
        (0.01, 1.0, COUNT, "is 1.00 times as fast as float32 (needed: 1.05)", False),
        (float("nan"), 0.5, COUNT, "differ by up to inf", False),
        (0.01, 0.5, 100, "", False),  # Too few for a trial.
    ],
)
def test_auto_measures_and_compares(
    change, secs, count, said, taken, monkeypatch, caplog
):
    opened = Pair([0.0], change, secs)
    with caplog.at_level("INFO"):
        found = run(opened, monkeypatch, count=count)
    # All images are computed in one precision, those of the trial as well.
    assert found == {0.75 + change if taken else 0.75}
    assert said in caplog.text and bool(said) == bool(caplog.text)
    assert opened.is_open and (not said or not opened.other.is_open)


def test_a_precision_is_given(monkeypatch):
    opened = Pair([0.0], 0.2)
    assert run(opened, monkeypatch, "bfloat16", 5) == {0.95}
    assert run(opened, monkeypatch, "float32", COUNT) == {0.75}
    opened.precisions = ("float32",)
    assert run(opened, monkeypatch, "auto", COUNT) == {0.75}
    with pytest.raises(SettingError, match="is bfloat16, but .* computes in float32"):
        run(opened, monkeypatch, "bfloat16")


def test_no_image_can_be_read():
    dataset = tf.data.Dataset
    batches = functools.partial(running.predict_all, Pair([0.0]), num_images=COUNT)
    assert not list(batches(lambda: dataset.range(0).map(lambda i: (i, i)).batch(2)))


def test_other_tasks_agree_by_their_own_measure():
    scores = np.array([[1.0], [2.0]], np.float32)
    state = {"mean": [0.0], "scale": [10.0]}
    spec = tiny_models.make_spec(1, task="regression", task_state=state)
    found = running.find_difference(scores + 1, scores, spec)
    assert found == pytest.approx(0.1)
    spec = tiny_models.make_spec(1, task="multilabel")
    assert running.find_difference(scores + 1, scores, spec) == pytest.approx(1)


def test_a_graph_is_computed_in_the_precision(tmp_path, monkeypatch):
    both = ("float32", "bfloat16")
    monkeypatch.setattr(precision, "list_candidates", lambda: both)
    seen = []
    monkeypatch.setattr(precision, "configure", lambda _, name: seen.append(name))
    path = tiny_models.write_frozen(tmp_path / "tiny.pb")
    with formats.open_predictor(path) as opened, opened.reopen("bfloat16") as other:
        tiny_models.check(opened)
        tiny_models.check(other)
    assert seen == ["float32", "bfloat16"]


@pytest.mark.parametrize(
    ("num_images", "size", "fixed", "expected"),
    [
        (1, 224, None, 1),
        (10, 224, None, 3),
        (1000, 224, None, 32),
        (1000, None, None, 32),
        (1000, 640, None, 8),
        (1000, 5000, None, 1),
        (1000, 224, 1, 32),
        (10, 224, 16, 16),
    ],
)
def test_batch_sizes(num_images, size, fixed, expected):
    opened = predictor.Predictor()
    opened.image_size, opened.batch_size = (size, size), fixed
    assert running.choose_batch_size(num_images, opened) == expected


def test_the_next_batch_is_read_while_one_is_computed():
    read = threading.Event()

    class Waiting(predictor.Predictor):
        def _score(self, inputs):
            assert read.wait(60), "The next batch was not read meanwhile."
            return np.tile([0.5, 0.5], [len(inputs), 1])

    def note(index):
        if index >= 2:
            read.set()
        return index

    @as_written
    def prepare(index):
        index = tf.numpy_function(note, [index], tf.int64)
        return tf.reshape(index, []), tf.reshape(index, [])

    def build_batches():
        return tf.data.Dataset.range(4).map(prepare).batch(2).prefetch(2)

    assert len(list(running.predict_all(Waiting(), build_batches, 4))) == 4
