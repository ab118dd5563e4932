"""Checkpoints with probe weights, and what is needed to export them."""

import numpy as np
import probe_weights

from deployment.formats import checking, freezing
from deployment.models.spec import ModelSpec
from nets import nets_factory
from preprocessing import preprocessing_factory
from tf_slim_compat import slim, tf

NETWORK, SIZE, CLASSES = "mobilenet_v1_025", 64, ("a", "b", "c", "d", "e")


def save_checkpoint(path, name=NETWORK, shape=(SIZE, SIZE, 3), decay=None, seed=0):
    """Saves a network with probe weights; moving averages differ from the weights."""
    with tf.Graph().as_default(), tf.Session() as session:
        nets_factory.get_network_fn(name, len(CLASSES))(tf.zeros([2, *shape]))
        if decay:
            averages = tf.train.ExponentialMovingAverage(decay)
            averages.apply(slim.get_model_variables())
        probe_weights.initialize(session, seed)
        return tf.train.Saver().save(session, str(path), write_meta_graph=False)


def make_config(name=NETWORK, network_fn=None, **changes):
    values = {
        "model_name": name,
        "num_outputs": len(CLASSES),
        "output_names": CLASSES,
        "image_size": SIZE,
        "preprocessing_name": name,
        **changes,
    }
    return freezing.ExportConfig(
        network_fn=network_fn or nets_factory.get_network_fn(name, len(CLASSES)),
        preprocessing_fn=preprocessing_factory.get_preprocessing(name),
        spec=ModelSpec(**values),
    )


def draw_mosaic(rng, channels=3):
    """Returns an image of 4 by 5 large tiles."""
    tiles = rng.randint(0, 256, [4, 5, channels]).astype(np.uint8)
    return tiles.repeat(10, axis=0).repeat(10, axis=1)


def build_mosaics(count, channels=3, label=0):
    """Builds mosaics as they are stored in a dataset, all with one label."""
    rng = np.random.RandomState(1)
    images = np.stack([[draw_mosaic(rng, channels)] for _ in range(count)])
    labels = np.stack([[label]] * count)
    return tf.data.Dataset.from_tensor_slices((images, labels))


def read_samples(config, model, count, channels=3, label=0):
    """Reads mosaics to check a model with."""
    return checking.read_samples(
        lambda: build_mosaics(count, channels, label),
        model,
        config.preprocessing_fn,
        100,
    )
