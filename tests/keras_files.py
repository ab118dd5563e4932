"""Files of Keras weights of MobileNet v1, width 0.25, written without Keras."""

import h5py
import numpy as np
from probe_weights import probe_value

from nets import nets_factory
from tf_slim_compat import tf

NETWORK = "mobilenet_v1_025"


def write(path, classes):
    """Writes a .h5 file of weights; 0 classes leave the logits out.

    Returns:
      The values of our variables.
    """
    with tf.Graph().as_default():
        nets_factory.get_network_fn(NETWORK, classes)(
            tf.placeholder(tf.float32, [1, 32, 32, 3])
        )
        shapes = {v.op.name: v.shape.as_list() for v in tf.global_variables()}
    values = {name: probe_value(name, shape) for name, shape in shapes.items()}
    layers = {}
    for name, array in values.items():
        layers.setdefault(_name_layer(name.rpartition("/")[0]), []).append(array)
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = list(layers)
        for layer, arrays in layers.items():
            group = file.create_group(layer)
            names = [f"{layer}/{i}" for i in range(len(arrays))]
            group.attrs["weight_names"] = np.array(names, "S")
            for name, array in zip(names, arrays, strict=True):
                group[name] = array
    return values


def _name_layer(scope):
    """Returns what Keras calls a layer of ours."""
    _, layer, *rest = scope.split("/")
    if layer == "Logits":
        return "conv_preds"
    _, number, *kind = layer.split("_")
    short = {"depthwise": "dw", "pointwise": "pw"}
    name = f"conv_{short[kind[0]]}_{number}" if kind else "conv1"
    return f"{name}_bn" if rest else name
