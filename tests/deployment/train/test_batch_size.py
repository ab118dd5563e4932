"""The batch size of --batch_size=auto: what fits, what is kept, what is said."""

import dataclasses
import logging

import pytest
from toy_training import build_batches, make_config, make_spec, network

from deployment.config_flags import SettingError
from deployment.models.run_card import RunCard
from deployment.optimize.learning_rates import Schedule
from deployment.train import batch_size, memory, training
from tf_slim_compat import tf

MB = 10**6


def settle(folder, num_samples=48, **options):
    options.setdefault("batch_size", None)
    config = make_config(folder, steps=2, **options)
    config = dataclasses.replace(config, num_samples=num_samples)
    return batch_size.settle(config, network, build_batches)


@pytest.fixture
def fill_memory(monkeypatch):
    """Sets the free memory, in images of 1 MB each, and the largest batch that runs."""
    take_step = batch_size._Trial._take_step

    def fill(free_images, runs_up_to=10**9):
        def take_step_or_fail(trial, size):
            tried.append(size)
            if size > runs_up_to:
                raise tf.errors.ResourceExhaustedError(
                    None, None, "OOM when allocating tensor with shape[8]"
                )
            take_step(trial, size)

        tried = []
        free = None if free_images is None else free_images * MB / memory.SAFE_SHARE
        monkeypatch.setattr(batch_size, "find_available", lambda: free)
        monkeypatch.setattr(memory, "estimate", lambda *_: memory.Needs(0, MB))
        monkeypatch.setattr(batch_size._Trial, "_take_step", take_step_or_fail)
        monkeypatch.setattr(batch_size, "_read_resident_bytes", lambda: 1 << 60)
        return tried

    return fill


@pytest.mark.parametrize(
    ("num_samples", "options", "free_images", "runs_up_to", "tried"),
    [
        (48, {}, 1000, 1000, [32]),
        (1000, {}, 40, 1000, [32]),
        (1000, {}, 31.9, 1000, [16]),
        (1000, {}, 70, 20, [64, 32, 16]),
        (48, {"gradient_accumulation_steps": 3}, 1000, 1000, [16]),
        (5, {}, 1000, 1000, [5]),
        # Nothing is tried that the estimate rules out.
        (48, {}, 1, 1000, []),
    ],
)
def test_the_largest_batch_that_takes_a_step_is_used(
    tmp_path, fill_memory, num_samples, options, free_images, runs_up_to, tried
):
    found = fill_memory(free_images, runs_up_to)
    settled = settle(tmp_path, num_samples, **options)
    assert found == tried
    assert settled.batch_size == (tried or [8])[-1]
    assert not list(tmp_path.iterdir())


def test_the_learning_rate_per_image_stays(tmp_path, fill_memory, caplog):
    caplog.set_level(logging.INFO, logger="absl")
    fill_memory(20)
    schedule = Schedule("polynomial", initial=0.04, warmup_steps=3)
    settled = settle(tmp_path, schedule=schedule)
    assert settled.schedule == dataclasses.replace(schedule, initial=0.02, end=5e-5)
    assert settled.auto_batch == {"images": 16, "learning_rate": 0.02}
    assert (
        "The batch size is 16, the most that fits into the memory. The learning rate "
        "is 0.02: 0.04 for each 32 images." in caplog.text
    )


def test_a_number_is_used_as_it_is(tmp_path):
    config = make_config(tmp_path, batch_size=24)
    assert batch_size.settle(config, None, None) is config
    assert config.auto_batch is None


def test_a_resumed_run_keeps_its_batch_size(tmp_path, fill_memory):
    tried = fill_memory(20)
    folders = tmp_path / "auto", tmp_path / "number"
    began = settle(folders[0])
    for config in (began, make_config(folders[1])):
        card = RunCard.from_spec(make_spec(image_size=8, preprocessing_name="none"))
        card = dataclasses.replace(card, flags={"batch_size": 24})
        training.train(
            dataclasses.replace(config, number_of_steps=1),
            network,
            build_batches,
            card=card,
        )
    assert RunCard.load(str(folders[0])).auto_batch == began.auto_batch
    fill_memory(1000)
    resumed = settle(folders[0])
    assert (resumed.batch_size, resumed.schedule) == (16, began.schedule)
    resumed = settle(folders[1])
    assert (resumed.batch_size, resumed.schedule) == (24, Schedule("fixed", 0.01))
    assert resumed.auto_batch is None and tried == [16]


@pytest.mark.parametrize(
    ("options", "free_images", "message"),
    [
        ({"master": "grpc://localhost:1"}, 10, "(TF_CONFIG, --master): give a"),
        ({"sync_replicas": True}, 10, "several train together"),
        ({}, None, "this system does not tell: give a number"),
        ({}, 64, "8 images, the fewest tried, are too many: use a smaller image size"),
    ],
)
def test_what_cannot_be_chosen_is_an_error(
    tmp_path, fill_memory, options, free_images, message
):
    fill_memory(free_images, runs_up_to=4)
    with pytest.raises(SettingError) as error:
        settle(tmp_path, **options)
    assert message in error.value.explain()


def test_a_full_disk_is_no_lack_of_memory(tmp_path, fill_memory, monkeypatch):
    fill_memory(100)

    def fail(*_):
        raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

    monkeypatch.setattr(batch_size._Trial, "_take_step", fail)
    with pytest.raises(tf.errors.ResourceExhaustedError):
        settle(tmp_path)


def test_what_a_step_took_counts(tmp_path, fill_memory, monkeypatch):
    tried = fill_memory(40)
    monkeypatch.setattr(batch_size, "_read_resident_bytes", lambda: 0)
    with pytest.raises(SettingError, match="no batch that fits"):
        settle(tmp_path)  # This process has more than 67 MB.
    assert tried == [32, 16, 8]
