"""Trains networks of Keras on TensorFlow for `benchmarks/against_peers.py`.

keras.applications has neither L2 losses nor the auxiliary classifier of Inception v3,
so its steps are somewhat smaller.
"""

import keras
import tensorflow as tf

from benchmarks.peers import serving

_CLASSES = {
    "densenet_121": "DenseNet121",
    "inception_resnet_v2": "InceptionResNetV2",
    "inception_v3": "InceptionV3",
    "mobilenet_v1": "MobileNet",
    "mobilenet_v2": "MobileNetV2",
    "mobilenet_v3_large": "MobileNetV3Large",
    "nasnet_mobile": "NASNetMobile",
    "resnet_v1_50": "ResNet50",
    "resnet_v1_101": "ResNet101",
    "resnet_v1_152": "ResNet152",
    "resnet_v2_50": "ResNet50V2",
    "vgg_16": "VGG16",
    "vgg_19": "VGG19",
}
_POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}


def build(name: str, precision: str, batch_size: int, size: int):
    """Returns a training step and a description; see `serving.serve`."""
    keras.mixed_precision.set_dtype_policy(_POLICIES[precision])
    model = getattr(keras.applications, _CLASSES[name])(
        input_shape=(size, size, 3), weights=None, classes=serving.CLASSES
    )
    model.compile(
        optimizer=keras.optimizers.RMSprop(
            serving.LEARNING_RATE,
            rho=serving.DECAY,
            momentum=serving.MOMENTUM,
            epsilon=serving.EPSILON,
        ),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    images, labels = map(tf.constant, serving.make_batch(batch_size, size))
    return (
        lambda: model.train_on_batch(images, labels),
        f"Keras {keras.__version__}",
    )


if __name__ == "__main__":
    serving.serve(build, dict)
