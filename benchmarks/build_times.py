r"""Measures how long the training graph of each network takes to build.

  python -m benchmarks.build_times
  python -m benchmarks.build_times nasnet_large pnasnet_large

The graphs include gradients. Each is built in its own process, as in training.
"""

import argparse
import multiprocessing
import time

from nets import nets_factory
from tf_slim_compat import tf

CLASSES, IMAGES = 1000, 2


def build(name):
    """Builds the training graph of a network; returns the seconds taken."""
    network_fn = nets_factory.get_network_fn(
        name, CLASSES, weight_decay=4e-5, is_training=True
    )
    size = network_fn.default_image_size
    frames = [16] if name in ("i3d", "s3dg") else []
    started = time.perf_counter()
    with tf.Graph().as_default():
        images = tf.placeholder(tf.float32, [IMAGES, *frames, size, size, 3])
        logits, _ = network_fn(images)
        labels = tf.one_hot(tf.range(IMAGES), CLASSES)
        logits = tf.reshape(logits, [IMAGES, CLASSES])
        tf.losses.softmax_cross_entropy(labels, logits)
        tf.train.RMSPropOptimizer(0.1).minimize(tf.losses.get_total_loss())
    return time.perf_counter() - started


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("networks", nargs="*", help="default: all")
    options = parser.parse_args()
    names = options.networks or nets_factory.list_networks()
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for name, seconds in zip(names, pool.imap(build, names), strict=True):
            print(f"{name:32} {seconds:5.1f} s", flush=True)


if __name__ == "__main__":
    main()
