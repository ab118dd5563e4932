r"""Compares a training step with fake quantization with the same step in float.

  python -m benchmarks.quantized_step mobilenet_v1 resnet_v1_50

On synthetic images, in alternating blocks in one process. Printed are the ratios of the
medians, for a range for each layer and one for each channel.
"""

import statistics

import numpy as np

from benchmarks import options as options_
from benchmarks.training_speed import Trainer
from deployment import model_deploy
from deployment.models.spec import ModelSpec
from deployment.train import training
from nets import nets_factory
from tf_slim_compat import tf

_NUM_CLASSES = 10
_KINDS = {
    "float": {},
    "quantized": {"quantize_delay": 0},
    "before the delay": {"quantize_delay": 10**6},
    "per channel": {"quantize_delay": 0, "quantize_per_channel": True},
}


def measure(name, options):
    """Prints the cost of quantization for a network."""
    network_fn = nets_factory.get_network_fn(
        name, _NUM_CLASSES, weight_decay=4e-5, is_training=True
    )
    size = options.image_size or network_fn.default_image_size
    batch_size = options.batch_size

    def synthesize():
        images = np.random.RandomState(0).uniform(-1, 1, [batch_size, size, size, 3])
        labels = np.arange(batch_size) % _NUM_CLASSES
        batch = (images.astype(np.float32), labels.astype(np.int64))
        return tf.data.Dataset.from_tensors(batch).cache().repeat()

    trainers = [
        Trainer(
            training.TrainingConfig(
                train_dir="unused",
                spec=ModelSpec(
                    model_name=name, num_outputs=_NUM_CLASSES, image_size=size
                ),
                num_samples=1000,
                batch_size=batch_size,
                deployment=model_deploy.choose_deployment(),
                precision="float32",
                **kind,
            ),
            network_fn,
            synthesize,
        )
        for kind in _KINDS.values()
    ]
    rows = [
        [trainer.run(options.steps) for trainer in trainers]
        for _ in range(1 + options.blocks)
    ][1:]
    print(f"{name} at {size} pixels, batch {batch_size}:")
    for kind, secs in zip(_KINDS, zip(*rows, strict=True), strict=True):
        ratio = statistics.median(
            own / row[0] for row, own in zip(rows, secs, strict=True)
        )
        print(f"  {kind}: {statistics.median(secs):.3f} s, {ratio:.2f} of float")


def main():
    parser = options_.make_parser(__doc__)
    parser.add_argument("networks", nargs="+")
    parser.add_argument("--image_size", type=int, help="default: the network's")
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=3, help="steps in a block")
    parser.add_argument("--blocks", type=int, default=5)
    options = parser.parse_args()
    for name in options.networks:
        measure(name, options)


if __name__ == "__main__":
    main()
