"""Of a training folder, the best, the newest or another checkpoint is chosen."""

import json

import pytest
from saved_checkpoints import save

from deployment.models.checkpoint_choice import choose, read_ranking
from deployment.models.history import History
from deployment.models.run_card import RunCard
from tf_slim_compat import tf

pytestmark = pytest.mark.usefixtures("graph")


def save_at(folder, step):
    folder.mkdir(exist_ok=True)
    return save(folder / f"model.ckpt-{step}", {"global_step": step}, "V2")


@pytest.fixture
def run(tmp_path):
    """Returns a training folder: steps 20 to 40, and the best of 10 and 30."""
    folder = tmp_path / "run"
    for step in (20, 30, 40):
        save_at(folder, step)
    tf.train.update_checkpoint_state(str(folder), "model.ckpt-40")
    write_ranking(folder / "best", {30: 0.875, 10: 0.5})
    return folder


def write_ranking(folder, values):
    for step in values:
        save_at(folder, step)
    rows = [{"step": step, "value": value} for step, value in values.items()]
    ranking = {"metric": "accuracy", "checkpoints": rows}
    (folder / "best.json").write_text(json.dumps(ranking))
    tf.train.update_checkpoint_state(str(folder), f"model.ckpt-{rows[0]['step']}")


def test_the_best_is_the_default_where_the_run_kept_one(run):
    choice = choose(str(run))
    assert choice.path == f"{run}/best/model.ckpt-30"
    assert choice.reason == (
        "the best by accuracy (0.8750); --checkpoint=latest takes step 40"
    )
    assert choose(str(run), "best").path == choice.path
    assert choose(str(run), "best").reason == "the best by accuracy (0.8750)"
    assert choose(f"{run}/best").path == choice.path
    save_at(run / "best", 40)
    write_ranking(run / "best", {40: 0.9})
    assert choose(str(run)).reason == "the best by accuracy (0.9000) and the newest"


def test_the_newest_is_the_default_otherwise(run):
    (run / "best" / "best.json").unlink()
    assert choose(str(run)).path == f"{run}/model.ckpt-40"
    assert choose(str(run)).reason == "the newest"
    with pytest.raises(ValueError, match="kept no best .*holds those of steps 40, 30"):
        choose(str(run), "best")


def test_the_newest_and_steps(run):
    assert choose(str(run), "latest").path == f"{run}/model.ckpt-40"
    assert choose(f"{run}/best", "latest").path == f"{run}/best/model.ckpt-30"
    assert choose(str(run), "20").path == f"{run}/model.ckpt-20"
    assert choose(str(run), "30").path == f"{run}/model.ckpt-30"
    # Training has removed its own, but the best are kept.
    assert choose(str(run), "10").path == f"{run}/best/model.ckpt-10"
    said = "no checkpoint of step 25 in .* It holds those of steps 40, 30, 20, 10"
    with pytest.raises(ValueError, match=said):
        choose(str(run), "25")
    with pytest.raises(ValueError, match="is 'newest': give best, latest or a step"):
        choose(str(run), "newest")


def test_a_checkpoint_is_its_own_choice(run):
    path = f"{run}/model.ckpt-20"
    assert choose(path).path == choose(f"{path}.index").path == path
    assert choose(path).reason == ""
    with pytest.raises(ValueError, match="--checkpoint=best .* but --model_path is"):
        choose(path, "best", "model_path")
    with pytest.raises(ValueError, match="no checkpoint .*; its folder holds run"):
        choose(f"{run.parent}/rum")


def test_only_those_of_the_ranking_that_exist_count(run):
    for path in (run / "best").glob("model.ckpt-30.*"):
        path.unlink()
    assert read_ranking(str(run)).values == {10: 0.5}
    assert choose(str(run)).path == f"{run}/best/model.ckpt-10"
    assert read_ranking(str(run.parent)) is None


@pytest.mark.parametrize(
    "text", ["", "{", '{"metric": "loss", "checkpoints": []}', None]
)
def test_a_damaged_ranking_is_made_again_from_what_was_measured(run, text):
    whole = json.loads((run / "best" / "best.json").read_text())
    path = run / "best" / "best.json"
    path.unlink()
    if text is not None:
        path.write_text(text and text.replace("}", ', "sha256": "wrong"}'))
        said = "best.json' is damaged .* choose one with --checkpoint=latest or a step"
        with pytest.raises(ValueError, match=said):
            choose(str(run))
    assert choose(str(run), "30").path == f"{run}/model.ckpt-30"
    best = {"metric": "loss", "higher_is_better": False, "value": 0.5, "step": 10}
    card = RunCard(
        model_name="lenet",
        num_classes=2,
        image_size=28,
        preprocessing_name="lenet",
        eval_split_name="validation",
        results={"best": best},
    )
    card.save(str(run))
    with pytest.raises(ValueError, match="metrics.jsonl has no loss of step 10"):
        choose(str(run))
    history = History(str(run))
    for row in whole["checkpoints"]:
        history.append(
            {"step": row["step"], "split": "validation", "loss": row["value"]}
        )
    choice = choose(str(run))
    assert choice.path == f"{run}/best/model.ckpt-10"
    assert choice.reason.startswith("the best by loss (0.5000)")
    assert path.exists() == (text is not None), "reading writes nothing"
