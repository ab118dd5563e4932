"""Greedy averages of checkpoints."""

import numpy as np
import pytest
from evaluated_runs import (
    LABELS,
    NUM_CLASSES,
    make_config,
    run,
    write_card,
)

from deployment.config_flags import SettingError
from deployment.models import run_card
from tf_slim_compat import tf

IDENTITY = np.eye(NUM_CLASSES, dtype=np.float32)
# Of these, each makes its own mistakes, which the average of the first two outvotes.
WRONG = np.roll(IDENTITY, 1, axis=1)


def save(folder, step, weights):
    with tf.Graph().as_default(), tf.Session() as session:
        tf.get_variable("Net/weights", initializer=weights.astype(np.float32))
        tf.get_variable("global_step", initializer=np.int64(step))
        session.run(tf.global_variables_initializer())
        return tf.train.Saver().save(session, f"{folder}/model.ckpt", step)


def mistaken(*classes):
    """Returns weights that mistake some classes, narrowly, for the next one."""
    weights = 2 * IDENTITY
    for i in classes:
        weights[i] = 0.9 * IDENTITY[i] + WRONG[i]
    return weights


def read(path):
    return tf.train.load_variable(str(path), "Net/weights")


@pytest.fixture
def candidates(tmp_path):
    """Two with different mistakes, one that is wrong everywhere, and one worse."""
    (tmp_path / "run").mkdir()
    weights = {
        100: mistaken(0),
        200: mistaken(1, 2),
        300: 50 * WRONG,
        400: mistaken(0, 1, 2, 3),
    }
    for step, values in weights.items():
        save(tmp_path / "run", step, values)
    return weights


def test_checkpoints_stay_that_do_not_make_the_average_worse(
    tmp_path, candidates, capsys
):
    folder = tmp_path / "run"
    write_card(folder, sessions=({"from_step": 0, "images_per_step": 1},))
    output = tmp_path / "soup" / "model.ckpt"
    predictions = run(folder, soup=str(output))
    # Mistakes in 0 come before those in 1 and 2, those before 0 to 3; 300 never fits.
    kept = [candidates[step] for step in (100, 200, 400)]
    np.testing.assert_allclose(read(output), np.mean(kept, axis=0), rtol=1e-6)
    assert predictions.path == str(output) and predictions.step == 400
    assert (predictions.logits.argmax(1) == LABELS).all()
    table = capsys.readouterr().out.splitlines()
    assert table[0].split()[:4] == ["checkpoint", "step", "accuracy", "accuracy"]
    found = [line.split() for line in table[1:5]]
    assert [row[0].rpartition("-")[2] for row in found] == ["100", "200", "400", "300"]
    assert [row[-1] for row in found] == ["yes", "yes", "yes", "no"]
    assert found[-1][2] == "0.0000" and found[1][3] == "1.0000"
    card = run_card.find(str(output))
    assert card.sessions == () and card.model_name == "lenet"
    assert len(card.extra["soup"]["checkpoints"]) == 3


def test_candidates_of_several_places(tmp_path, candidates):
    other = save(tmp_path, 50, mistaken(3))
    run(
        tmp_path / "run",
        soup=str(tmp_path / "soup" / "model.ckpt"),
        soup_candidates=(other, f"{tmp_path}/run/model.ckpt-100"),
    )
    expected = (mistaken(3) + candidates[100]) / 2
    np.testing.assert_allclose(read(tmp_path / "soup" / "model.ckpt"), expected)
    assert run_card.find(str(tmp_path / "soup")) is None  # The run has none.


def test_the_metric_decides(tmp_path, candidates):
    """By the loss, which is better the lower, the first is averaged with others."""
    run(tmp_path / "run", soup=str(tmp_path / "soup" / "model.ckpt"), metric="loss")
    assert not np.allclose(read(tmp_path / "soup" / "model.ckpt"), candidates[300])


def test_mistakes(tmp_path, candidates):
    folder = tmp_path / "run"
    output = save(tmp_path, 1, IDENTITY)
    with pytest.raises(ValueError, match="exists and is not overwritten"):
        run(folder, soup=output)
    with pytest.raises(ValueError, match="there is only .*--soup_candidates"):
        run(folder, soup=str(tmp_path / "new"), soup_candidates=(output,))
    with pytest.raises(SettingError, match="soup averages checkpoints: leave"):
        make_config(folder, soup="a", all_checkpoints=True)
    (tmp_path / "bad").mkdir()
    for step in (1, 2):
        save(tmp_path / "bad", step, IDENTITY * np.nan)
    with pytest.raises(ValueError, match="training has diverged"):
        run(tmp_path / "bad", soup=str(tmp_path / "new"))
    assert not (tmp_path / "new.index").exists()
