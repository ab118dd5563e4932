"""Models of Keras Applications with random weights, and their logits.

Keras needs the eager execution that `tf_slim_compat` turns off, so they are made in
another process:

    python tests/keras_models.py FOLDER TABLE_IN_JSON
"""

import json
import os
import pathlib
import subprocess
import sys
import types

import numpy as np


def make(folder, cases):
    """Writes FOLDER/NAME.npz, the images, [2, size, size, 3] in 0 to 255, and logits.

    Args:
      folder: a `pathlib.Path`; the weights are written to it, too.
      cases: dicts of name (the file of the weights), application, arguments, mode,
        size and classes; the ending of the name is the format.

    Returns:
      A function from a name to the path of the weights, the images and the logits.
    """
    subprocess.run(
        [sys.executable, __file__, str(folder), json.dumps(cases)],
        check=True,
        capture_output=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )

    def load(name):
        with np.load(folder / f"{name}.npz") as found:
            return types.SimpleNamespace(path=str(folder / name), **found)

    return load


def sample(rng, layer, leaf, shape):
    """Returns weights with which the signal neither fades nor grows."""
    if leaf == "moving_variance":
        return rng.uniform(0.5, 1.5, shape)
    if leaf == "gamma":
        return rng.uniform(0.8, 1.2, shape)
    if len(shape) == 1:
        return rng.standard_normal(shape) * 0.1
    is_depthwise = "depthwise" in leaf or "Depthwise" in type(layer).__name__
    fan_in = np.prod(shape[:2] if is_depthwise else shape[:-1])
    return rng.standard_normal(shape) * np.sqrt(2 / fan_in)


def make_one(folder, name, application, arguments, mode, size, classes):
    import keras

    # Auto-numbered names start anew.
    keras.backend.clear_session()
    model = getattr(keras.applications, application)(
        weights=None,
        input_shape=(size, size, 3),
        **({"classes": classes} if classes else {"include_top": False}),
        **({"classifier_activation": None} if classes else {}),
        **arguments,
    )
    rng = np.random.default_rng(1)
    for layer in model.layers:
        layer.set_weights(
            [
                sample(rng, layer, weight.path.split("/")[-1], weight.shape)
                for weight in layer.weights
            ]
        )
    # Patches of colors and noise: the means of noise alone are all the same.
    patches = rng.uniform(0, 1, (2, 5, 5, 3)).repeat(size // 5 + 1, 1)
    patches = patches.repeat(size // 5 + 1, 2)[:, :size, :size]
    noise = rng.uniform(0, 255, (2, size, size, 3))
    images = (patches * noise).astype(np.float32)
    inputs = keras.applications.imagenet_utils.preprocess_input(
        images.copy(), data_format="channels_last", mode=mode
    )
    logits = np.asarray(model(inputs, training=False))
    np.savez(folder / f"{name}.npz", images=images, logits=logits)
    write = model.save_weights if name.endswith(".weights.h5") else model.save
    write(folder / name)


if __name__ == "__main__":
    for case in json.loads(sys.argv[2]):
        make_one(pathlib.Path(sys.argv[1]), **case)
