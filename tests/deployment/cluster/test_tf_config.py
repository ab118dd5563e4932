"""TF_CONFIG: the place of a process in a cluster, and mistakes in it."""

import json

import pytest

from deployment.cluster import tf_config
from deployment.cluster.tf_config import Task

TWO = ("a:1", "b:2")


def read(cluster, job="worker", index=0):
    config = {"cluster": cluster, "task": {"type": job, "index": index}}
    return tf_config.read_task({"TF_CONFIG": json.dumps(config)})


@pytest.mark.parametrize(
    ("config", "task"),
    [
        (({"worker": TWO}, "worker", 1), Task("worker", 1, TWO, ())),
        (({"worker": TWO}, "worker", "1"), Task("worker", 1, TWO, ())),
        (({"chief": ["c:3"], "worker": TWO}, "chief"), ("worker", 0, ("c:3", *TWO))),
        (
            ({"chief": ["c:3"], "worker": TWO}, "worker", 1),
            ("worker", 2, ("c:3", *TWO)),
        ),
        (({"master": ["c:3"], "worker": TWO}, "master"), ("worker", 0, ("c:3", *TWO))),
        (({"worker": ["a:1"], "ps": ["p:9"]}, "ps"), Task("ps", 0, ("a:1",), ("p:9",))),
        (({"worker": TWO}, "evaluator"), Task("evaluator", 0, TWO, ())),
        (({"chief": ["c:3"]}, "evaluator"), Task("evaluator", 0, ("c:3",), ())),
        (({"worker": {"1": "b:2", "0": "a:1"}},), Task("worker", 0, TWO, ())),
        (
            ({"worker": ["[::1]:80", "a-b.c_d:1"]},),
            ("worker", 0, ("[::1]:80", "a-b.c_d:1")),
        ),
    ],
)
def test_the_place_is_found(config, task):
    assert read(*config) == Task(*task, *[()] * (4 - len(task)))


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"TF_CONFIG": " "},
        {"TF_CONFIG": "{}"},
        {"TF_CONFIG": '{"cluster": {}, "task": {"type": "worker", "index": 0}}'},
        {"TF_CONFIG": '{"cluster": {"chief": ["a:1"]}, "task": {"type": "chief"}}'},
    ],
)
def test_a_process_may_train_alone(environment):
    assert tf_config.read_task(environment) is None


def test_the_jobs_that_train_are_those_of_the_servers():
    task = read({"chief": ["c:3"], "worker": TWO, "ps": ["p:9"]}, "ps")
    assert task.jobs == {"worker": ["c:3", "a:1", "b:2"], "ps": ["p:9"]}
    assert task.is_parameter_server and not task.is_evaluator


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "is not JSON"),
        ("[1]", "is not an object"),
        ('{"cluster": [1]}', "has a cluster that is not an object"),
        ('{"cluster": {"worker": TWO}}', "does not say which task"),
        ('{"cluster": {"gpu": TWO}, TASK}', "has the job 'gpu'; known are chief"),
        ('{"cluster": {"worker": "a:1"}, TASK}', "does not list the addresses"),
        ('{"cluster": {"worker": ["a:1", "b"]}, TASK}', "'b' in the job 'worker'"),
        ('{"cluster": {"worker": ["a:1", "b:99999"]}, TASK}', "not HOST:PORT"),
        ('{"cluster": {"worker": ["a:1", "a:1"]}, TASK}', "a:1 to two processes"),
        ('{"cluster": {"chief": TWO}, TASK}', "has more than one chief"),
        ('{"cluster": {"ps": TWO}, "task": {"type": "ps"}}', "no chief and no worker"),
        (
            '{"cluster": {"worker": TWO}, "task": {"type": "worker", "index": 2}}',
            "task 2 of the job 'worker', which has 2",
        ),
        (
            '{"cluster": {"worker": TWO}, "task": {"type": "worker", "index": "x"}}',
            "has the task index 'x'",
        ),
        (
            '{"cluster": {"worker": TWO}, "task": {"type": "boss"}}',
            "has a task of type 'boss'",
        ),
    ],
)
def test_mistakes_are_explained(text, reason):
    text = text.replace("TWO", json.dumps(TWO))
    text = text.replace("TASK", '"task": {"type": "worker", "index": 0}')
    with pytest.raises(ValueError, match="TF_CONFIG") as error:
        tf_config.read_task({"TF_CONFIG": text})
    assert reason in str(error.value)
    assert "It must be such as" in str(error.value)
