"""Fine-tunes a small transformer on sentences, as programs for TensorFlow 1 do.

    python scripts/examples/text_classifier.py --model_dir=/tmp/text

First a language model learns to fill in masked words. A classifier then starts from its
encoder, and trains until the loss on other sentences no longer falls; the best model is
exported. Ends in well under a minute. Everything is `tf.compat.v1` and `tf.estimator`.
"""

import os
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import sentences
from absl import app, flags

from tf_slim_compat import tf
from tf_slim_compat.contrib import predictor

flags.DEFINE_string("model_dir", None, "Folder of checkpoints and exports.")
flags.DEFINE_boolean("xla", False, "Whether XLA compiles the model.")
flags.DEFINE_integer("pretraining_steps", 200, "Steps of the language model.")
flags.DEFINE_integer("max_steps", 2000, "Largest number of steps of the classifier.")
flags.DEFINE_integer("patience", 100, "Steps without a lower loss before the end.")

FLAGS = flags.FLAGS
BATCH_SIZE = 64
CHECKPOINT_STEPS = 50
WIDTH, NUM_HEADS, NUM_BLOCKS, DROPOUT = 32, 2, 2, 0.1
# Fraction of wrong classes, so that the loss on other sentences rises in the end.
NOISE = 0.1
PAD, MASK = (sentences.SPECIAL.index(word) for word in ("[PAD]", "[MASK]"))
# Scopes of the two models; their encoders are the same.
LANGUAGE_MODEL, CLASSIFIER, ENCODER = "language_model", "classifier", "encoder"


def dense(inputs: tf.Tensor, units: int, scope: str) -> tf.Tensor:
    """Multiplies the last axis by a matrix and adds a bias."""
    with tf.variable_scope(scope):
        shape = [inputs.shape[-1], units]
        kernel = tf.get_variable("kernel", shape)
        bias = tf.get_variable("bias", [units], initializer=tf.zeros_initializer())
    return tf.tensordot(inputs, kernel, 1) + bias


def normalize(inputs: tf.Tensor, scope: str) -> tf.Tensor:
    """Normalizes the last axis (Ba et al. 2016, arXiv:1607.06450)."""
    with tf.variable_scope(scope):
        gamma = tf.get_variable("gamma", [WIDTH], initializer=tf.ones_initializer())
        beta = tf.get_variable("beta", [WIDTH], initializer=tf.zeros_initializer())
    mean, variance = tf.nn.moments(inputs, [-1], keepdims=True)
    return tf.nn.batch_normalization(inputs, mean, variance, beta, gamma, 1e-6)


def attend(inputs: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Self-attention (Vaswani et al. 2017, arXiv:1706.03762).

    Args:
      inputs: float32 [batch, length, WIDTH].
      mask: float32 [batch, length], 0 for padding.

    Returns:
      float32 [batch, length, WIDTH].
    """
    size = WIDTH // NUM_HEADS

    def split(name):
        heads = [-1, sentences.LENGTH, NUM_HEADS, size]
        return tf.transpose(tf.reshape(dense(inputs, WIDTH, name), heads), [0, 2, 1, 3])

    scores = tf.matmul(split("query"), split("key"), transpose_b=True) / size**0.5
    scores += (mask[:, tf.newaxis, tf.newaxis] - 1) * 1e9
    context = tf.matmul(tf.nn.softmax(scores), split("value"))
    merged = tf.transpose(context, [0, 2, 1, 3])
    return dense(tf.reshape(merged, [-1, sentences.LENGTH, WIDTH]), WIDTH, "output")


def encode(ids: tf.Tensor, is_training: bool) -> tf.Tensor:
    """Builds the encoder: int32 [batch, length] to float32 [batch, length, WIDTH]."""
    mask = tf.cast(tf.not_equal(ids, PAD), tf.float32)
    rate = DROPOUT if is_training else 0.0
    with tf.variable_scope(ENCODER):
        small = tf.truncated_normal_initializer(stddev=0.1)
        shape = [len(sentences.WORDS), WIDTH]
        words = tf.get_variable("words", shape, initializer=small)
        places = tf.get_variable("places", [sentences.LENGTH, WIDTH], initializer=small)
        net = tf.nn.embedding_lookup(words, ids) + places
        for number in range(NUM_BLOCKS):
            with tf.variable_scope(f"block_{number}"):
                added = attend(normalize(net, "attention_norm"), mask)
                net += tf.nn.dropout(added, rate=rate)
                hidden = dense(normalize(net, "dense_norm"), 4 * WIDTH, "hidden")
                added = dense(tf.nn.relu(hidden), WIDTH, "dense")
                net += tf.nn.dropout(added, rate=rate)
        return normalize(net, "norm")


def build_train_op(loss: tf.Tensor, learning_rate: float) -> tf.Operation:
    """Returns a step of Adam with clipped gradients."""
    optimizer = tf.train.AdamOptimizer(learning_rate)
    gradients, variables = zip(*optimizer.compute_gradients(loss), strict=True)
    clipped, _ = tf.clip_by_global_norm(gradients, 1.0)
    pairs = list(zip(clipped, variables, strict=True))
    return optimizer.apply_gradients(pairs, tf.train.get_global_step())


def language_model_fn(
    features: dict[str, tf.Tensor], labels: tf.Tensor, mode: str
) -> "tf.estimator.EstimatorSpec":
    """A model_fn that restores masked words; labels are the words, PAD elsewhere."""
    is_training = mode == tf.estimator.ModeKeys.TRAIN
    with tf.variable_scope(LANGUAGE_MODEL):
        net = encode(features["ids"], is_training)
        logits = dense(net, len(sentences.WORDS), "words")
    is_masked = tf.not_equal(labels, PAD)
    loss = tf.losses.sparse_softmax_cross_entropy(labels, logits, is_masked)
    return tf.estimator.EstimatorSpec(
        mode, loss=loss, train_op=build_train_op(loss, 0.003)
    )


def classifier_fn(
    features: dict[str, tf.Tensor],
    labels: tf.Tensor | None,
    mode: str,
    params: dict[str, Any],
) -> "tf.estimator.EstimatorSpec":
    """A model_fn that tells the class of a sentence from its first token."""
    modes = tf.estimator.ModeKeys
    with tf.variable_scope(CLASSIFIER):
        net = encode(features["ids"], mode == modes.TRAIN)
        logits = dense(net[:, 0], len(sentences.CLASSES), "logits")
    predictions = {
        "probabilities": tf.nn.softmax(logits),
        "class": tf.gather(list(sentences.CLASSES), tf.argmax(logits, -1)),
    }
    if mode == modes.PREDICT:
        return tf.estimator.EstimatorSpec(mode, predictions=predictions)
    loss = tf.losses.sparse_softmax_cross_entropy(labels, logits)
    if mode == modes.EVAL:
        accuracy = tf.metrics.accuracy(labels, tf.argmax(logits, -1))
        return tf.estimator.EstimatorSpec(
            mode, loss=loss, eval_metric_ops={"accuracy": accuracy}
        )
    initialize_from(params["checkpoint"])
    return tf.estimator.EstimatorSpec(
        mode, loss=loss, train_op=build_train_op(loss, 0.002)
    )


def initialize_from(checkpoint: str) -> None:
    """Starts variables from those of the language model, and prints which."""
    known = dict(tf.train.list_variables(checkpoint))
    assignment, rows = {}, []
    for variable in tf.trainable_variables():
        source = variable.op.name.replace(CLASSIFIER, LANGUAGE_MODEL, 1)
        if known.get(source) == variable.shape.as_list():
            assignment[source] = variable
        else:
            source = "(random)"
        rows.append((variable.op.name, str(variable.shape.as_list()), source))
    tf.train.init_from_checkpoint(checkpoint, assignment)
    print(f"{len(assignment)} of {len(rows)} variables start from {checkpoint}:")
    for name, shape, source in rows:
        print(f"  {name:<45} {shape:<10} {source}")


def input_fn(
    ids: np.ndarray, labels: np.ndarray | None, is_training: bool = False
) -> Callable[[], tf.data.Dataset]:
    """Returns an input_fn, endless and shuffled in training."""

    def build():
        features = {"ids": ids}
        rows = tf.data.Dataset.from_tensor_slices(
            features if labels is None else (features, labels)
        )
        if is_training:
            rows = rows.shuffle(len(ids), seed=1).repeat()
        return rows.batch(BATCH_SIZE)

    return build


def mask_words(ids: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns sentences with every fifth word masked, and the words, PAD elsewhere."""
    is_word = ids >= len(sentences.SPECIAL)
    chosen = is_word & (np.random.RandomState(seed).uniform(size=ids.shape) < 0.2)
    return np.where(chosen, MASK, ids), np.where(chosen, ids, PAD)


def make_config(name: str) -> "tf.estimator.RunConfig":
    """Returns the RunConfig of one of the two models."""
    session_config = tf.ConfigProto()
    if FLAGS.xla:
        options = session_config.graph_options.optimizer_options
        options.global_jit_level = tf.OptimizerOptions.ON_1
    return tf.estimator.RunConfig(
        os.path.join(FLAGS.model_dir, name),
        tf_random_seed=1,
        save_checkpoints_steps=CHECKPOINT_STEPS,
        session_config=session_config,
    )


def pretrain(ids: np.ndarray) -> str:
    """Trains the language model; returns its checkpoint."""
    # Ten maskings of each sentence.
    masked = [mask_words(ids, seed) for seed in range(10)]
    columns = (np.concatenate(column) for column in zip(*masked, strict=True))
    config = make_config(LANGUAGE_MODEL).replace(save_checkpoints_steps=1000)
    estimator = tf.estimator.Estimator(language_model_fn, config=config)
    estimator.train(input_fn(*columns, True), max_steps=FLAGS.pretraining_steps)
    return estimator.latest_checkpoint()


def train(checkpoint: str) -> "tf.estimator.Estimator":
    """Trains the classifier until the loss on other sentences no longer falls."""
    estimator = tf.estimator.Estimator(
        classifier_fn, config=make_config(CLASSIFIER), params={"checkpoint": checkpoint}
    )
    os.makedirs(estimator.eval_dir(), exist_ok=True)
    stop = tf.estimator.experimental.stop_if_no_decrease_hook(
        estimator, "loss", FLAGS.patience, run_every_secs=None,
        run_every_steps=CHECKPOINT_STEPS,
    )  # fmt: skip
    with tf.Graph().as_default():
        receiver_fn = tf.estimator.export.build_raw_serving_input_receiver_fn(
            {"ids": tf.placeholder(tf.int32, [None, sentences.LENGTH], name="ids")}
        )
    tf.estimator.train_and_evaluate(
        estimator,
        tf.estimator.TrainSpec(
            input_fn(*sentences.write_corpus(2000, seed=1, noise=NOISE), True),
            max_steps=FLAGS.max_steps,
            hooks=[stop],
        ),
        tf.estimator.EvalSpec(
            input_fn(*sentences.write_corpus(500, seed=2, noise=NOISE)),
            steps=None,
            start_delay_secs=0,
            throttle_secs=0,
            exporters=tf.estimator.BestExporter(
                serving_input_receiver_fn=receiver_fn, exports_to_keep=1
            ),
        ),
    )
    return estimator


def predict_with(
    estimator: "tf.estimator.Estimator", texts: Sequence[str]
) -> Iterator[tuple[str, np.ndarray]]:
    """Yields the class and the probabilities of each sentence."""
    ids = np.array([sentences.tokenize(text) for text in texts], np.int32)
    for row in estimator.predict(input_fn(ids, None)):
        yield row["class"].decode(), row["probabilities"]


def main(_: Sequence[str]) -> None:
    tf.logging.set_verbosity(tf.logging.WARN)
    estimator = train(pretrain(sentences.write_corpus(2000, seed=0)[0]))
    ids, labels = sentences.write_corpus(500, seed=3)
    metrics = estimator.evaluate(input_fn(ids, labels))
    print(f"Stopped at step {metrics['global_step']} of {FLAGS.max_steps}.")
    print(f"Accuracy on new sentences: {metrics['accuracy']:.3f}")
    rng = random.Random(4)
    texts = [sentences.write_sentence(rng)[0] for _ in range(4)]
    for text, (name, scores) in zip(texts, predict_with(estimator, texts), strict=True):
        print(f"  {name} {scores.max():.3f}  {text}")
    exports = os.path.join(estimator.model_dir, "export", "best_exporter")
    best = os.path.join(exports, max(os.listdir(exports)))
    predict = predictor.from_saved_model(best)
    found = predict({"ids": ids})["probabilities"].argmax(axis=1)
    print(f"Accuracy of {best}: {np.mean(found == labels):.3f}")


if __name__ == "__main__":
    flags.mark_flag_as_required("model_dir")
    app.run(main)
