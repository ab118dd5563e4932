r"""Compares predictions in 8-bit integers with those in float, by runtime.

  python -m benchmarks.int8_speed mobilenet_v1 resnet_v1_50

Networks have random weights, which the speed does not depend on. All files take turns
with one image at a time, in one process. Printed are the shortest times, which other
load on the machine lengthens least, and their ratios. Needs the packages of the extras
onnx and openvino.
"""

import os
import tempfile
import time

import numpy as np

from benchmarks import options
from benchmarks.inference_speed import export_fresh
from deployment import formats

_RUNTIMES = {
    "TFLite": ("tflite", "tflite_int8"),
    "ONNX Runtime": ("onnx", "onnx_int8"),
    "OpenVINO": ("openvino", "openvino_int8"),
}
_WARM_UP = 3


def measure(paths, image, rounds):
    """Returns format -> shortest time of a prediction in milliseconds."""
    opened = {name: formats.open_predictor(path) for name, path in paths.items()}
    shortest = dict.fromkeys(opened, float("inf"))
    for number in range(_WARM_UP + rounds):
        for name, predictor in opened.items():
            started = time.perf_counter()
            predictor.predict(image)
            secs = time.perf_counter() - started
            if number >= _WARM_UP:
                shortest[name] = min(shortest[name], secs * 1e3)
    return shortest


def main():
    parser = options.make_parser(__doc__)
    parser.add_argument("networks", nargs="+")
    parser.add_argument("--rounds", type=int, default=300)
    arguments = parser.parse_args()
    names = [name for both in _RUNTIMES.values() for name in both]
    for network in arguments.networks:
        with tempfile.TemporaryDirectory() as folder:
            paths, size = export_fresh(network, os.path.join(folder, "out"), names)
            image = np.random.RandomState(1).uniform(-1, 1, [1, size, size, 3])
            shortest = measure(paths, image.astype(np.float32), arguments.rounds)
        for runtime, (exact, int8) in _RUNTIMES.items():
            print(
                f"{network} at {size} pixels, {runtime}: float {shortest[exact]:.1f} "
                f"ms, int8 {shortest[int8]:.1f} ms, "
                f"{shortest[exact] / shortest[int8]:.2f} times as fast",
                flush=True,
            )


if __name__ == "__main__":
    main()
