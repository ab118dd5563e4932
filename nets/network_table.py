"""The table of the built-in networks: one row per network.

It stands apart from `nets_factory`, which users replace by their own.
"""

import dataclasses
import importlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from nets.net_utils import NetOutputs

# Of networks that do not state theirs.
DEFAULT_IMAGE_SIZE = 224


@dataclasses.dataclass(frozen=True)
class Network:
    """A network, and what the rest of the project needs to know about it.

    Attributes:
      name: its unique name.
      build: function of (images, num_classes=..., is_training=..., ...) that returns
        (logits, end_points).
      arg_scope: function of (weight_decay=...) that returns a slim arg scope.
      default_image_size: height and width in pixels that it was designed for.
      preprocessing: name for `preprocessing_factory.get_preprocessing`.
      scope: common prefix of its variable names; "" if there is none.
      paper: where it was published.
      top1: published top-1 accuracy on ImageNet in percent; None if there is none.
      note: special requirements of the public checkpoints.
      min_image_size: smallest height and width in pixels that it can be built for.
      input_rank: 4 for images [batch, height, width, channels], 5 for videos [batch,
        frames, height, width, channels]; None if unknown.
    """

    name: str
    build: Callable[..., NetOutputs]
    arg_scope: Callable[..., dict[str, Any]]
    default_image_size: int
    preprocessing: str = "inception"
    scope: str = ""
    paper: str = ""
    top1: float | None = None
    note: str = ""
    min_image_size: int = 1
    input_rank: int | None = None

    def with_build(self, build: Callable[..., NetOutputs]) -> "Network":
        """Returns a copy with another function, and the sizes that are its attributes.

        Args:
          build: see `Network`; its attributes `default_image_size`, `min_image_size`
            and `input_rank` are used where it has them.
        """
        names = ("default_image_size", "min_image_size", "input_rank")
        sizes = {name: getattr(build, name, getattr(self, name)) for name in names}
        return dataclasses.replace(self, build=build, **sizes)


@dataclasses.dataclass(frozen=True)
class Row:
    """A built-in network whose module is not imported yet.

    `build` and `arg_scope` are names of functions in `module`, a path inside nets/; the
    other fields are those of `Network`.
    """

    name: str
    module: str
    build: str
    arg_scope: str
    preprocessing: str
    scope: str
    paper: str
    top1: float | None
    note: str

    def load(self) -> Network:
        """Imports the module and returns the `Network`."""
        module = importlib.import_module(f"nets.{self.module}")
        build = getattr(module, self.build)
        return Network(
            self.name,
            build,
            getattr(module, self.arg_scope),
            build.default_image_size,
            self.preprocessing,
            self.scope,
            self.paper,
            self.top1,
            self.note,
            getattr(build, "min_image_size", 1),
            getattr(build, "input_rank", 4),
        )


def _family(
    module: str,
    arg_scope: str,
    preprocessing: str,
    paper: str,
    variants: Sequence[tuple[str, str, str, float | None]],
    note: str = "",
) -> Iterator[Row]:
    """Yields the rows of networks that share a module.

    Args:
      module: see `Row`.
      arg_scope: see `Row`.
      preprocessing: see `Network`.
      paper: see `Network`.
      variants: (network name, function name, variable scope, top-1) of each network.
      note: see `Network`.
    """
    for name, build, scope, top1 in variants:
        yield Row(
            name, module, build, arg_scope, preprocessing, scope, paper, top1, note
        )


_RESNET_V2_NOTE = (
    "trained on 299 pixels in [-1, 1]; use the inception preprocessing and this image "
    "size."
)
_DENSENET_NOTE = (
    "those of the widely used port to TF-Slim were trained on images of vgg "
    "preprocessing multiplied by 0.017; multiply the weights of conv1 by this factor."
)

_KERAS_NOTE = "those of Keras Applications; pools pad with zeros, as Keras does."

# fmt: off
ROWS = (
    *_family("lenet", "lenet_arg_scope", "lenet", "LeCun et al. 1998", [
        ("lenet", "lenet", "LeNet", None),
    ]),
    *_family("lenet", "lenet5_arg_scope", "lenet", "LeCun et al. 1998", [
        ("lenet5", "lenet5", "LeNet5", None),
    ]),
    *_family("linear_regression", "linear_regression_arg_scope", "inception",
             "textbooks", [
        ("linear_regression", "linear_regression", "LinearRegression", None),
    ]),
    *_family("logistic_regression", "logistic_regression_arg_scope", "cifarnet",
             "textbooks", [
        ("logistic_regression", "logistic_regression", "LogisticRegression", None),
    ]),
    *_family("softmax_regression", "softmax_regression_arg_scope", "cifarnet",
             "textbooks", [
        ("softmax_regression", "softmax_regression", "SoftmaxRegression", None),
    ]),
    *_family("simple_cnn", "simple_cnn_arg_scope", "cifarnet", "textbooks", [
        ("simple_cnn", "simple_cnn", "SimpleCnn", None),
    ]),
    *_family("cifarnet", "cifarnet_arg_scope", "cifarnet", "Krizhevsky 2009", [
        ("cifarnet", "cifarnet", "CifarNet", None),
    ]),
    *_family("alexnet", "alexnet_arg_scope", "vgg", "Krizhevsky et al. 2012", [
        ("alexnet", "alexnet", "alexnet", 59.3),
    ]),
    *_family("alexnet", "alexnet_v2_arg_scope", "vgg", "arXiv:1404.5997", [
        ("alexnet_v2", "alexnet_v2", "alexnet_v2", 57.7),
    ]),
    *_family("overfeat", "overfeat_arg_scope", "vgg", "arXiv:1312.6229", [
        ("overfeat", "overfeat", "overfeat", 60.7),
    ]),
    *_family("vgg", "vgg_arg_scope", "vgg", "arXiv:1409.1556", [
        ("vgg_a", "vgg_a", "vgg_a", 70.4),
        ("vgg_16", "vgg_16", "vgg_16", 71.5),
        ("vgg_19", "vgg_19", "vgg_19", 71.1),
    ]),
    *_family("inception_v1", "inception_v1_arg_scope", "inception", "arXiv:1409.4842", [
        ("inception_v1", "inception_v1", "InceptionV1", 69.8),
    ]),
    *_family("inception_v2", "inception_v2_arg_scope", "inception",
             "arXiv:1502.03167", [
        ("inception_v2", "inception_v2", "InceptionV2", 73.9),
    ]),
    *_family("inception_v3", "inception_v3_arg_scope", "inception",
             "arXiv:1512.00567", [
        ("inception_v3", "inception_v3", "InceptionV3", 78.0),
    ]),
    *_family("inception_v4", "inception_v4_arg_scope", "inception",
             "arXiv:1602.07261", [
        ("inception_v4", "inception_v4", "InceptionV4", 80.2),
    ]),
    *_family("inception_resnet_v2", "inception_resnet_v2_arg_scope", "inception",
             "arXiv:1602.07261", [
        ("inception_resnet_v2", "inception_resnet_v2", "InceptionResnetV2", 80.4),
    ]),
    *_family("i3d", "i3d_arg_scope", "inception", "arXiv:1705.07750", [
        ("i3d", "i3d", "InceptionV1", None),
    ]),
    *_family("s3dg", "s3dg_arg_scope", "inception", "arXiv:1712.04851", [
        ("s3dg", "s3dg", "InceptionV1", None),
    ]),
    *_family("resnet_v1", "resnet_arg_scope", "vgg", "arXiv:1512.03385", [
        ("resnet_v1_50", "resnet_v1_50", "resnet_v1_50", 75.2),
        ("resnet_v1_101", "resnet_v1_101", "resnet_v1_101", 76.4),
        ("resnet_v1_152", "resnet_v1_152", "resnet_v1_152", 76.8),
        ("resnet_v1_200", "resnet_v1_200", "resnet_v1_200", None),
    ]),
    *_family("resnet_v2", "resnet_arg_scope", "vgg", "arXiv:1603.05027", [
        ("resnet_v2_50", "resnet_v2_50", "resnet_v2_50", 75.6),
        ("resnet_v2_101", "resnet_v2_101", "resnet_v2_101", 77.0),
        ("resnet_v2_152", "resnet_v2_152", "resnet_v2_152", 77.8),
        ("resnet_v2_200", "resnet_v2_200", "resnet_v2_200", 79.9),
    ], note=_RESNET_V2_NOTE),
    *_family("resnet_v2", "resnet_keras_arg_scope", "inception", "arXiv:1603.05027", [
        ("keras_resnet_v2_50", "resnet_v2_50", "resnet_v2_50", 76.0),
        ("keras_resnet_v2_101", "resnet_v2_101", "resnet_v2_101", 77.2),
        ("keras_resnet_v2_152", "resnet_v2_152", "resnet_v2_152", 78.0),
    ], note=_KERAS_NOTE),
    *_family("densenet", "densenet_arg_scope", "vgg", "arXiv:1608.06993", [
        ("densenet_121", "densenet_121", "densenet121", 75.0),
        ("densenet_161", "densenet_161", "densenet161", 77.8),
        ("densenet_169", "densenet_169", "densenet169", 76.2),
        ("densenet_201", "densenet_201", "densenet201", 77.4),
    ], note=_DENSENET_NOTE),
    *_family("mobilenet_v1", "mobilenet_v1_arg_scope", "inception",
             "arXiv:1704.04861", [
        ("mobilenet_v1", "mobilenet_v1", "MobilenetV1", 70.9),
        ("mobilenet_v1_075", "mobilenet_v1_075", "MobilenetV1", 68.4),
        ("mobilenet_v1_050", "mobilenet_v1_050", "MobilenetV1", 63.3),
        ("mobilenet_v1_025", "mobilenet_v1_025", "MobilenetV1", 49.8),
    ]),
    *_family("mobilenet.mobilenet_v2", "training_scope", "inception",
             "arXiv:1801.04381", [
        ("mobilenet_v2", "mobilenet", "MobilenetV2", 71.8),
        ("mobilenet_v2_140", "mobilenet_v2_140", "MobilenetV2", 75.0),
        ("mobilenet_v2_050", "mobilenet_v2_050", "MobilenetV2", 65.4),
        ("mobilenet_v2_035", "mobilenet_v2_035", "MobilenetV2", 60.3),
    ]),
    *_family("mobilenet.mobilenet_v3", "training_scope", "inception",
             "arXiv:1905.02244", [
        ("mobilenet_v3_large", "large", "MobilenetV3", 75.2),
        ("mobilenet_v3_small", "small", "MobilenetV3", 67.5),
        ("mobilenet_v3_large_minimalistic", "large_minimalistic", "MobilenetV3", 72.3),
        ("mobilenet_v3_small_minimalistic", "small_minimalistic", "MobilenetV3", 61.9),
        ("mobilenet_edgetpu", "edge_tpu", "MobilenetEdgeTPU", 75.6),
        ("mobilenet_edgetpu_075", "edge_tpu_075", "MobilenetEdgeTPU", 73.5),
    ]),
    *_family("nasnet.nasnet", "nasnet_cifar_arg_scope", "cifarnet",
             "arXiv:1707.07012", [
        ("nasnet_cifar", "build_nasnet_cifar", "", None),
    ]),
    *_family("nasnet.nasnet", "nasnet_mobile_arg_scope", "inception",
             "arXiv:1707.07012", [
        ("nasnet_mobile", "build_nasnet_mobile", "", 74.0),
    ]),
    *_family("nasnet.nasnet", "nasnet_large_arg_scope", "inception",
             "arXiv:1707.07012", [
        ("nasnet_large", "build_nasnet_large", "", 82.7),
    ]),
    *_family("nasnet.nasnet", "nasnet_mobile_keras_arg_scope", "inception",
             "arXiv:1707.07012",
             [("keras_nasnet_mobile", "build_nasnet_mobile", "", 74.4)], _KERAS_NOTE),
    *_family("nasnet.nasnet", "nasnet_large_keras_arg_scope", "inception",
             "arXiv:1707.07012",
             [("keras_nasnet_large", "build_nasnet_large", "", 82.5)], _KERAS_NOTE),
    *_family("nasnet.pnasnet", "pnasnet_mobile_arg_scope", "inception",
             "arXiv:1712.00559", [
        ("pnasnet_mobile", "build_pnasnet_mobile", "", 74.2),
    ]),
    *_family("nasnet.pnasnet", "pnasnet_large_arg_scope", "inception",
             "arXiv:1712.00559", [
        ("pnasnet_large", "build_pnasnet_large", "", 82.9),
    ]),
)
# fmt: on


def build_no_arg_scope(weight_decay: float = 0.0) -> dict[str, Any]:
    """Returns the arg scope of a network that has none."""
    del weight_decay
    return {}


def describe(
    name: str,
    build: Callable[..., NetOutputs],
    arg_scope: Callable[..., dict[str, Any]] = build_no_arg_scope,
) -> Network:
    """Returns the record of a network of which only the functions are known.

    Args:
      name: one of the built-in networks lends the rest of its record.
      build: see `Network`.
      arg_scope: see `Network`.
    """
    network = Network(name, build, arg_scope, DEFAULT_IMAGE_SIZE)
    for row in ROWS:
        if row.name == name:
            network = dataclasses.replace(
                network,
                preprocessing=row.preprocessing,
                scope=row.scope,
                paper=row.paper,
                top1=row.top1,
                note=row.note,
            )
    return network.with_build(build)
