"""The networks that Keras Applications have too, and how their layers are named here.

A rule is a regular expression for the name of a layer of Keras, and our scope below the
scope of the network. Where it has several, separated by |, the one that exists counts.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

Rule = tuple[str, str]

_NORM = "(?:_bn|_BN|/BatchNorm)"


@dataclasses.dataclass(frozen=True)
class KerasNetwork:
    """A network of ours whose weights may come from Keras Applications.

    Attributes:
      application: the function in `keras.applications`.
      arguments: its arguments that make it this network.
      rules: names of layers, as above; an auto-numbered layer that no rule matches is
        the convolution, or its normalization, of the same place in order of creation.
      head: our scope of the logits.
      mode: what the weights were trained on: "tf" is [-1, 1], "caffe" is blue, green
        and red without the mean color, "torch" is standardized colors.
      epsilons: what Keras adds to the variance in batch normalization, and what we do.
      gate_scale: the ratio of our gate in squeeze-and-excite blocks to that of Keras.
      image_size: in pixels; where both compute the same; None for the network's own.
      difference: how the architectures differ although the weights fit, in one
        sentence; "" if they do not.
    """

    application: str
    rules: tuple[Rule, ...]
    head: str
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    mode: str = "tf"
    epsilons: tuple[float, float] = (1e-3, 1e-3)
    gate_scale: float = 1.0
    image_size: int | None = None
    difference: str = ""

    @property
    def preprocessing(self) -> str:
        """The name of the preprocessing that the converted weights need."""
        return "inception" if self.mode == "tf" else "vgg"


def _normed(pattern: str, scope: str) -> Iterator[Rule]:
    """Yields the rules of a convolution and of its batch normalization."""
    yield pattern, scope
    yield pattern + _NORM, f"{scope}/BatchNorm"


_ALIGNED_PX = 221
_ALIGNED = (
    "Keras pads {} alike on all sides, we as TensorFlow does, which is the same for "
    f"images of 4n + 1 pixels, such as {_ALIGNED_PX}, but shifted by two pixels at 224"
)
_ZEROS = (
    "Keras pads the {} with zeros, we with nothing, so features at the border of the "
    "image differ; fine-tuning adapts to it"
)

_MOBILENET_HEAD = "Logits/Conv2d_1c_1x1"
_MOBILENET_V1 = (
    *_normed("conv1", "Conv2d_0"),
    *_normed(r"conv_dw_(\d+)", r"Conv2d_\1_depthwise"),
    *_normed(r"conv_pw_(\d+)", r"Conv2d_\1_pointwise"),
)
_MOBILENET_V2 = (
    ("Conv1", "Conv"),
    ("bn_Conv1", "Conv/BatchNorm"),
    *_normed(r"expanded_conv_(depthwise|project)", r"expanded_conv/\1"),
    *_normed(r"block_(\d+)_(expand|depthwise|project)", r"expanded_conv_\1/\2"),
    *_normed("Conv_1", "Conv_1"),
)
_V3_BLOCK = r"(expanded_conv(?:_\d+)?)[_/]"
_MOBILENET_V3 = (
    *_normed("[Cc]onv", "Conv"),
    *_normed(_V3_BLOCK + "(expand|depthwise|project)", r"\1/\2"),
    (_V3_BLOCK + "squeeze_excite[_/][Cc]onv(_1)?", r"\1/squeeze_excite/Conv\2"),
    *_normed("[Cc]onv_1", "Conv_1"),
    ("[Cc]onv_2", "Conv_2"),
)
_INCEPTION_RESNET_V2 = (
    *_normed("conv_7b", "Conv2d_7b_1x1"),
    (r"block35_(\d+)_conv", r"Repeat/block35_\1/Conv2d_1x1"),
    (r"block17_(\d+)_conv", r"Repeat_1/block17_\1/Conv2d_1x1"),
    (r"block8_(\d)_conv", r"Repeat_2/block8_\1/Conv2d_1x1"),
    ("block8_10_conv", "Block8/Conv2d_1x1"),
)
_VGG = (
    (r"block(\d)_conv(\d)", r"conv\1/conv\1_\2"),
    ("fc1", "fc6"),
    ("fc2", "fc7"),
)


def _resnet(version: int) -> Iterator[Rule]:
    yield "conv1_conv", "conv1"
    yield "conv1_bn", "conv1/BatchNorm"
    for block in (1, 2, 3, 4):
        theirs = rf"conv{block + 1}_block(\d+)"
        ours = rf"block{block}/unit_\1/bottleneck_v{version}"
        for number, layer in enumerate(("shortcut", "conv1", "conv2", "conv3")):
            yield f"{theirs}_{number}_conv", f"{ours}/{layer}"
            yield f"{theirs}_{number}_bn", f"{ours}/{layer}/BatchNorm"
        yield f"{theirs}_preact_bn", f"{ours}/preact"
    yield "post_bn", "postnorm"


def _densenet() -> Iterator[Rule]:
    yield "conv1[_/]conv", "conv1"
    yield "conv1[_/]bn", "BatchNorm"
    for block in (1, 2, 3, 4):
        theirs = rf"conv{block + 1}_block(\d+)"
        ours = rf"dense_block{block}/conv_block\1"
        yield f"{theirs}_0_bn", f"{ours}/x1/BatchNorm"
        yield f"{theirs}_1_conv", f"{ours}/x1/Conv"
        yield f"{theirs}_1_bn", f"{ours}/x2/BatchNorm"
        yield f"{theirs}_2_conv", f"{ours}/x2/Conv"
        yield f"pool{block + 1}_bn", f"transition_block{block}/blk/BatchNorm"
        yield f"pool{block + 1}_conv", f"transition_block{block}/blk/Conv"
    yield "bn", "final_block/BatchNorm"


def _nasnet(blocks: int) -> Iterator[Rule]:
    """Yields the rules of a NASNet with this number of cells between reductions."""
    yield "stem_conv1", "conv0"
    yield "stem_bn1", "conv0_bn"
    cells = {"stem_1": "cell_stem_0", "stem_2": "cell_stem_1"}
    # Keras counts the first reduction cell in, and names both apart.
    for part in range(3):
        first = part * blocks
        shift = min(part, 1)
        cells |= {f"{first + i + shift}": f"cell_{first + i}" for i in range(blocks)}
    for number in (1, 2):
        cells[f"reduce_{number * blocks}"] = f"reduction_cell_{number - 1}"
    for theirs, ours in cells.items():
        yield f"(?:normal|reduction)_conv_1_{theirs}", f"{ours}/1x1"
        yield f"(?:normal|reduction)_bn_1_{theirs}", f"{ours}/beginning_bn"
        yield f"adjust_conv_projection_{theirs}", f"{ours}/prev_1x1"
        yield rf"adjust_conv_([12])_{theirs}", rf"{ours}/path\1_conv"
        yield f"adjust_bn_{theirs}", f"{ours}/prev_bn|{ours}/final_path_bn"
        for branch, number in ((1, 0), (2, 1), (3, 2), (4, 4), (5, 4)):
            suffix = rf"(?:normal|reduction)_(left|right){branch}_{theirs}"
            scope = rf"{ours}/comb_iter_{number}/\2/"
            yield (
                rf"separable_conv_([12])_{suffix}",
                "|".join(rf"{scope}separable_{k}x{k}_\1" for k in (3, 5, 7)),
            )
            yield (
                rf"separable_conv_([12])_bn_{suffix}",
                "|".join(rf"{scope}bn_sep_{k}x{k}_\1" for k in (3, 5, 7)),
            )


def _list_networks() -> Iterator[tuple[str, KerasNetwork]]:
    for suffix, alpha in (("", 1.0), ("_075", 0.75), ("_050", 0.5), ("_025", 0.25)):
        yield (
            f"mobilenet_v1{suffix}",
            KerasNetwork("MobileNet", _MOBILENET_V1, _MOBILENET_HEAD, {"alpha": alpha}),
        )
    for suffix, alpha in (("", 1.0), ("_140", 1.4), ("_050", 0.5), ("_035", 0.35)):
        yield (
            f"mobilenet_v2{suffix}",
            KerasNetwork(
                "MobileNetV2", _MOBILENET_V2, _MOBILENET_HEAD, {"alpha": alpha}
            ),
        )
    for size in ("large", "small"):
        for is_minimalistic in (False, True):
            yield (
                f"mobilenet_v3_{size}{'_minimalistic' if is_minimalistic else ''}",
                KerasNetwork(
                    f"MobileNetV3{size.capitalize()}",
                    _MOBILENET_V3,
                    _MOBILENET_HEAD,
                    {"minimalistic": is_minimalistic},
                    gate_scale=0.16667 * 6,
                ),
            )
    yield "inception_v3", KerasNetwork("InceptionV3", (), "Logits/Conv2d_1c_1x1")
    yield (
        "inception_resnet_v2",
        KerasNetwork("InceptionResNetV2", _INCEPTION_RESNET_V2, "Logits/Logits"),
    )
    for layers in (16, 19):
        yield f"vgg_{layers}", KerasNetwork(f"VGG{layers}", _VGG, "fc8", mode="caffe")
    for layers in (50, 101, 152):
        yield (
            f"resnet_v1_{layers}",
            KerasNetwork(
                f"ResNet{layers}",
                tuple(_resnet(1)),
                "logits",
                mode="caffe",
                epsilons=(1.001e-5, 1e-5),
                image_size=_ALIGNED_PX,
                difference=_ALIGNED.format("the first pool"),
            ),
        )
        yield from _with_zeros(
            f"resnet_v2_{layers}",
            KerasNetwork(
                f"ResNet{layers}V2",
                tuple(_resnet(2)),
                "logits",
                epsilons=(1.001e-5, 1e-5),
                image_size=_ALIGNED_PX,
                difference=_ZEROS.format("first pool"),
            ),
        )
    for layers in (121, 169, 201):
        yield (
            f"densenet_{layers}",
            KerasNetwork(
                f"DenseNet{layers}",
                tuple(_densenet()),
                "logits",
                mode="torch",
                epsilons=(1.001e-5, 1.1e-5),
                image_size=_ALIGNED_PX,
                difference=_ALIGNED.format("the first convolution and pool"),
            ),
        )
    for size, blocks in (("mobile", 4), ("large", 6)):
        yield from _with_zeros(
            f"nasnet_{size}",
            KerasNetwork(
                f"NASNet{size.capitalize()}",
                tuple(_nasnet(blocks)),
                "final_layer/FC",
                difference=_ZEROS.format("pools of the reduction cells"),
            ),
        )


def _with_zeros(name: str, row: KerasNetwork) -> Iterator[tuple[str, KerasNetwork]]:
    """Yields a network, and the variant whose padding is that of Keras."""
    variant = f"keras_{name}"
    difference = f"{row.difference}, or give --model_name={variant}, which has the same"
    yield name, dataclasses.replace(row, difference=difference)
    yield variant, dataclasses.replace(row, difference="")


KERAS_NETWORKS: dict[str, KerasNetwork] = dict(_list_networks())
