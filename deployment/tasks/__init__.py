"""Tasks: what a network's outputs mean, are trained on and are judged by.

    task = tasks.get_task("classification")

A task is one file here and one row in `_MODULES`; a task of your own is registered
with `tasks.register(MyTask())` in a user module.
"""

import importlib
from collections.abc import Sequence

from deployment import text
from deployment.tasks.base import Task

# Task name to its module, which has a `TASK`.
_MODULES = {
    "classification": "classification",
    "multilabel": "multilabel",
    "regression": "regression",
}
_tasks: dict[str, Task] = {}


def list_tasks() -> list[str]:
    """Returns the names of all tasks, registered ones included."""
    return sorted({*_MODULES, *_tasks})


def get_task(name: str) -> Task:
    """Returns a task by name, importing its module if need be.

    Raises:
      ValueError: if there is none; the message gives the nearest names.
    """
    if name not in _tasks and name in _MODULES:
        module = importlib.import_module(f"deployment.tasks.{_MODULES[name]}")
        _tasks[name] = module.TASK
    if name not in _tasks:
        raise ValueError(text.unknown("task", name, list_tasks()))
    return _tasks[name]


def split_flag(values: Sequence[str]) -> tuple[str | None, int]:
    """Returns the name of the task, or None, and the index of the worker in --task.

    Raises:
      ValueError: if there are several of one kind, or the task is unknown.
    """
    names = [value for value in values if not value.isdecimal()]
    indices = [int(value) for value in values if value.isdecimal()]
    if len(names) > 1 or len(indices) > 1:
        raise ValueError(
            f"--task is given as {', '.join(values)}: give one task "
            f"({', '.join(list_tasks())}) and one worker index at most."
        )
    for name in names:
        get_task(name)  # Raises ValueError if there is none.
    return names[0] if names else None, indices[0] if indices else 0


def register(task: Task) -> None:
    """Adds a task of your own for this process.

    Raises:
      ValueError: if the name is taken.
    """
    if task.name in _tasks or task.name in _MODULES:
        raise ValueError(f"There is a task {task.name!r} already: choose another name.")
    _tasks[task.name] = task
