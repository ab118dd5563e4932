"""The registry of tasks, and what holds for every task."""

import abc

import numpy as np
import pytest

from deployment import tasks
from deployment.models.spec import ModelSpec
from deployment.tasks import tables
from deployment.tasks.base import Predictions, Task


def test_unknown_tasks_are_errors_with_the_nearest_name():
    with pytest.raises(ValueError, match="'regresion'. Nearest: regression"):
        tasks.get_task("regresion")


def test_a_task_of_your_own(monkeypatch):
    monkeypatch.setattr(tasks, "_tasks", dict(tasks._tasks))
    methods = {name: None for name in Task.__abstractmethods__}
    own = abc.ABCMeta("Own", (Task,), {**methods, "name": "own"})()
    tasks.register(own)
    assert tasks.get_task("own") is own and "own" in tasks.list_tasks()
    with pytest.raises(ValueError, match="a task 'own' already"):
        tasks.register(own)
    own.__class__.name = "classification"
    with pytest.raises(ValueError, match="a task 'classification' already"):
        tasks.register(own)


@pytest.mark.parametrize("name", ["classification", "multilabel", "regression"])
def test_interface(name):
    task = tasks.get_task(name)
    assert task.name == name and task.summary
    assert task.get_metric(task.default_metric, 6).higher_is_better
    assert task.label_dtype == ("int64" if name == "classification" else "float32")
    state = {"mean": [0.0] * 3, "scale": [1.0] * 3, "thresholds": [0.5] * 3}
    spec = ModelSpec(task=name, model_name=None, num_outputs=3, task_state=state)
    logits = np.eye(3, dtype="f4")
    labels = np.arange(3) if name == "classification" else logits
    predictions = Predictions(0, labels, logits)
    report = task.report(predictions, spec, with_images=True)
    assert report.values == task.compute(predictions, spec)
    assert report.text.endswith("\n") and "class 2" in report.text
    columns, rows = task.list_predictions(predictions, spec)
    assert [len(row) for row in rows] == [len(columns)] * 3
    assert set(task.fit_state(predictions, spec)) == set(state)


def test_tables():
    assert tables.format_table(("name", "n"), [("a", "10"), ("bcdef", "9")]) == (
        "name    n\na      10\nbcdef   9"
    )
    assert tables.shorten("a" * 31) == "a" * 29 + "…"
    assert tables.shorten("a" * 30) == "a" * 30
    percents = [tables.format_percent(p) for p in (0.9995, 0.999, 0.001, 0.0005)]
    assert percents == ["> 99.9 %", "99.9 %", "0.1 %", "< 0.1 %"]
