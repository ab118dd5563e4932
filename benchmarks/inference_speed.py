r"""Compares inference with ONNX Runtime and OpenVINO, run directly on the same network.

  python -m benchmarks.inference_speed mobilenet_v1 resnet_v1_50 inception_v3

Ours is a frozen graph in each precision that classify_image.py may take, and an
OpenVINO file in the same. Networks have random weights. All take turns in short blocks
in one process, so other load on the machine hardly affects the ratios, which are
medians over the blocks' images/s. Needs the packages of the extras onnx and openvino.
"""

import os
import tempfile

import numpy as np

from benchmarks import frozen_speed, options
from deployment import formats
from deployment.formats import exporting
from deployment.formats.base import ExportOptions
from deployment.formats.freezing import FrozenModel
from deployment.models import graph_folding
from deployment.models.spec import ModelSpec
from deployment.predict import running, speed
from deployment.predict.predictor import FLOAT32, Predictor

_FORMATS = ("frozen", "onnx", "openvino")
_CALIBRATED = 4
_OPENVINO_TYPES = {FLOAT32: "f32", "bfloat16": "bf16"}


class Direct(Predictor):
    """Another runtime's function of images as a predictor."""

    def __init__(self, run):
        self._score = run


def export_fresh(name, folder, names=_FORMATS):
    """Exports a network with random weights; returns format to path, and the size.

    int8 formats are calibrated on random images.
    """
    unfolded, (output, *_), size = frozen_speed.freeze_fresh(name, None)
    model = FrozenModel(
        graph_def=graph_folding.optimize(unfolded, [output]),
        image_shape=(size, size, 3),
        decoded_channels=3,
        logits=f"{output}:0",
        scores=f"{output}:0",
        spec=ModelSpec(model_name=name, num_outputs=1001, image_size=size),
        path="",
    )
    images = np.random.RandomState(0).uniform(-1, 1, [_CALIBRATED, size, size, 3])
    export_options = ExportOptions(None, images.astype(np.float32))
    return exporting.export(model, folder, names, export_options), size


def open_onnx_runtime(path):
    """Returns a `Direct` with ONNX Runtime's defaults."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(path, options)
    (images,) = session.get_inputs()
    return Direct(lambda inputs: session.run(None, {images.name: inputs})[0])


def open_openvino(path, precision):
    """Returns a `Direct` with OpenVINO's defaults, but for the precision."""
    import openvino

    core, compiled = openvino.Core(), {}
    model = core.read_model(path)
    hints = {"INFERENCE_PRECISION_HINT": _OPENVINO_TYPES[precision]}

    def run(inputs):
        if inputs.shape not in compiled:
            fixed = model.clone()
            fixed.reshape(list(inputs.shape))
            compiled[inputs.shape] = core.compile_model(fixed, "CPU", hints)
        return compiled[inputs.shape](inputs)[0]

    return Direct(run)


def open_all(paths):
    """Returns (runtime, precision) to predictor."""
    found = {("ONNX Runtime", FLOAT32): open_onnx_runtime(paths["onnx"])}
    for name in ("frozen", "openvino"):
        opened = formats.open_predictor(paths[name])
        for precision in opened.precisions:
            own = opened if precision == FLOAT32 else opened.reopen(precision)
            found[f"our {name}", precision] = own
            if name == "openvino":
                direct = open_openvino(paths["onnx"], precision)
                found["OpenVINO", precision] = direct
    return found


def compare(name, batch_sizes, secs):
    """Prints the speed of one network in all runtimes."""
    with tempfile.TemporaryDirectory() as folder:
        paths, size = export_fresh(name, os.path.join(folder, "out"))
        opened = open_all(paths)
        images = np.random.RandomState(1).uniform(-1, 1, [8, size, size, 3])
        expected = opened["ONNX Runtime", FLOAT32].predict(images.astype(np.float32))
        shapes = {runtime: (size, size, 3) for runtime, _ in opened}
        speeds = speed.measure(opened, batch_sizes, shapes, secs)
        for case, found in speeds.items():
            scores = opened[case[:2]].predict(images.astype(np.float32))
            base = speeds[speed.Case("ONNX Runtime", FLOAT32, case.batch_size)]
            print(
                f"{name} at {size} pixels, batch {case.batch_size:2d}: {case.model} "
                f"{case.precision:8s} {found.images_per_sec:6.1f} images/s, p50 "
                f"{found.p50_millisecs:.1f} ms; over ONNX Runtime "
                f"{found.images_per_sec / base.images_per_sec:.2f}; scores differ by "
                f"{running.find_difference(scores, expected, None):.1e}",
                flush=True,
            )


def main():
    parser = options.make_parser(__doc__)
    parser.add_argument("networks", nargs="+")
    parser.add_argument("--batch_sizes", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--secs", type=float, default=10, help="of each case")
    arguments = parser.parse_args()
    for name in arguments.networks:
        compare(name, arguments.batch_sizes, arguments.secs)


if __name__ == "__main__":
    main()
