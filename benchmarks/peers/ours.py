"""Trains networks of this project for `benchmarks/against_peers.py`.

A step is what the training loop does, with the flags' defaults; the L2 losses are in
the graph, and Inception v3 has its auxiliary classifier.
"""

import dataclasses
import functools
import tempfile
from typing import NamedTuple

from benchmarks.peers import serving
from deployment import model_deploy
from deployment.models.history import History
from deployment.models.spec import ModelSpec
from deployment.train import loop, precision_choice, step, training
from nets import nets_factory
from tf_slim_compat import tf

_DTYPES = {"float32": tf.float32, "bfloat16": tf.bfloat16}
_CONVOLUTIONS = ("Conv2D", "Conv3D", "DepthwiseConv2dNative")


class Training(NamedTuple):
    """A training run on synthetic images.

    Attributes:
      parts: its graph.
      take_step: its training loop.
      session: a session with initialized variables.
      choice: its precision, and why.
      folder: its training folder, which lasts as long as this object.
    """

    parts: step.TrainingGraph
    take_step: loop.TrainingLoop
    session: tf.Session
    choice: precision_choice.Choice
    folder: tempfile.TemporaryDirectory


def start(name: str, precision: str, batch_size: int, size: int) -> Training:
    """Builds a training run with the flags' defaults."""
    folder = tempfile.TemporaryDirectory()
    config = training.TrainingConfig(
        train_dir=folder.name,
        spec=ModelSpec(model_name=name, num_outputs=serving.CLASSES, image_size=size),
        num_samples=1000,
        batch_size=batch_size,
        deployment=model_deploy.choose_deployment(),
        precision=precision,
        seed=1,
    )
    network_fn = nets_factory.get_network_fn(
        name, serving.CLASSES, weight_decay=serving.WEIGHT_DECAY, is_training=True
    )

    def synthetic():
        batch = serving.make_batch(batch_size, size)
        return tf.data.Dataset.from_tensors(batch).cache().repeat()

    build_graph = functools.partial(
        step.build_training_graph, network_fn=network_fn, build_batches=synthetic
    )
    choice = precision_choice.choose(config, build_graph)
    config = dataclasses.replace(config, precision=choice.precision)
    with tf.Graph().as_default():
        parts = build_graph(config)
        take_step = loop.TrainingLoop(config, parts, History(folder.name))
        session = tf.Session(config=precision_choice.build_session_config(config))
        session.run(
            [
                tf.global_variables_initializer(),
                tf.local_variables_initializer(),
                tf.tables_initializer(),
            ]
        )
    return Training(parts, take_step, session, choice, folder)


def build(name: str, precision: str, batch_size: int, size: int):
    """Returns a training step and a description; see `serving.serve`."""
    run = start(name, precision, batch_size, size)
    with run.session.graph.as_default():
        writer = tf.summary.FileWriter(run.folder.name)

    def take_step():
        with run.session.graph.as_default():
            run.take_step(
                run.session,
                run.parts.train_op,
                run.parts.global_step,
                {"summary_writer": writer},
            )

    return take_step, f"{run.choice.precision}, {run.choice.reason}"


def trace(name: str, precision: str, batch_size: int, size: int, steps: int):
    """Returns the choice of the precision and a `tf.RunMetadata` of each step."""
    run = start(name, precision, batch_size, size)
    fetches = [run.parts.train_op, run.parts.health, run.parts.step_after]
    options = tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE)
    traces = []
    run.session.run(fetches)
    for _ in range(steps):
        traces.append(tf.RunMetadata())
        run.session.run(fetches, options=options, run_metadata=traces[-1])
    return run.choice, traces


def count_step_flops(name: str, size: int) -> int:
    """Returns the FLOPs of a training step per image, of products only.

    Three times those of the forward pass, with two per multiplication and addition.
    """
    with tf.Graph().as_default() as graph:
        images = tf.placeholder(tf.float32, [1, size, size, 3])
        nets_factory.get_network_fn(name, serving.CLASSES, is_training=True)(images)
        return 3 * 2 * sum(map(_count_products, graph.get_operations()))


def _count_products(op):
    if op.type == "MatMul":
        inputs = op.inputs[0].shape[0 if op.get_attr("transpose_a") else 1]
        return op.outputs[0].shape.num_elements() * inputs.value
    if op.type not in _CONVOLUTIONS:
        return 0
    *kernel, inputs, _ = op.inputs[1].shape.as_list()
    products = op.outputs[0].shape.num_elements()
    for length in kernel:
        products *= length
    return products * (1 if op.type == "DepthwiseConv2dNative" else inputs)


def measure_peaks() -> dict[str, float]:
    """Returns the FLOP/s of matrix products by precision."""

    def build_product(dtype):
        def build_for(size):
            with tf.Graph().as_default():
                matrix = tf.Variable(lambda: tf.ones([size, size], dtype))
                product = tf.matmul(matrix, matrix)
                session = tf.Session()
                session.run(matrix.initializer)
            return session.make_callable(product.op)

        return build_for

    return {
        name: serving.measure_peak(build_product(dtype))
        for name, dtype in _DTYPES.items()
    }


if __name__ == "__main__":
    serving.serve(build, measure_peaks)
