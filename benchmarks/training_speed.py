r"""Compares training speed on a dataset with the same step on synthetic data.

  python -m benchmarks.training_speed --dataset_dir=data mobilenet_v1 resnet_v1_50

All are measured in alternating blocks in one process, so other load on the machine
hardly affects the ratios, which are the cost of the input pipeline and of the
augmentations of --augment. Before each block some steps are not measured: they use up,
or make room for, what was prefetched.
"""

import functools
import statistics
import time

import numpy as np

from benchmarks import options as options_
from datasets import dataset_factory, decoded_images, input_pipeline
from deployment import model_deploy, precision
from deployment.models.spec import ModelSpec
from deployment.train import available_memory, precision_choice, step, training
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
                config=precision_choice.build_session_config(config)
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


def list_sources(name, dataset, size, options):
    """Returns functions that build batches, by what they are called."""
    batch_size = options.batch_size

    def read(augment):
        return functools.partial(
            input_pipeline.build_batches,
            dataset,
            preprocessing_factory.get_preprocessing(
                preprocessing_factory.get_full_name(
                    nets_factory.get_network(name).preprocessing, augment
                ),
                is_training=True,
                augment=augment,
            ),
            size,
            size,
            batch_size,
            is_training=True,
            seed=0,  # As in training, where the stream is reproducible.
            cache=options.cache,
            free_memory=available_memory.find_available(),
        )

    def synthesize():
        images = np.random.RandomState(0).uniform(-1, 1, [batch_size, size, size, 3])
        labels = np.arange(batch_size) % dataset.num_classes
        batch = (images.astype(np.float32), labels.astype(np.int64))
        return tf.data.Dataset.from_tensors(batch).cache().repeat()

    return {
        "dataset": read(None),
        **{f"augmented by {text}": read(text) for text in options.augment},
        "synthetic": synthesize,
    }


def measure(name, dataset, options):
    """Prints the training speed of one network."""
    network_fn = nets_factory.get_network_fn(
        name, dataset.num_classes, weight_decay=4e-5, is_training=True
    )
    size = options.image_size or network_fn.default_image_size
    config = training.TrainingConfig(
        train_dir="unused",
        spec=ModelSpec(
            model_name=name, num_outputs=dataset.num_classes, image_size=size
        ),
        num_samples=dataset.num_samples,
        batch_size=options.batch_size,
        deployment=model_deploy.choose_deployment(),
        precision=options.precision,
    )
    sources = list_sources(name, dataset, size, options)
    trainers = [Trainer(config, network_fn, source) for source in sources.values()]
    if options.cache != "off":
        # One epoch and what is in progress fill the cache.
        for trainer in trainers[:-1]:
            trainer.run(dataset.num_samples // options.batch_size + _UNMEASURED_STEPS)
    rows = [[t.measure(options.steps) for t in trainers] for _ in range(options.blocks)]
    print(
        f"{name} at {size} pixels, batch {options.batch_size}, {options.precision}, "
        f"cache {options.cache} (medians of {options.blocks} blocks of "
        f"{options.steps} steps):"
    )
    for source, secs in zip(sources, zip(*rows, strict=True), strict=True):
        rate = options.batch_size / statistics.median(secs)
        over = [
            statistics.median(row[k] / own for row, own in zip(rows, secs, strict=True))
            for k in (0, -1)
        ]
        print(
            f"  {source}: {rate:.1f} images/s, {over[0]:.3f} of the dataset's, "
            f"{over[1]:.3f} of the synthetic",
            flush=True,
        )


def main():
    parser = options_.make_training_parser(__doc__, blocks=5)
    parser.add_argument(
        "--image_size", type=int, help="in pixels; unset: the network's"
    )
    parser.add_argument("--cache", choices=decoded_images.MODES, default="auto")
    parser.add_argument(
        "--augment", action="append", default=[], help="to compare; may be repeated"
    )
    parser.add_argument(
        "--precision", choices=precision.PRECISIONS[1:], default="float32"
    )
    options = parser.parse_args()
    dataset = dataset_factory.get_dataset(
        options.dataset_name, "train", options.dataset_dir
    )
    for name in options.networks:
        measure(name, dataset, options)


if __name__ == "__main__":
    main()
