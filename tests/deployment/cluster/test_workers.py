"""All-reduce workers: the same steps as one process, and the same bits on each."""

import dataclasses
import functools
import json
import shutil

import numpy as np
import pytest
import toy_training
import worker_threads
from absl import logging

from deployment.cluster import LostWorkerError
from deployment.cluster.collectives import Collectives
from deployment.durations import Duration
from deployment.evaluate import evaluation
from deployment.models.run_card import RunCard
from deployment.optimize.optimizers import OptimizerConfig
from deployment.train import shared_run, training
from deployment.train.config import ValidationConfig
from tf_slim_compat import slim, tf


def network_without_statistics(images):
    net = slim.conv2d(images, 8, 3, stride=2, scope="Net/Conv")
    logits = slim.fully_connected(
        slim.flatten(net), 3, activation_fn=None, scope="Net/Logits"
    )
    return logits, {"Logits": logits}


def check_equal(folders):
    """Checks that all workers have the same bits; returns the variables."""
    first, *others = [toy_training.read_all(folder) for folder in folders]
    for other in others:
        assert first.keys() == other.keys()
        for name, value in first.items():
            np.testing.assert_array_equal(value, other[name], err_msg=name)
    return first


@pytest.mark.parametrize(
    ("network_fn", "options"),
    [
        (network_without_statistics, {"bucket_bytes": 0}),
        (network_without_statistics, {"gradient_accumulation_steps": 2}),
        (toy_training.network, {"sync_batch_norm": True, "moving_average_decay": 0.9}),
    ],
    ids=["plain", "accumulation", "sync_batch_norm"],
)
def test_workers_take_the_steps_of_one_process(tmp_path, network_fn, options):
    common = {"optimizer": OptimizerConfig("momentum"), "seed": 1, **options}
    common.pop("bucket_bytes", None)
    common.pop("sync_batch_norm", None)
    # Statistics of all batches are computed by other operations than those of one, and
    # the differences of rounding grow from step to step.
    steps, rtol = (5, 1e-5) if "sync_batch_norm" in options else (20, 0)
    toy_training.train(
        tmp_path / "alone", steps, batch_size=16, network_fn=network_fn, **common
    )
    alone = toy_training.read_all(tmp_path / "alone")
    _, folders = worker_threads.train(
        4,
        tmp_path,
        steps=steps,
        batch_size=4,
        network_fn=network_fn,
        **{**common, **options},
    )
    together = check_equal(folders)
    assert together.keys() == alone.keys()
    for name, value in alone.items():
        np.testing.assert_allclose(
            together[name], value, rtol=rtol, atol=1e-6, err_msg=name
        )


def build_part(index, seed, start_image):
    del seed
    examples = toy_training.list_examples().repeat().skip(start_image)
    return examples.shard(2, index).batch(4)


def test_moving_averages_of_own_batches_are_averaged(tmp_path):
    """As of one step: the mean of what each worker's batch alone would give."""
    options = {"steps": 1, "seed": 1, "moving_average_decay": 0.9}
    _, folders = worker_threads.train(2, tmp_path, batch_size=4, **options)
    together = check_equal(folders)
    alone = []
    for index in range(2):
        folder = tmp_path / f"alone_{index}"
        config = toy_training.make_config(folder, 1, batch_size=4, seed=1)
        training.train(
            config, toy_training.network, functools.partial(build_part, index)
        )
        alone.append(toy_training.read_all(folder))
    for name in ("moving_mean", "moving_variance"):
        name = f"Net/Conv/BatchNorm/{name}"
        assert not np.allclose(alone[0][name], alone[1][name], rtol=1e-3)
        mean = np.mean([values[name] for values in alone], axis=0)
        np.testing.assert_allclose(together[name], mean, rtol=1e-5)


def build_evaluator(part=(0, 1)):
    index, count = part
    config = evaluation.EvaluationConfig(
        None, None, toy_training.make_spec(), show_progress=False
    )
    images = lambda: toy_training.list_examples().take(47).shard(count, index).batch(7)  # noqa: E731
    return evaluation.Evaluator(config, network_without_statistics, images)


def make_card():
    spec = toy_training.make_spec(image_size=8, preprocessing_name="lenet")
    return RunCard.from_spec(spec)


def read_rows(folder, name="metrics.jsonl"):
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def test_a_run_goes_on_with_another_number_of_workers(tmp_path):
    common = {
        "optimizer": OptimizerConfig("momentum"),
        "network_fn": network_without_statistics,
        "validation": ValidationConfig(every=Duration(6, "steps")),
    }
    toy_training.train(
        tmp_path / "alone",
        18,
        batch_size=12,
        seed=1,
        card=make_card(),
        build_evaluator=build_evaluator,
        **common,
    )
    for steps, count, batch_size in ((8, 2, 6), (18, 3, 4)):
        folder = tmp_path / f"with_{count}"
        if count == 3:
            shutil.copytree(tmp_path / "with_2" / "worker_0", folder / "worker_0")
        results, folders = worker_threads.train(
            count,
            folder,
            steps=steps,
            batch_size=batch_size,
            seed=1 if count == 2 else None,
            card=make_card(),
            build_evaluator=build_evaluator,
            **common,
        )
        together = check_equal(folders)
        assert {result.step for result in results} == {steps}
    alone = toy_training.read_all(tmp_path / "alone")
    for name, value in alone.items():
        np.testing.assert_allclose(together[name], value, atol=1e-6, err_msg=name)
    # The evaluation of step 8 is that of the end of the first session.
    expected = {row["step"]: row for row in read_rows(tmp_path / "alone")}
    found = {row["step"]: row for row in read_rows(folders[0])}
    assert list(found) == [6, 8, 12, 18] and list(expected) == [6, 12, 18]
    for step, row in expected.items():
        assert found[step]["num_images"] == row["num_images"] == 47
        assert found[step]["accuracy"] == row["accuracy"]
        assert found[step]["loss"] == pytest.approx(row["loss"], abs=1e-6)
    assert RunCard.load(str(folders[0])).results["best"]["step"] in found


def test_workers_stop_early_together(tmp_path):
    options = ValidationConfig(every=Duration(2, "steps"), patience=1, min_change=9.0)
    results, folders = worker_threads.train(
        2,
        tmp_path,
        steps=50,
        network_fn=network_without_statistics,
        validation=options,
        build_evaluator=build_evaluator,
    )
    assert [result.step for result in results] == [4, 4]
    assert results[0].stopped_because == results[1].stopped_because
    check_equal(folders)


def test_workers_end_if_a_save_is_rejected(tmp_path, monkeypatch):
    """A chief that went back to its last checkpoint would differ from the others."""

    def reject(*args, **kwargs):
        raise tf.errors.AbortedError(None, None, "The same request was received twice.")

    monkeypatch.setattr(tf.train.Saver, "save", reject)
    with pytest.raises(LostWorkerError, match="rejected a request of worker 0, whose"):
        worker_threads.train(
            2, tmp_path, steps=3, network_fn=network_without_statistics
        )


def test_workers_with_other_settings_are_refused(tmp_path):
    config = toy_training.make_config(tmp_path)

    def settle(workers):
        size = 8 + workers.index
        own = dataclasses.replace(config, workers=workers, batch_size=size)
        try:
            return shared_run.agree(own, first_image=24)[1]
        except ValueError as error:
            return str(error)

    chief, other = worker_threads.run(2, settle)
    assert chief == 24
    assert other == (
        "This worker has batch_size=9, but the chief has 8: start all workers with the "
        "same command."
    )


def test_only_the_chief_informs(tmp_path):
    logger, verbosity = logging.get_absl_logger(), logging.get_verbosity()
    level = logger.level
    config = toy_training.make_config(tmp_path)
    try:
        logging.set_verbosity(logging.INFO)
        with shared_run.following(config):
            assert not logging.vlog_is_on(0)
        assert logging.vlog_is_on(0)
        logging.set_verbosity(logging.WARNING)
        logger.setLevel("NOTSET")  # As in programs that do not parse flags of absl.
        with shared_run.following(config):
            pass
        assert logger.level == 0
    finally:
        logging.set_verbosity(verbosity)
        logger.setLevel(level)


def test_workers_exchange_values():
    def exchange(workers):
        rows = np.arange(7, dtype=np.int64)[workers.index :: 3]
        return (
            workers.share({"a": [1, None, "ü"]} if workers.is_chief else None),
            workers.gather([workers.index, 0.5]).tolist(),
            workers.gather_rows(rows).tolist(),
            workers.gather_rows(np.stack([rows, 2 * rows], 1).astype("f4")).tolist(),
        )

    for shared, gathered, rows, pairs in worker_threads.run(3, exchange):
        assert shared == {"a": [1, None, "ü"]}
        assert gathered == [[0, 0.5], [1, 0.5], [2, 0.5]]
        assert rows == list(range(7))
        assert pairs == [[i, 2 * i] for i in range(7)]


def test_gradients_are_sent_in_buckets():
    def count_messages(bucket_bytes):
        collectives = Collectives(0, 2, bucket_bytes)
        with tf.Graph().as_default() as graph:
            gradients = [tf.zeros([10]) for _ in range(10)]
            pairs = [(gradient, None) for gradient in gradients]
            pairs.insert(3, (None, None))
            averages = collectives.average_gradients(pairs)
            assert averages[3] == (None, None)
            assert [len(a.shape) for a, _ in averages if a is not None] == [1] * 10
            return sum(op.type == "CollectiveReduceV2" for op in graph.get_operations())

    assert count_messages(0) == 10
    assert count_messages(100) == 4
    assert count_messages(10_000) == 1
