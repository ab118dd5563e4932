"""Trains networks of PyTorch for `benchmarks/against_peers.py`, channels last.

The L2 decay of the weights is in the optimizer, as in torchvision's recipes; Inception
v3 has its auxiliary classifier.
"""

import torch
import torchvision

from benchmarks.peers import serving

_IN_TORCHVISION = {
    "densenet_121": "densenet121",
    "inception_v3": "inception_v3",
    "mobilenet_v2": "mobilenet_v2",
    "mobilenet_v3_large": "mobilenet_v3_large",
    "resnet_v1_50": "resnet50",
    "resnet_v1_101": "resnet101",
    "resnet_v1_152": "resnet152",
    "vgg_16": "vgg16",
    "vgg_19": "vgg19",
}
# Outputs and stride of the blocks of MobileNet v1 (arXiv:1704.04861, table 1).
_MOBILENET_V1_BLOCKS = (
    *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)),
    *([(512, 1)] * 5),
    *((1024, 2), (1024, 1)),
)
_WIDTHS = {
    "mobilenet_v1": 1.0,
    "mobilenet_v1_075": 0.75,
    "mobilenet_v1_050": 0.5,
    "mobilenet_v1_025": 0.25,
}
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def _convolution(
    inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1
) -> torch.nn.Module:
    return torch.nn.Sequential(
        torch.nn.Conv2d(
            inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False
        ),
        torch.nn.BatchNorm2d(outputs),
        torch.nn.ReLU6(inplace=True),
    )


def mobilenet_v1(width: float) -> torch.nn.Module:
    """Returns MobileNet v1, which torchvision lacks."""
    channels = int(32 * width)
    layers = [_convolution(3, channels, 3, 2)]
    for outputs, stride in _MOBILENET_V1_BLOCKS:
        outputs = int(outputs * width)
        layers.append(_convolution(channels, channels, 3, stride, groups=channels))
        layers.append(_convolution(channels, outputs))
        channels = outputs
    return torch.nn.Sequential(
        *layers,
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Dropout(0.001),
        torch.nn.Linear(channels, serving.CLASSES),
    )


def _build_model(name: str) -> torch.nn.Module:
    if name in _WIDTHS:
        return mobilenet_v1(_WIDTHS[name])
    options = {"init_weights": False} if name == "inception_v3" else {}
    return torchvision.models.get_model(
        _IN_TORCHVISION[name], num_classes=serving.CLASSES, **options
    )


def build(name: str, precision: str, batch_size: int, size: int):
    """Returns a training step and a description; see `serving.serve`."""
    model = _build_model(name).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.RMSprop(
        model.parameters(),
        lr=serving.LEARNING_RATE,
        alpha=serving.DECAY,
        eps=serving.EPSILON,
        momentum=serving.MOMENTUM,
        weight_decay=serving.WEIGHT_DECAY,
    )
    images, labels = map(torch.from_numpy, serving.make_batch(batch_size, size))
    images = images.permute(0, 3, 1, 2)  # Channels last in memory already.
    in_lower = torch.autocast("cpu", torch.bfloat16, precision == "bfloat16")

    def step():
        with in_lower:
            outputs = model(images)
            logits, *others = outputs if isinstance(outputs, tuple) else (outputs,)
            loss = torch.nn.functional.cross_entropy(logits, labels)
            for other in others:
                auxiliary = torch.nn.functional.cross_entropy(other, labels)
                loss = loss + serving.AUXILIARY_LOSS_WEIGHT * auxiliary
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step, f"PyTorch {torch.__version__}"


def measure_peaks() -> dict[str, float]:
    """Returns the FLOP/s of matrix products by precision."""

    def build_product(dtype):
        def build_for(size):
            matrix = torch.rand(size, size).to(dtype)
            return lambda: torch.matmul(matrix, matrix)

        return build_for

    return {
        name: serving.measure_peak(build_product(dtype))
        for name, dtype in _DTYPES.items()
    }


if __name__ == "__main__":
    serving.serve(build, measure_peaks)
