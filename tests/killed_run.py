"""Trains in a process that is killed at exact points and started again each time.

  python tests/killed_run.py DATA_DIR TRAIN_DIR STEPS

Every image has its own class. Each step appends a line to TRAIN_DIR.log: its number
and the classes in its batch. A child reports when it reaches the point where it is to
die, and stays there until it is killed. The last child runs to the end.
"""

import os
import random
import signal
import sys
import threading
import time

from datasets import dataset_factory, input_pipeline
from deployment import model_deploy
from deployment.models import checkpoint_state
from deployment.models.spec import ModelSpec
from deployment.train import loop, training
from tf_slim_compat import slim, tf

BATCH_SIZE = 4
STEPS_PER_CHECKPOINT = 3
# Where a child dies: an event, and how often it must have happened in that child.
FIRST_KILL = ("step", 5)  # After the first checkpoint, so that the others resume.
KILLS = [
    *(("step", count) for count in (1, 1, 2, 3, 4, 4, 5, 5)),
    ("building", 1),
    ("building", 1),
    ("restored", 1),
    ("restored", 1),
    ("saving", 1),  # Anywhere in the save.
    ("saving", 1),
    ("saving", 2),
    ("written", 1),  # The files are complete, but the checkpoint is not listed yet.
    ("written", 2),
    ("listed", 1),  # As training resumes.
    ("listed", 2),  # Old checkpoints are not deleted yet.
]


def plan_kills() -> list[tuple[str, int]]:
    """Returns the kills in their order: the same in every run."""
    others = list(KILLS)
    random.Random(0).shuffle(others)
    return [FIRST_KILL, *others]


def main(data_dir: str, train_dir: str, steps: str) -> int:
    # Importing TensorFlow takes longer than the run, so children are forked after it.
    for event, count in plan_kills():
        reader, writer = os.pipe()
        child = start(data_dir, train_dir, int(steps), Death(event, count, writer))
        os.close(writer)
        reached = os.read(reader, 1)  # Empty if the child ends without reaching it.
        os.close(reader)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        print(f"{'killed' if reached else 'ended early'}: {event}", flush=True)
    child = start(data_dir, train_dir, int(steps), Death(None, 0, None))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


class Death:
    """The point at which a process waits to be killed."""

    def __init__(self, event: str | None, count: int, report_to: int | None):
        self._event = event
        self._count = count
        self._report_to = report_to
        self._is_reported = False

    def reach(self, event: str) -> None:
        """Reports and waits if this is the point."""
        if self._is_reported:
            self._wait()
        if event != self._event:
            return
        self._count -= 1
        if self._count == 0:
            os.write(self._report_to, b".")
            self._is_reported = True
            if event != "saving":  # A save goes on while it is killed.
                self._wait()

    @staticmethod
    def _wait() -> None:
        threading.Event().wait()


def start(data_dir: str, train_dir: str, steps: int, death: Death) -> int:
    """Starts training in a child; returns its process id."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            count_time_in_steps()
            skip_graph_optimization()
            report_checkpoint_events(death)
            result = train(data_dir, train_dir, steps, death)
            print(f"ended at step {result.step} with loss {result.loss}", flush=True)
            status = 0
        finally:
            os._exit(status)
    return child


class Clock:
    """A clock that advances by a second per step."""

    now = 0.0

    @classmethod
    def read(cls) -> float:
        cls.now += 1e-6  # Rates are divided by the time that has passed.
        return cls.now


def count_time_in_steps() -> None:
    """Makes `save_interval_secs` mean steps, so that saves do not depend on speed."""
    time.monotonic = Clock.read


def skip_graph_optimization() -> None:
    """Leaves graphs as they are: optimizing takes longer than the few steps."""
    build = model_deploy.build_session_config

    def build_session_config(deployment):
        config = build(deployment)
        config.graph_options.rewrite_options.disable_meta_optimizer = True
        return config

    model_deploy.build_session_config = build_session_config


def report_checkpoint_events(death: Death) -> None:
    """Reports what the saver is doing."""

    def report(place, method, before=None, after=None):
        original = getattr(place, method)

        def reporting(*args, **kwargs):
            if before is not None:
                death.reach(before)
            result = original(*args, **kwargs)
            if after is not None:
                death.reach(after)
            return result

        setattr(place, method, reporting)

    report(tf.train.Saver, "restore", after="restored")
    report(tf.train.Saver, "save", before="saving", after="written")
    report(checkpoint_state, "write", after="listed")


def train(
    data_dir: str, train_dir: str, steps: int, death: Death
) -> loop.TrainingResult:
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

    def log(step, labels):
        with open(f"{train_dir}.log", "a") as file:
            file.write(f"{step + 1}: {' '.join(map(str, labels))}\n")
        Clock.now += 1
        death.reach("step")
        return step

    def network_fn(images):
        death.reach("building")
        labels = tf.cast(images[:, 0, 0, 0], tf.int64)
        step = tf.train.get_global_step().read_value()
        logged = tf.py_func(log, [step, labels], tf.int64)
        with tf.control_dependencies([logged]):
            net = slim.flatten(tf.identity(images) / 128 - 1)
        net = slim.batch_norm(slim.fully_connected(net, 16), is_training=True)
        return slim.fully_connected(net, dataset.num_classes, activation_fn=None), {}

    config = training.TrainingConfig(
        train_dir=train_dir,
        spec=ModelSpec(model_name="small", num_outputs=dataset.num_classes),
        num_samples=dataset.num_samples,
        batch_size=BATCH_SIZE,
        number_of_steps=steps,
        deployment=model_deploy.DeploymentConfig(clone_on_cpu=True),
        seed=7,
        save_summaries_secs=0,
        save_interval_secs=STEPS_PER_CHECKPOINT,
        precision="float32",  # The steps of a trial would be logged as well.
    )
    return training.train(config, network_fn, build_batches)


def write_label_into_image(
    images: tf.Tensor, labels: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Writes the label into the first row: the network function sees images only."""
    row = tf.tile(
        tf.cast(labels, tf.float32)[:, None, None, None], [1, 1, *images.shape[2:]]
    )
    return tf.concat([row, images[:, 1:]], 1), labels


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
