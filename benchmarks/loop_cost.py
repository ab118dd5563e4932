r"""What the training loop costs beside the bare step.

  python -m benchmarks.loop_cost --dataset_dir=data mobilenet_v1

The bare loop runs nothing but the update, on a graph that computes nothing else. The
training loop watches losses and gradients for numbers that are not finite, measures
accuracy and the waiting for data, reports progress, writes its history and summaries,
and stands ready to save and stop. Both read the same dataset, in turn, block by
block, in one process; validation is left out.
"""

import argparse
import functools
import statistics
import tempfile
import time

from datasets import dataset_factory, input_pipeline
from deployment import model_deploy
from deployment.models.history import History
from deployment.optimize.optimizers import build_optimizer
from deployment.train import training, training_graph, training_loop
from nets import nets_factory
from preprocessing import preprocessing_factory
from tf_slim_compat import tf


def make_session(config):
    session = tf.Session(config=model_deploy.build_session_config(config.deployment))
    session.run(
        [
            tf.global_variables_initializer(),
            tf.local_variables_initializer(),
            tf.tables_initializer(),
        ]
    )
    return session


def make_bare_step(config, network_fn, build_batches):
    """A function that takes a step and does nothing else."""
    with tf.Graph().as_default():
        iterator = tf.data.make_initializable_iterator(build_batches())
        tf.add_to_collection(tf.GraphKeys.TABLE_INITIALIZERS, iterator.initializer)

        def model_fn():
            images, labels = iterator.get_next()
            logits, _ = network_fn(images)
            tf.losses.softmax_cross_entropy(
                tf.one_hot(labels, config.num_classes), logits
            )

        optimizer = build_optimizer(config.optimizer, config.schedule.initial)
        model = model_deploy.deploy(config.deployment, model_fn, optimizer=optimizer)
        session = make_session(config)
    return lambda: session.run(model.train_op)


def make_full_step(config, network_fn, build_batches):
    """A function that takes a step as training does."""
    with tf.Graph().as_default() as graph:
        parts = training_graph.build_training_graph(config, network_fn, build_batches)
        loop = training_loop.TrainingLoop(config, parts, History(config.train_dir))
        session = make_session(config)
        writer = tf.summary.FileWriter(config.train_dir)

    def step():
        with graph.as_default():
            loop(session, parts.train_op, parts.global_step, {"summary_writer": writer})

    return step


def measure(name, dataset, options, folder):
    """Prints the cost for one network."""
    network_fn = nets_factory.get_network_fn(
        name, dataset.num_classes, weight_decay=4e-5, is_training=True
    )
    size = options.image_size or network_fn.default_image_size
    build_batches = functools.partial(
        input_pipeline.build_batches,
        dataset,
        preprocessing_factory.get_preprocessing(name, is_training=True),
        size,
        size,
        options.batch_size,
        is_training=True,
        seed=1,
    )
    config = training.TrainingConfig(
        train_dir=folder,
        num_classes=dataset.num_classes,
        num_samples=dataset.num_samples,
        batch_size=options.batch_size,
        deployment=model_deploy.choose_deployment(),
        seed=1,
    )
    arguments = config, network_fn, build_batches
    steps = make_bare_step(*arguments), make_full_step(*arguments)
    pairs = []
    for block in range(options.blocks + 1):
        pair = []
        for step in steps if block % 2 else steps[::-1]:
            started = time.perf_counter()
            for _ in range(options.steps):
                step()
            pair.append((time.perf_counter() - started) / options.steps)
        pairs.append(pair if block % 2 else pair[::-1])
    pairs = pairs[1:]  # The first block traces, plans and has the summaries.
    cost = statistics.median(full / bare for bare, full in pairs) - 1
    bare, full = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(
        f"{name} at {size} pixels, batch {options.batch_size}: {bare:.3f} s a bare "
        f"step, {full:.3f} s in the training loop; it costs {100 * cost:.1f} % "
        f"(median of {options.blocks} pairs of {options.steps} steps)",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("networks", nargs="+")
    parser.add_argument("--dataset_name", default="image_folder")
    parser.add_argument("--dataset_dir", required=True)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--image_size", type=int, help="default: the network's own")
    parser.add_argument("--steps", type=int, default=5, help="steps in a block")
    parser.add_argument("--blocks", type=int, default=10)
    options = parser.parse_args()
    dataset = dataset_factory.get_dataset(
        options.dataset_name, "train", options.dataset_dir
    )
    for name in options.networks:
        with tempfile.TemporaryDirectory() as folder:
            measure(name, dataset, options, folder)


if __name__ == "__main__":
    main()
