r"""Measures the overhead of the training loop over the bare step.

  python -m benchmarks.loop_cost --dataset_dir=data mobilenet_v1

The bare step is a graph with nothing but the update. The training loop also checks
that losses and gradients are finite, measures accuracy and the time spent waiting for
data, reports progress, writes its history and summaries, and is ready to save and
stop. Both read the same dataset in alternating blocks in one process, without
validation.
"""

import functools
import statistics
import tempfile
import time

from benchmarks import options as options_
from datasets import dataset_factory, input_pipeline
from deployment import model_deploy
from deployment.models.history import History
from deployment.models.spec import ModelSpec
from deployment.optimize.optimizers import build_optimizer
from deployment.train import loop, step, training
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
    """Returns a function that runs the update and nothing else."""
    with tf.Graph().as_default():
        iterator = tf.data.make_initializable_iterator(build_batches())
        tf.add_to_collection(tf.GraphKeys.TABLE_INITIALIZERS, iterator.initializer)

        def model_fn():
            images, labels = iterator.get_next()
            logits, _ = network_fn(images)
            tf.losses.softmax_cross_entropy(
                tf.one_hot(labels, config.spec.num_outputs), logits
            )

        optimizer = build_optimizer(config.optimizer, config.schedule.initial)
        model = model_deploy.deploy(config.deployment, model_fn, optimizer=optimizer)
        session = make_session(config)
    return lambda: session.run(model.train_op)


def make_full_step(config, network_fn, build_batches):
    """Returns a function that runs a step of the training loop."""
    with tf.Graph().as_default() as graph:
        parts = step.build_training_graph(config, network_fn, build_batches)
        train_step = loop.TrainingLoop(config, parts, History(config.train_dir))
        session = make_session(config)
        writer = tf.summary.FileWriter(config.train_dir)

    def run():
        with graph.as_default():
            train_step(
                session, parts.train_op, parts.global_step, {"summary_writer": writer}
            )

    return run


def measure(name, dataset, options, folder):
    """Prints the overhead for one network."""
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
        spec=ModelSpec(
            model_name=name, num_outputs=dataset.num_classes, image_size=size
        ),
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
        for take_step in steps if block % 2 else steps[::-1]:
            started = time.perf_counter()
            for _ in range(options.steps):
                take_step()
            pair.append((time.perf_counter() - started) / options.steps)
        pairs.append(pair if block % 2 else pair[::-1])
    pairs = pairs[1:]  # The first block includes tracing and the first summaries.
    cost = statistics.median(full / bare for bare, full in pairs) - 1
    bare, full = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(
        f"{name} at {size} pixels, batch {options.batch_size}: {bare:.3f} s per bare "
        f"step, {full:.3f} s in the training loop; overhead {100 * cost:.1f} % "
        f"(median of {options.blocks} pairs of {options.steps} steps)",
        flush=True,
    )


def main():
    parser = options_.make_training_parser(__doc__, blocks=10)
    parser.add_argument("--image_size", type=int, help="default: the network's own")
    options = parser.parse_args()
    dataset = dataset_factory.get_dataset(
        options.dataset_name, "train", options.dataset_dir
    )
    for name in options.networks:
        with tempfile.TemporaryDirectory() as folder:
            measure(name, dataset, options, folder)


if __name__ == "__main__":
    main()
