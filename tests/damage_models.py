"""Damages copies of model files and opens them, for a process that may crash.

python damage_models.py COUNT FILE...

A FILE is a model or the `saved_model.pb` of one. Prints a line before each case, so
that the last line of a process that crashed is the case, and another for each outcome.
"""

import pathlib
import random
import sys
import tempfile

import numpy as np

from deployment import formats
from deployment.inspect import graph, graph_loading
from tf_slim_compat import tf


def damage(content, rng):
    """Returns the content cut short, or with bits flipped, zeroed or repeated."""
    data, place = bytearray(content), rng.randrange(len(content))
    kind = rng.choice(["cut", "flip", "flip", "zero", "huge", "repeat"])
    if kind == "cut":
        del data[place:]
    elif kind == "flip":
        # Half of them at the beginning, where formats have their structure.
        for _ in range(rng.choice([1, 1, 4, 32])):
            end = rng.choice([len(data), min(len(data), 2000)])
            data[rng.randrange(end)] ^= 1 << rng.randrange(8)
    elif kind == "zero":
        end = min(len(data), place + rng.choice([1, 4, 64, 4096]))
        data[place:end] = bytes(end - place)
    elif kind == "huge":
        data[place : place + 4] = b"\xff\xff\xff\x7f"
    else:
        data[place:place] = data[place : place + rng.randrange(1, 64)]
    return bytes(data)


def open_model(path):
    """Returns what becomes of a model: an error's sentence, or "ok"."""
    try:
        with formats.open_predictor(path) as predictor:
            height, width = (size or 8 for size in predictor.image_size)
            shape = [2, height, width, predictor.channels]
            if max(shape) < 1000:
                predictor.predict(np.zeros(shape, np.float32))
    except tf.errors.OpError as error:  # Scripts shorten it to a sentence.
        return error.message.split("\n")[0]
    except (OSError, ValueError) as error:
        assert "\n" not in str(error).strip(), error
        return str(error)
    return "ok"


def describe_graph(path):
    try:
        list(graph.describe_graph(graph_loading.load_graph(path)))
    except (OSError, ValueError) as error:
        return str(error)
    return "ok"


def main(count, *files):
    for file in map(pathlib.Path, files):
        content = file.read_bytes()
        for seed in range(int(count)):
            damaged = damage(content, random.Random(f"{file.name} {seed}"))
            print(f"{file} {seed}", flush=True)
            with tempfile.TemporaryDirectory() as folder:
                path = pathlib.Path(folder) / file.name
                path.write_bytes(damaged)
                print("outcome:", open_model(str(path)), flush=True)
                if file.suffix == ".pb":
                    describe_graph(str(path))


if __name__ == "__main__":
    main(*sys.argv[1:])
