"""Checkpoints whose predictions are known, and runs to evaluate."""

import types

import numpy as np

from deployment.evaluate import evaluation, evaluation_runs, run_config
from deployment.evaluate.evaluation_reports import Records
from deployment.models import run_card
from deployment.models.spec import ModelSpec
from tf_slim_compat import slim, tf

NAMES = ("cat", "<b>dog</b> & co", "$5 note", *"defghij")
NUM_CLASSES = len(NAMES)
RNG = np.random.RandomState(0)
LABELS = RNG.randint(0, NUM_CLASSES, 40).astype(np.int64)
# One-hot: with the identity as weights, all predictions are correct.
IMAGES = np.eye(NUM_CLASSES, dtype=np.float32)[LABELS].reshape(40, 2, 5, 1)
FILE_NAMES = [f"a/{i} <i>.jpg" for i in range(40)]


def network(images):
    flat = slim.flatten(images)
    logits = slim.fully_connected(
        flat, NUM_CLASSES, activation_fn=None, biases_initializer=None, scope="Net"
    )
    return logits, {}


def build_batches(labels=LABELS):
    return tf.data.Dataset.from_tensor_slices((IMAGES, labels)).batch(7)


def read_file_names(count):
    return FILE_NAMES[:count]


def read_images(indices):
    return {i: np.full([9, 12, 3], i, np.uint8) for i in indices}


RECORDS = Records(read_file_names, read_images)


def save(folder, step, num_wrong, version=tf.train.SaverDef.V2):
    """Saves a network that mistakes some classes for the next; returns its prefix."""
    weights = np.eye(NUM_CLASSES, dtype=np.float32) * 4
    weights[:num_wrong] = np.roll(weights[:num_wrong], 1, axis=1)
    with tf.Graph().as_default(), tf.Session() as session:
        tf.get_variable("Net/weights", initializer=weights)
        tf.get_variable("global_step", initializer=np.int64(step))
        session.run(tf.global_variables_initializer())
        saver = tf.train.Saver(write_version=version)
        return saver.save(session, f"{folder}/model.ckpt", step)


def expect_accuracy(num_wrong):
    return np.mean(num_wrong <= LABELS)


def make_spec(num_classes=NUM_CLASSES, task="classification", **changes):
    return ModelSpec(
        task=task,
        model_name=None,
        num_outputs=num_classes,
        output_names=NAMES[:num_classes],
        **changes,
    )


def make_config(folder, eval_dir=None, spec=None, **options):
    return run_config.RunConfig(
        evaluation.EvaluationConfig(
            str(folder),
            eval_dir and str(eval_dir),
            spec or make_spec(),
            show_progress=False,
        ),
        "validation",
        **options,
    )


def run(folder, labels=LABELS, **options):
    config = make_config(folder, **options)
    return evaluation_runs.run(config, network, lambda: build_batches(labels), RECORDS)


def write_card(folder, **changes):
    card = run_card.RunCard(
        model_name="lenet",
        num_classes=NUM_CLASSES,
        image_size=28,
        preprocessing_name="lenet",
        **changes,
    )
    card.save(str(folder))


class Follow:
    """Records which checkpoints are evaluated, with a clock that only `sleep` moves.

    Args:
      actions: what training does, one action each time that the evaluation waits.
      before: called with the prefix of each checkpoint before it is evaluated.
    """

    def __init__(self, monkeypatch, actions=(), before=None):
        self.steps = []
        self.now = 0.0
        self._actions = list(actions)
        predict = evaluation.Evaluator.predict

        def record(evaluator, path):
            if before is not None:
                before(path)
            predictions = predict(evaluator, path)
            self.steps.append(predictions.step)
            return predictions

        monkeypatch.setattr(evaluation.Evaluator, "predict", record)
        clock = types.SimpleNamespace(monotonic=lambda: self.now, sleep=self._sleep)
        monkeypatch.setattr(evaluation_runs, "time", clock)

    def _sleep(self, secs):
        self.now += secs
        if self._actions:
            self._actions.pop(0)()
