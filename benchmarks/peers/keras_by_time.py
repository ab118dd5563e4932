"""Trains as Keras' image classification tutorial does, until the time is up.

Images are kept in memory, mirrored and rotated, and trained on with Adam and a learning
rate of 0.001. The network is keras.applications.MobileNet with a quarter of the
channels. Validation comes after the time.
"""

import time

import keras
import tensorflow as tf

from benchmarks.peers import timed


class Deadline(keras.callbacks.Callback):
    """Ends the training after some seconds."""

    def __init__(self, secs: float):
        super().__init__()
        self.steps = 0
        self._secs = secs
        self._end = None

    def on_train_begin(self, logs=None):
        self._end = time.monotonic() + self._secs

    def on_train_batch_end(self, batch, logs=None):
        self.steps += 1
        if time.monotonic() >= self._end:
            self.model.stop_training = True


def main():
    options = timed.parse_options()
    keras.utils.set_random_seed(options.seed)
    size = (options.image_size, options.image_size)

    def load(folder, shuffle):
        return keras.utils.image_dataset_from_directory(
            folder, image_size=size, batch_size=options.batch_size, shuffle=shuffle,
            seed=options.seed, verbose=False,
        )  # fmt: skip

    train = load(options.train, shuffle=True)
    num_classes = len(train.class_names)
    train = train.cache().shuffle(1000).prefetch(tf.data.AUTOTUNE)
    model = keras.Sequential(
        [
            keras.layers.Input((*size, 3)),
            keras.layers.RandomFlip("horizontal"),
            keras.layers.RandomRotation(0.1),
            keras.layers.Rescaling(1 / 127.5, offset=-1),
            keras.applications.MobileNet(
                (*size, 3), alpha=0.25, weights=None, classes=num_classes
            ),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    deadline = Deadline(options.secs)
    model.fit(train, epochs=10**6, verbose=0, callbacks=[deadline])
    validation = load(options.validation, shuffle=False)
    _, accuracy = model.evaluate(validation, verbose=0)
    timed.report(accuracy, deadline.steps)


if __name__ == "__main__":
    main()
