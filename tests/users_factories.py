"""Runs the entry scripts with a user's own factories, in TF-Slim's form.

    python tests/users_factories.py DATASET_DIR TRAIN_DIR

They are in place of ours before anything else is imported. Prints a JSON list of
[exit status, output, errors] per script.
"""

import importlib
import json
import pathlib
import sys
import types

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

DATASETS = """
import os
from tf_slim_compat import slim, tf
from datasets import flowers

def get_split(split_name, dataset_dir, file_pattern=None, reader=None):
    file_pattern = os.path.join(dataset_dir, "patterns_%s_*" % split_name)
    decoder = slim.tfexample_decoder.TFExampleDecoder(
        {
            "image/encoded": tf.FixedLenFeature((), tf.string, default_value=""),
            "image/format": tf.FixedLenFeature((), tf.string, default_value="png"),
            "image/class/label": tf.FixedLenFeature(
                [], tf.int64, default_value=tf.zeros([], dtype=tf.int64)),
        },
        {
            "image": slim.tfexample_decoder.Image(),
            "label": slim.tfexample_decoder.Tensor("image/class/label"),
        })
    return slim.dataset.Dataset(
        data_sources=file_pattern, reader=tf.TFRecordReader, decoder=decoder,
        num_samples=0, items_to_descriptions={}, num_classes=5,
        labels_to_names=["a", "b", "c", "d", "e"])

class mine:
    get_split = staticmethod(get_split)

datasets_map = {"flowers": flowers, "mine": mine}

def get_dataset(name, split_name, dataset_dir, file_pattern=None, reader=None):
    if name not in datasets_map:
        raise ValueError("Name of dataset unknown %s" % name)
    return datasets_map[name].get_split(split_name, dataset_dir, file_pattern, reader)
"""
NETWORKS = """
import functools
from tf_slim_compat import slim, tf
from nets import resnet_v1

def tiny(images, num_classes, is_training, scope="tiny"):
    with tf.variable_scope(scope):
        net = slim.flatten(slim.avg_pool2d(images, 4, 4))
        logits = slim.fully_connected(net, num_classes, activation_fn=None)
        return logits, {"Predictions": slim.softmax(logits)}

tiny.default_image_size = 16

def tiny_arg_scope(weight_decay=0.0):
    with slim.arg_scope(
        [slim.fully_connected],
        weights_regularizer=slim.l2_regularizer(weight_decay),
    ) as scope:
        return scope

networks_map = {"tiny": tiny, "resnet_v1_50": resnet_v1.resnet_v1_50}
arg_scopes_map = {"tiny": tiny_arg_scope, "resnet_v1_50": resnet_v1.resnet_arg_scope}

def get_network_fn(name, num_classes, weight_decay=0.0, is_training=False):
    if name not in networks_map:
        raise ValueError("Name of network unknown %s" % name)
    func = networks_map[name]
    @functools.wraps(func)
    def network_fn(images, **kwargs):
        with slim.arg_scope(arg_scopes_map[name](weight_decay=weight_decay)):
            return func(images, num_classes, is_training=is_training, **kwargs)
    return network_fn
"""


def put_in_place(name, text):
    """Makes a text the source of a module."""
    module = types.ModuleType(name)
    module.__file__ = f"{name}.py"
    package, _, leaf = name.rpartition(".")
    sys.modules[name] = module
    setattr(importlib.import_module(package), leaf, module)
    exec(text, vars(module))


def main(data_dir, train_dir):
    put_in_place("datasets.dataset_factory", DATASETS)
    put_in_place("nets.nets_factory", NETWORKS)
    from script_runner import run_script

    data = (f"--dataset_dir={data_dir}", "--dataset_name=mine")
    train = "train_image_classifier.py", *data, "--model_name=tiny", "--batch_size=4"
    commands = [
        (*train, f"--train_dir={train_dir}", "--max_number_of_steps=2"),
        ("eval_image_classifier.py", f"--checkpoint_path={train_dir}"),
        (
            "export_inference_graph.py",
            *data,
            "--model_name=tiny",
            f"--output_file={train_dir}/graph.pb",
        ),
        (
            "export_inference_graph.py",
            "--dataset_name=flowers",
            "--model_name=resnet_v1_50",
            f"--output_file={train_dir}/resnet.pb",
        ),
        ("inspect_model.py", "--list_networks"),
        (*train, f"--train_dir={train_dir}/2", "--drop_path=0.5"),
        ("inspect_model.py", "--model_name=tinny"),
        (
            "export_inference_graph.py",
            "--dataset_name=other",
            "--model_name=tiny",
            "--output_file=x.pb",
        ),
    ]
    print(json.dumps([run_script(*command) for command in commands]))


if __name__ == "__main__":
    main(*sys.argv[1:])
