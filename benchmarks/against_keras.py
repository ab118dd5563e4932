r"""Compares the training speed of networks with Keras, both on synthetic images.

  python -m benchmarks.against_keras mobilenet_v1 resnet_v1_50 inception_v3

Keras needs TensorFlow 2 behavior, so the two cannot share a process. Two processes
alternate between blocks of steps, so other load on the machine hardly affects the
ratio. Inception v3 of Keras has no auxiliary classifier.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time

import numpy as np

# Names of networks to their classes in keras.applications.
NETWORKS = {
    "mobilenet_v1": "MobileNet",
    "resnet_v1_50": "ResNet50",
    "resnet_v1_101": "ResNet101",
    "inception_v3": "InceptionV3",
    "vgg_16": "VGG16",
}
CLASSES = 6


def make_batch(batch_size, size):
    """Returns random images, float32 [batch_size, size, size, 3], and int64 labels."""
    images = np.random.RandomState(0).uniform(-1, 1, [batch_size, size, size, 3])
    return images.astype(np.float32), np.arange(batch_size) % CLASSES


def build_ours(name, batch_size, size):
    """Returns a function that runs one training step."""
    from benchmarks.training_speed import Trainer
    from deployment import model_deploy
    from deployment.models.spec import ModelSpec
    from deployment.train import training
    from nets import nets_factory
    from tf_slim_compat import tf

    def synthetic():
        batch = make_batch(batch_size, size)
        return tf.data.Dataset.from_tensors(batch).cache().repeat()

    config = training.TrainingConfig(
        train_dir="unused",
        spec=ModelSpec(model_name=name, num_outputs=CLASSES, image_size=size),
        num_samples=1000,
        batch_size=batch_size,
        deployment=model_deploy.choose_deployment(),
    )
    network_fn = nets_factory.get_network_fn(
        name, CLASSES, weight_decay=4e-5, is_training=True
    )
    trainer = Trainer(config, network_fn, synthetic)
    return lambda: trainer.run(1)


def build_keras(name, batch_size, size):
    """Returns a function that runs one training step."""
    import keras
    import tensorflow as tf

    model = getattr(keras.applications, NETWORKS[name])(
        input_shape=(size, size, 3), weights=None, classes=CLASSES
    )
    loss = "sparse_categorical_crossentropy"
    model.compile(optimizer="rmsprop", loss=loss, metrics=["accuracy"])
    images, labels = map(tf.constant, make_batch(batch_size, size))
    return lambda: model.train_on_batch(images, labels)


def serve(step):
    """Runs as many steps as each line of standard input says; prints the seconds."""
    for line in sys.stdin:
        started = time.perf_counter()
        for _ in range(int(line)):
            step()
        print(time.perf_counter() - started, flush=True)


class Worker:
    """A process that trains one network on request."""

    def __init__(self, which, name, batch_size, size):
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "benchmarks.against_keras", name),
                f"--serve={which}",
                f"--batch_size={batch_size}",
                f"--image_size={size}",
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
            text=True,
        )

    def take(self, steps):
        """Runs some steps; returns the seconds that they took."""
        print(steps, file=self._process.stdin, flush=True)
        return float(self._process.stdout.readline())

    def close(self):
        self._process.stdin.close()
        self._process.wait()


def compare(name, options):
    """Prints the training speed of one network."""
    from nets import nets_factory

    size = options.image_size or nets_factory.get_network(name).default_image_size
    batch_size = options.batch_size
    workers = [Worker(which, name, batch_size, size) for which in ("ours", "keras")]
    for worker in workers:
        worker.take(2)
    blocks = [
        [worker.take(options.steps) for worker in workers]
        for _ in range(options.blocks)
    ]
    for worker in workers:
        worker.close()
    ours, keras = (
        batch_size * options.steps / statistics.median(column)
        for column in zip(*blocks, strict=True)
    )
    ratio = statistics.median(keras / ours for ours, keras in blocks)
    print(
        f"{name}: {ours:.1f} images/s, Keras {keras:.1f}; ratio {ratio:.2f} (median of "
        f"{options.blocks} pairs of {options.steps} steps)",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("networks", nargs="+", choices=sorted(NETWORKS))
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--image_size", type=int, help="default: the network's own")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--serve", choices=("ours", "keras"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    for name in options.networks:
        if options.serve:
            build = build_ours if options.serve == "ours" else build_keras
            serve(build(name, options.batch_size, options.image_size))
        else:
            compare(name, options)


if __name__ == "__main__":
    main()
