"""Published weights for ImageNet: where they are, and how to use them.

The accuracies are top-1 in percent on one central crop, as published with the weights;
None where none was. None of the addresses is ours: some may have moved.
"""

import dataclasses
from collections.abc import Iterator, Sequence

from nets.keras_weights.conversion import convert
from nets.keras_weights.tables import KERAS_NETWORKS
from nets.net_utils import unknown_name

__all__ = ["KERAS", "SLIM", "WEIGHTS", "Weights", "choose", "convert"]

SLIM, KERAS = "slim", "keras"
_SLIM = "http://download.tensorflow.org/models/"
_GOOGLE = "https://storage.googleapis.com/"
_APPLICATIONS = f"{_GOOGLE}tensorflow/keras-applications/"
_TF_KERNELS = "weights_tf_dim_ordering_tf_kernels.h5"


@dataclasses.dataclass(frozen=True)
class Weights:
    """Published weights.

    Attributes:
      network: the network's name in `nets_factory`.
      source: "slim" for a tar archive of a checkpoint, "keras" for a file of Keras.
      address: URL.
      num_classes: the network's outputs; 1,001 has a background class in front.
      preprocessing: the name of the preprocessing of the images.
      image_size: height and width of the images in pixels.
      top1: published accuracy.
      md5: checksum of the file in hexadecimal digits; None if unknown.
    """

    network: str
    source: str
    address: str
    num_classes: int
    preprocessing: str
    image_size: int
    top1: float | None = None
    md5: str | None = None

    @property
    def name(self) -> str:
        """The name for --pretrained."""
        return f"{self.network}/{self.source}"


# fmt: off
_SLIM_ROWS = (
    ("inception_v1", "inception_v1_2016_08_28.tar.gz", 1001, 224, 69.8),
    ("inception_v2", "inception_v2_2016_08_28.tar.gz", 1001, 224, 73.9),
    ("inception_v3", "inception_v3_2016_08_28.tar.gz", 1001, 299, 78.0),
    ("inception_v4", "inception_v4_2016_09_09.tar.gz", 1001, 299, 80.2),
    ("inception_resnet_v2", "inception_resnet_v2_2016_08_30.tar.gz", 1001, 299, 80.4),
    ("vgg_16", "vgg_16_2016_08_28.tar.gz", 1000, 224, 71.5),
    ("vgg_19", "vgg_19_2016_08_28.tar.gz", 1000, 224, 71.1),
    ("resnet_v1_50", "resnet_v1_50_2016_08_28.tar.gz", 1000, 224, 75.2),
    ("resnet_v1_101", "resnet_v1_101_2016_08_28.tar.gz", 1000, 224, 76.4),
    ("resnet_v1_152", "resnet_v1_152_2016_08_28.tar.gz", 1000, 224, 76.8),
    ("resnet_v2_50", "resnet_v2_50_2017_04_14.tar.gz", 1001, 299, 75.6),
    ("resnet_v2_101", "resnet_v2_101_2017_04_14.tar.gz", 1001, 299, 77.0),
    ("resnet_v2_152", "resnet_v2_152_2017_04_14.tar.gz", 1001, 299, 77.8),
    *((f"mobilenet_v1{suffix}",
       f"mobilenet_v1_2018_02_22/mobilenet_v1_{width}_224.tgz", 1001, 224, top1)
      for suffix, width, top1 in (
        ("", "1.0", 70.9), ("_075", "0.75", 68.4),
        ("_050", "0.5", 63.3), ("_025", "0.25", 49.8),
    )),
    *((f"mobilenet_v2{suffix}",
       f"{_GOOGLE}mobilenet_v2/checkpoints/mobilenet_v2_{width}_224.tgz",
       1001, 224, top1)
      for suffix, width, top1 in (
        ("", "1.0", 71.8), ("_140", "1.4", 75.0),
        ("_050", "0.5", 65.4), ("_035", "0.35", 60.3),
    )),
    *((f"mobilenet_v3_{name.replace('-', '_')}",
       f"{_GOOGLE}mobilenet_v3/checkpoints/v3-{name}_224_1.0_float.tgz",
       1001, 224, top1)
      for name, top1 in (
        ("large", 75.2), ("small", 67.5),
        ("large-minimalistic", 72.3), ("small-minimalistic", 61.9),
    )),
    *((network,
       f"{_GOOGLE}download.tensorflow.org/models/{name}.tar.gz", 1001, size, top1)
      for network, name, size, top1 in (
        ("nasnet_mobile", "nasnet-a_mobile_04_10_2017", 224, 74.0),
        ("nasnet_large", "nasnet-a_large_04_10_2017", 331, 82.7),
        ("pnasnet_mobile", "pnasnet-5_mobile_2017_12_13", 224, 74.2),
        ("pnasnet_large", "pnasnet-5_large_2017_12_13", 331, 82.9),
    )),
)
_KERAS_ROWS = (
    ("inception_v3", f"inception_v3/inception_v3_{_TF_KERNELS}", 299, 77.9,
     "9a0d58056eeedaa3f26cb7ebd46da564"),
    ("inception_resnet_v2", f"inception_resnet_v2/inception_resnet_v2_{_TF_KERNELS}",
     299, 80.3, "e693bd0210a403b3192acc6073ad2e96"),
    ("vgg_16", f"vgg16/vgg16_{_TF_KERNELS}", 224, 71.3,
     "64373286793e3c8b2b4e3219cbf3544b"),
    ("vgg_19", f"vgg19/vgg19_{_TF_KERNELS}", 224, 71.3,
     "cbe5617147190e668d6c5d5026f83318"),
    ("nasnet_mobile", "nasnet/NASNet-mobile.h5", 224, 74.4,
     "020fb642bf7360b370c678b08e0adf61"),
    ("nasnet_large", "nasnet/NASNet-large.h5", 331, 82.5,
     "11577c9a518f0070763c2b964a382f17"),
    *((f"resnet_{version}_{layers}", f"resnet/{name}_{_TF_KERNELS}", 224, top1, md5)
      for version, layers, name, top1, md5 in (
        ("v1", 50, "resnet50", 74.9, "2cb95161c43110f7111970584f804107"),
        ("v1", 101, "resnet101", 76.4, "f1aeb4b969a6efcfb50fad2f0c20cfc5"),
        ("v1", 152, "resnet152", 76.6, "100835be76be38e30d865e96f2aaae62"),
        ("v2", 50, "resnet50v2", 76.0, "3ef43a0b657b3be2300d5770ece849e0"),
        ("v2", 101, "resnet101v2", 77.2, "6343647c601c52e1368623803854d971"),
        ("v2", 152, "resnet152v2", 78.0, "a49b44d1979771252814e80f8ec446f9"),
    )),
    *((f"densenet_{layers}", f"densenet/densenet{layers}_{_TF_KERNELS}", 224, top1,
       md5)
      for layers, top1, md5 in (
        (121, 75.0, "9d60b8095a5708f2dcce2bca79d332c7"),
        (169, 76.2, "d699b8f76981ab1b30698df4c175e90b"),
        (201, 77.3, "1ceb130c1ea1b78c3bf6114dbdfd8807"),
    )),
    *((f"mobilenet_v1{suffix}", f"mobilenet/mobilenet_{width}_224_tf.h5", 224, top1,
       None)
      for suffix, width, top1 in (
        ("", "1_0", 70.4), ("_075", "7_5", None),
        ("_050", "5_0", None), ("_025", "2_5", None),
    )),
    *((f"mobilenet_v2{suffix}",
       f"mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{width}_224.h5",
       224, top1, None)
      for suffix, width, top1 in (
        ("", "1.0", 71.3), ("_140", "1.4", None),
        ("_050", "0.5", None), ("_035", "0.35", None),
    )),
    *((f"mobilenet_v3_{name}",
       f"mobilenet_v3/weights_mobilenet_v3_{name}_224_1.0_float.h5", 224, top1, md5)
      for name, top1, md5 in (
        ("large", 75.6, "59e551e166be033d707958cf9e29a6a7"),
        ("small", 68.1, "8768d4c2e7dee89b9d02b2d03d65d862"),
        ("large_minimalistic", None, "675e7b876c45c57e9e63e6d90a36599c"),
        ("small_minimalistic", None, "99cd97fb2fcdad2bf028eb838de69e37"),
    )),
)
# fmt: on

# Families whose images have the mean color subtracted; the others' are in [-1, 1].
_VGG_SLIM = ("vgg", "resnet_v1")
_VGG_KERAS = (*_VGG_SLIM, "densenet")


def _list_weights() -> Iterator[Weights]:
    for network, path, num_classes, image_size, top1 in _SLIM_ROWS:
        is_vgg = network.startswith(_VGG_SLIM)
        yield Weights(
            network,
            SLIM,
            path if path.startswith("https:") else _SLIM + path,
            num_classes,
            "vgg" if is_vgg else "inception",
            image_size,
            top1,
        )
    for network, path, image_size, top1, md5 in _KERAS_ROWS:
        preprocessing = "vgg" if network.startswith(_VGG_KERAS) else "inception"
        address = _APPLICATIONS + path
        for name in {network, f"keras_{network}"} & set(KERAS_NETWORKS):
            yield Weights(
                name, KERAS, address, 1000, preprocessing, image_size, top1, md5
            )


WEIGHTS: tuple[Weights, ...] = tuple(
    sorted(_list_weights(), key=lambda w: (w.network, w.source))
)


def choose(model_name: str, name: str) -> Sequence[Weights]:
    """Returns the weights to try, in this order.

    Args:
      model_name: the network that they are for.
      name: "true" for any of the network, or the name of one.

    Raises:
      ValueError: there are none, or they are those of another network.
    """
    found = [w for w in WEIGHTS if w.network == model_name]
    if name.lower() == "true":
        if not found:
            raise ValueError(
                f"No weights of {model_name} are published in a format that can be "
                "read: inspect_model.py --list_pretrained lists the networks that have "
                "some."
            )
        return sorted(found, key=lambda w: w.source != SLIM)
    named = [w for w in WEIGHTS if w.name == name]
    if not named:
        raise unknown_name("weights", name, ["true", *(w.name for w in WEIGHTS)])
    if named[0] not in found:
        raise ValueError(
            f"{name} are weights of {named[0].network}, not of {model_name}: add "
            f"--model_name={named[0].network}."
        )
    return named
