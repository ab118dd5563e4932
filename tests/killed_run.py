"""Trains on real files in a process that is killed, and started again, and killed.

  python tests/killed_run.py DATA_DIR TRAIN_DIR KILLS STEPS

Every image has a class of its own. Each step writes a line to TRAIN_DIR.log: its
number and the classes that it saw. The last start is left to end.
"""

import os
import random
import signal
import sys
import time

from datasets import dataset_factory, input_pipeline
from deployment import model_deploy
from deployment.train import training
from tf_slim_compat import slim, tf

BATCH_SIZE = 4


def main(data_dir, train_dir, kills, steps):
    rng = random.Random(0)
    for number in range(int(kills)):
        # Importing TensorFlow takes longer than the run: a child begins after that.
        child = start(data_dir, train_dir, int(steps))
        if number % 4 == 3:  # While it starts; else after some steps.
            time.sleep(rng.uniform(0, 2))
        else:
            wait_for_steps(f"{train_dir}.log")
            time.sleep(rng.uniform(0, 0.5))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        print(f"killed: {os.WIFSIGNALED(status)}", flush=True)
    _, status = os.waitpid(start(data_dir, train_dir, int(steps)), 0)
    return os.waitstatus_to_exitcode(status)


def start(data_dir, train_dir, steps):
    child = os.fork()
    if child == 0:
        result = train(data_dir, train_dir, steps)
        print(f"ended at step {result.step} with loss {result.loss}", flush=True)
        os._exit(0)
    return child


def wait_for_steps(log):
    """Returns as soon as there are more lines."""
    size = os.path.getsize(log) if os.path.exists(log) else 0
    while not os.path.exists(log) or os.path.getsize(log) == size:
        time.sleep(0.01)


def train(data_dir, train_dir, steps):
    dataset = dataset_factory.get_dataset("image_folder", "train", data_dir)

    def preprocessing_fn(image, height, width):
        return tf.image.resize(image, [height, width])

    def build_batches(seed, start_image):
        batches = input_pipeline.build_batches(
            dataset,
            preprocessing_fn,
            8,
            8,
            BATCH_SIZE,
            is_training=True,
            seed=seed,
            start_image=start_image,
        )
        return batches.map(write_label_into_image)

    def network_fn(images):
        labels = tf.cast(images[:, 0, 0, 0], tf.int64)
        step = tf.train.get_global_step().read_value()
        log = tf.py_func(Log(train_dir), [step, labels], tf.int64)
        with tf.control_dependencies([log]):
            net = slim.flatten(tf.identity(images) / 128 - 1)
        net = slim.batch_norm(slim.fully_connected(net, 16), is_training=True)
        return slim.fully_connected(net, dataset.num_classes, activation_fn=None), {}

    config = training.TrainingConfig(
        train_dir=train_dir,
        num_classes=dataset.num_classes,
        num_samples=dataset.num_samples,
        batch_size=BATCH_SIZE,
        number_of_steps=steps,
        deployment=model_deploy.DeploymentConfig(clone_on_cpu=True),
        seed=7,
        save_interval_secs=0.1,
    )
    return training.train(config, network_fn, build_batches)


def write_label_into_image(images, labels):
    """The network sees images alone, and should be able to tell which they are."""
    row = tf.tile(
        tf.cast(labels, tf.float32)[:, None, None, None], [1, 1, *images.shape[2:]]
    )
    return tf.concat([row, images[:, 1:]], 1), labels


class Log:
    """Writes a line for every step."""

    def __init__(self, train_dir):
        self._path = f"{train_dir}.log"

    def __call__(self, step, labels):
        with open(self._path, "a") as file:
            file.write(f"{step + 1}: {' '.join(map(str, labels))}\n")
        return step


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
