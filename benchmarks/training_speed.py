r"""Compares training speed on a dataset with the same step on synthetic data.

  python -m benchmarks.training_speed --dataset_dir=data mobilenet_v1 resnet_v1_50

Both are measured in alternating blocks in one process, so other load on the machine
hardly affects the ratio, which is the cost of the input pipeline. Before each block
some steps are not measured: they use up, or make room for, what was prefetched.
"""

import functools
import statistics
import time

import numpy as np

from benchmarks import options as options_
from datasets import dataset_factory, decoded_images, input_pipeline
from deployment import model_deploy
from deployment.models.spec import ModelSpec
from deployment.train import available_memory, step, training
from nets import nets_factory
from preprocessing import preprocessing_factory
from tf_slim_compat import tf

_UNMEASURED_STEPS = 6


class Trainer:
    """A training graph with its session; `run(n)` runs n steps."""

    def __init__(self, config, network_fn, build_batches):
        with tf.Graph().as_default():
            graph = step.build_training_graph(config, network_fn, build_batches)
            self._train_op = graph.train_op
            self._session = tf.Session(
                config=model_deploy.build_session_config(config.deployment)
            )
            self._session.run(
                [tf.global_variables_initializer(), tf.tables_initializer()]
            )

    def run(self, steps):
        """Runs some steps; returns the seconds per step."""
        started = time.perf_counter()
        for _ in range(steps):
            self._session.run(self._train_op)
        return (time.perf_counter() - started) / steps

    def measure(self, steps):
        """Runs some steps; returns the seconds per step in the steady state."""
        self.run(_UNMEASURED_STEPS)
        return self.run(steps)


def measure(name, dataset, options):
    """Prints the training speed of one network."""
    network_fn = nets_factory.get_network_fn(
        name, dataset.num_classes, weight_decay=4e-5, is_training=True
    )
    size = options.image_size or network_fn.default_image_size
    batch_size = options.batch_size
    preprocessing_fn = preprocessing_factory.get_preprocessing(name, is_training=True)
    real = functools.partial(
        input_pipeline.build_batches,
        dataset,
        preprocessing_fn,
        size,
        size,
        batch_size,
        is_training=True,
        seed=0,  # As in training, where the stream is reproducible.
        cache=options.cache,
        free_memory=available_memory.find_available(),
    )

    def synthetic():
        images = np.random.RandomState(0).uniform(-1, 1, [batch_size, size, size, 3])
        labels = np.arange(batch_size) % dataset.num_classes
        batch = (images.astype(np.float32), labels.astype(np.int64))
        return tf.data.Dataset.from_tensors(batch).cache().repeat()

    config = training.TrainingConfig(
        train_dir="unused",
        spec=ModelSpec(
            model_name=name, num_outputs=dataset.num_classes, image_size=size
        ),
        num_samples=dataset.num_samples,
        batch_size=batch_size,
        deployment=model_deploy.choose_deployment(),
    )
    trainers = [
        Trainer(config, network_fn, real),
        Trainer(config, network_fn, synthetic),
    ]
    if options.cache != "off":
        # One epoch and what is in progress fill the cache.
        trainers[0].run(dataset.num_samples // batch_size + _UNMEASURED_STEPS)
    secs = [[t.measure(options.steps) for t in trainers] for _ in range(options.blocks)]
    rates = [
        batch_size / statistics.median(column) for column in zip(*secs, strict=True)
    ]
    ratio = statistics.median(synthetic / real for real, synthetic in secs)
    print(
        f"{name} at {size} pixels, batch {batch_size}, cache "
        f"{options.cache}: {rates[0]:.1f} images/s from "
        f"the dataset, {rates[1]:.1f} synthetic; ratio {ratio:.3f} "
        f"(median of {options.blocks} pairs of {options.steps} steps)",
        flush=True,
    )


def main():
    parser = options_.make_training_parser(__doc__, blocks=5)
    parser.add_argument(
        "--image_size", type=int, help="in pixels; unset: the network's"
    )
    parser.add_argument("--cache", choices=decoded_images.MODES, default="auto")
    options = parser.parse_args()
    dataset = dataset_factory.get_dataset(
        options.dataset_name, "train", options.dataset_dir
    )
    for name in options.networks:
        measure(name, dataset, options)


if __name__ == "__main__":
    main()
