"""Damaged JSON files, and such of others, are refused in one sentence or harmless.

Each file is read, and what is read is used, after each of its values has been replaced
by each of `WRONG`, left out, and its bytes have been cut, zeroed and flipped.
"""

import copy
import dataclasses
import json
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from kept_checkpoints import ACCURACY, consider
from measured_runs import write_run

import checked_json
from datasets import dataset_info
from deployment.compare import measurements, table
from deployment.inspect import checkpoint as inspection
from deployment.models import run_card
from deployment.models.checkpoint_choice import read_ranking
from deployment.models.history import History
from deployment.models.run_card import RunCard
from deployment.models.spec import ModelSpec
from deployment.tasks import get_task
from deployment.train import early_stopping
from deployment.train.best_checkpoints import BestCheckpoints

WRONG = [
    None, "", "abc", "a\nb", -1, 0, 1.5, 10**30, -(10**30), 10**400, True, [], {},
    [[[]]], ["a", 3], [None], {"a": None}, float("nan"), float("inf"),
]  # fmt: skip
FLIPS = 40


def mutate(value: Any) -> Iterator[Any]:
    """Yields copies of a JSON value in which one value is wrong or left out."""
    yield from WRONG
    places = value.items() if isinstance(value, dict) else enumerate(value)
    if not isinstance(value, dict | list):
        return
    for key, item in places:
        rest = copy.copy(value)
        del rest[key]
        yield rest
        for changed in mutate(item) if isinstance(item, dict | list) else WRONG:
            whole = copy.copy(value)
            whole[key] = changed
            yield whole


def damage(text: bytes, seed: int = 0) -> Iterator[bytes]:
    """Yields contents of a file that are wrong in all ways."""
    for value in mutate(json.loads(text)):
        yield json.dumps(value).encode()
    yield from (b"", b"\0" * len(text), b"[" * 100_000, b"\xff" + text)
    yield text.replace(b": ", b': {"a":' * 70, 1).replace(b"}", b"}" * 71, 1)
    yield text.replace(b"{", b'{"deep": ' + b"[" * 500 + b"]" * 500 + b", ", 1)
    chance = random.Random(seed)
    for _ in range(FLIPS):
        place = chance.randrange(len(text))
        yield text[:place]
        flipped = bytearray(text)
        flipped[place] ^= 1 << chance.randrange(8)
        yield bytes(flipped)


def check_all(path, use) -> int:
    """Damages a file in all ways; returns how often `use` refused it."""
    whole = path.read_bytes()
    use()
    refused = 0
    for contents in damage(whole):
        replace(path, contents)
        try:
            use()
        except (ValueError, OSError) as error:
            # Long values are shortened, and values with line ends are quoted.
            assert "\n" not in str(error) and len(str(error)) < 1000, contents[:2000]
            refused += 1
        except Exception as error:
            error.add_note(f"The file held {contents[:2000]!r}.")
            raise
    replace(path, whole)
    return refused


def replace(path, contents):
    path.unlink()  # Writing into a file that has contents waits for the disk.
    path.write_bytes(contents)


def use_card(folder, whole):
    card = RunCard.load(str(folder))
    list(inspection.describe_card(card))
    run_card.check_resume(whole, card, force=True)
    run_card.images_seen(card, 100)
    ended = run_card.with_session_end(run_card.with_session(card, 150, 8), 160, 2.0)
    ended.save(str(folder / "again"))
    assert type(card.spec.num_outputs) is int and card.num_classes <= 10**6
    for name in card.output_names or ():
        assert type(name) is str and "\n" not in name


def test_run_cards(tmp_path):
    folder = write_run(tmp_path / "run")
    whole = dataclasses.replace(
        RunCard.load(str(folder)), class_names=("a", "b", "c"), seed=3
    )
    whole.save(str(folder))

    def use():
        use_card(folder, whole)
        (run,) = measurements.read_runs([str(folder)])
        table.compare([run, dataclasses.replace(run, card=whole)])

    assert check_all(folder / "run.json", use) > 600


@pytest.mark.parametrize("name", ["metrics.jsonl", "training.jsonl"])
def test_measurements(tmp_path, name):
    folder = write_run(tmp_path / "run", card=False)
    path = folder / name
    first, second = path.read_text().splitlines()[:2]
    path.write_text(first + "\n")

    def use():
        replace(path, path.read_bytes() + f"\n{second}\n".encode())
        rows = History(str(folder)).rows()
        if rows:
            early_stopping.reason_to_stop(rows, ACCURACY, 1)
        (run,) = measurements.read_runs([str(folder)])
        for metric in run.metrics:
            run.get_curve("training", metric, "epoch")
        run.find_best()

    assert check_all(path, use) > 100


def test_the_record_of_the_best(tmp_path):
    write_run(tmp_path)
    best = BestCheckpoints(str(tmp_path), ACCURACY, 2)
    for step in (100, 150):
        consider(best, tmp_path, step, 0.8 - abs(step - 150) / 1000)
    files_before = sorted(path.name for path in (tmp_path / "best").iterdir())
    path = tmp_path / "best" / "best.json"
    whole = path.read_bytes()
    for contents in damage(whole):
        replace(path, contents)
        try:
            ranking = read_ranking(str(tmp_path))
            assert ranking is None or list(ranking.values) == [150, 100]
        except ValueError as error:
            assert "best.json" in str(error)
        again = BestCheckpoints(str(tmp_path), ACCURACY, 2)
        assert [k.step for k in again.ranking] == [150, 100], contents
        assert files_before == sorted(p.name for p in (tmp_path / "best").iterdir())


def test_dataset_info(tmp_path):
    splits = {"train": (dataset_info.Shard("f", 9, 4),)}
    info = dataset_info.DatasetInfo(
        "x", ("a", "b"), splits, {"train": {"class_counts": [3, 1]}}, notes=("n",)
    )
    path = tmp_path / "dataset_info.json"
    path.write_text(info.to_json())

    def use():
        found = dataset_info.from_json(path.read_bytes(), str(path))
        dataset_info.read_name(str(path))
        if found is not None:
            found.to_json()
            assert all(type(n) is str and "\n" not in n for n in found.class_names)
            assert all(found.num_samples(split) >= 0 for split in found.splits)
            assert len(found.class_names) == 2 or not found.splits

    assert check_all(path, use) > 350


@pytest.mark.parametrize(
    ("task", "state"),
    [
        ("multilabel", {"thresholds": [0.5, 0.25]}),
        ("regression", {"mean": [1.0, 2.0], "scale": [3.0, 4.0]}),
    ],
)
def test_model_specifications(tmp_path, task, state):
    spec = ModelSpec(
        task=task,
        model_name="lenet",
        num_outputs=2,
        output_names=("a", "b"),
        image_size=28,
        moving_average_decay=0.9,
        task_state=state,
    )
    path = tmp_path / "spec.json"
    path.write_text(spec.to_json())

    def use():
        found = ModelSpec.from_json(path.read_text("latin-1"))
        assert 1 <= found.num_outputs == len(found.names) <= 10**6
        if found.task == task and found.num_outputs == 2:
            scores = get_task(task).compute_scores(np.zeros([1, 2]), found)
            assert scores.shape == (1, 2)
            for name in found.task_state.keys() & state.keys():
                found.read_numbers(name)

    assert check_all(path, use) > 100


def test_the_explanation_names_field_rule_and_value():
    for value, said in (
        ({"a": 1}, "model_name is missing"),
        ([], r"it must be an object, but is []"),
        ({"model_name": 3}, "model_name must be text or null, but is 3"),
    ):
        with pytest.raises(ValueError) as error:
            checked_json.check(value, ModelSpec)
        assert str(error.value) == said
