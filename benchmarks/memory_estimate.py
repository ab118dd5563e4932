r"""Compares the estimate of a training step's memory with what one step takes.

  python benchmarks/memory_estimate.py mobilenet_v1_025:224:32 vgg_16:224:4

Each network, with its image size and batch size, trains for one step on noise, with
RMSProp, in a process of its own. The estimate (deployment/train/memory.py) must stay
below the peak: a run that would fit is never refused.
"""

import functools
import multiprocessing
import pathlib
import resource
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from deployment.models.spec import ModelSpec
from deployment.optimize.optimizers import OptimizerConfig
from deployment.text import format_table
from deployment.train import memory, step, training
from nets import nets_factory
from tf_slim_compat import tf

DEFAULT = (
    "mobilenet_v1_025:224:32", "mobilenet_v1_025:224:128", "inception_v3:160:16",
    "resnet_v1_50:224:16", "vgg_16:224:4",
)  # fmt: skip


def build_noise(size, batch_size, seed, start_image):
    del seed, start_image
    image = tf.random.uniform([size, size, 3])
    examples = tf.data.Dataset.from_tensors((image, tf.constant(3, tf.int64)))
    return examples.repeat().batch(batch_size, drop_remainder=True).prefetch(2)


def measure(name, size, batch_size):
    """Returns (estimate, peak beyond the memory before the first step), in GB."""
    found = {}
    build = step.build_training_graph

    def build_and_estimate(*args):
        graph = build(*args)
        needs = memory.estimate(tf.get_default_graph(), batch_size)
        pages = pathlib.Path("/proc/self/statm").read_text().split()[1]
        found.update(estimate=needs.total(batch_size), before=int(pages) * 4096)
        return graph

    step.build_training_graph = build_and_estimate
    with tempfile.TemporaryDirectory() as folder:
        spec = ModelSpec(model_name=name, num_outputs=1000, image_size=size)
        config = training.TrainingConfig(
            train_dir=folder,
            spec=spec,
            num_samples=1000,
            batch_size=batch_size,
            number_of_steps=1,
            save_summaries_secs=0,
            optimizer=OptimizerConfig("rmsprop"),
            on_bad_numbers="skip",
        )
        network_fn = nets_factory.get_network_fn(name, 1000, 4e-5, is_training=True)
        training.train(
            config, network_fn, functools.partial(build_noise, size, batch_size)
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return found["estimate"] / 1e9, (peak - found["before"]) / 1e9


def main():
    rows = []
    for case in sys.argv[1:] or DEFAULT:
        name, size, batch_size = case.split(":")
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            estimate, peak = pool.apply(measure, (name, int(size), int(batch_size)))
        numbers = f"{estimate:.2f}", f"{peak:.2f}", f"{estimate / peak:.2f}"
        rows.append([name, size, batch_size, *numbers])
    header = ["network", "pixels", "batch", "estimate, GB", "peak, GB", "ratio"]
    print(format_table(header, rows, range(1, 6)))


if __name__ == "__main__":
    main()
