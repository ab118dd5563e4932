"""Networks at a small size: one training step, evaluation, export, freezing.

The frozen file must compute what evaluation computed.
"""

import functools

import numpy as np
import probe_weights
import pytest
import reference_networks

from deployment import model_deploy
from deployment.evaluate import evaluation
from deployment.models import graph_files, graph_freezing
from deployment.models.spec import ModelSpec
from deployment.optimize import learning_rates, optimizers
from deployment.train import step, training
from nets import nets_factory
from nets.nasnet import nasnet, pnasnet
from preprocessing import preprocessing_factory
from tf_slim_compat import slim, tf

NUM_CLASSES = 5
# Of networks that are for fewer.
NUM_CLASSES_OF = {"logistic_regression": 2}
# Image sizes where the network needs more than 64 pixels or works with fewer.
SIZES = {
    "lenet": 28,
    **dict.fromkeys(
        ("linear_regression", "logistic_regression", "softmax_regression"), 28
    ),
    **dict.fromkeys(("lenet5", "cifarnet", "simple_cnn", "nasnet_cifar"), 32),
    **dict.fromkeys(("alexnet", "overfeat"), 71),
    "alexnet_v2": 71,
    **dict.fromkeys(("inception_v3", "inception_v4", "inception_resnet_v2"), 107),
}
NUM_FRAMES = {"i3d": 16, "s3dg": 16}
# Networks that repeat what another one consists of, only more often or with more
# channels: their structure is proven in test_reference.py (the DenseNets: in
# test_classics.py), where each of them is built for training and for evaluation.
VARIANTS = {
    **dict.fromkeys(("vgg_16", "vgg_19"), "vgg_a"),
    **{f"resnet_v1_{depth}": "resnet_v1_50" for depth in (101, 152, 200)},
    **{f"resnet_v2_{depth}": "resnet_v2_50" for depth in (101, 152, 200)},
    **{f"keras_resnet_v2_{depth}": "resnet_v2_50" for depth in (50, 101, 152)},
    **{f"densenet_{depth}": "densenet_121" for depth in (161, 169, 201)},
    **{f"mobilenet_v1_{width}": "mobilenet_v1" for width in ("075", "050", "025")},
    **{f"mobilenet_v2{width}": "mobilenet_v2_140" for width in ("", "_050", "_035")},
    "mobilenet_v3_small": "mobilenet_v3_large",
    "mobilenet_v3_large_minimalistic": "mobilenet_v3_small_minimalistic",
    "mobilenet_edgetpu_075": "mobilenet_edgetpu",
    "nasnet_large": "nasnet_mobile",
    **{f"keras_nasnet_{size}": "nasnet_mobile" for size in ("mobile", "large")},
    "pnasnet_large": "pnasnet_mobile",
}
# NASNets repeat their cells: two reduction cells and three normal ones have all kinds.
CONFIGS = {
    "nasnet_cifar": nasnet.cifar_config,
    "nasnet_mobile": nasnet.mobile_imagenet_config,
    "pnasnet_mobile": pnasnet.mobile_imagenet_config,
}
NUM_CELLS = 3
# Inception-ResNet v2 repeats its blocks 10, 20 and 9 times by `slim.repeat`.
MAX_REPEATS = 2
REPEAT = slim.repeat
# Optimizing a graph takes longer than the single run that each is built for, and
# changes how variables and constants are rounded.
SESSION_CONFIG = tf.ConfigProto(allow_soft_placement=True)
SESSION_CONFIG.graph_options.rewrite_options.disable_meta_optimizer = True


def list_lifecycles():
    """Returns the networks to test, the slowest to build first."""
    names = set(nets_factory.list_networks()) - set(VARIANTS)
    return sorted(
        names, key=lambda name: (-reference_networks.estimate_cost(name), name)
    )


def make_spec(name):
    num_outputs = NUM_CLASSES_OF.get(name, NUM_CLASSES)
    return ModelSpec(model_name=name, num_outputs=num_outputs)


def get_network_fn(name, **options):
    network_fn = nets_factory.get_network_fn(
        name, make_spec(name).num_outputs, **options
    )
    if name not in CONFIGS:
        return network_fn
    config = CONFIGS[name]()
    config.set_hparam("num_cells", NUM_CELLS)
    return functools.partial(network_fn, config=config)


def repeat_less(inputs, repetitions, layer, **options):
    return REPEAT(inputs, min(repetitions, MAX_REPEATS), layer, **options)


def make_batch(name, batch_size=2):
    size = SIZES.get(name, 64)
    frames = [NUM_FRAMES[name]] if name in NUM_FRAMES else []
    shape = [batch_size, *frames, size, size, 3]
    images = np.random.RandomState(0).uniform(-1, 1, shape).astype(np.float32)
    return images, np.arange(batch_size, dtype=np.int64)


def train_one_step(name, images, labels, train_dir):
    network_fn = get_network_fn(name, weight_decay=4e-5, is_training=True)
    config = training.TrainingConfig(
        train_dir=str(train_dir),
        spec=make_spec(name),
        num_samples=len(labels),
        batch_size=len(labels),
        save_summaries_secs=0,
        deployment=model_deploy.DeploymentConfig(clone_on_cpu=True),
        # SGD has no slots: a third of the variables to build, save and read.
        optimizer=optimizers.OptimizerConfig("sgd"),
        # Small: the gradients of a batch of two make deep networks diverge.
        schedule=learning_rates.Schedule(initial=1e-6),
    )
    with tf.Graph().as_default():
        tf.set_random_seed(1)
        graph = step.build_training_graph(
            config,
            network_fn,
            lambda: tf.data.Dataset.from_tensors((images, labels)).repeat(),
        )
        with tf.Session(config=SESSION_CONFIG) as session:
            probe_weights.initialize(session)
            session.run(tf.tables_initializer())
            loss, number = session.run([graph.train_op, graph.step_after])
            tf.train.Saver().save(
                session, f"{train_dir}/model.ckpt", number, write_meta_graph=False
            )
    assert np.isfinite(loss) and number == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", list_lifecycles())
def test_train_evaluate_export_freeze(name, tmp_path, monkeypatch):
    monkeypatch.setattr(model_deploy, "build_session_config", lambda _: SESSION_CONFIG)
    monkeypatch.setattr(slim, "repeat", repeat_less)
    images, labels = make_batch(name)
    train_one_step(name, images, labels, tmp_path)

    network_fn = get_network_fn(name)
    config = evaluation.EvaluationConfig(str(tmp_path), None, make_spec(name))
    predictions = evaluation.predict(
        config,
        network_fn,
        lambda: tf.data.Dataset.from_tensors((images, labels)),
    )
    assert predictions.logits.shape == (len(labels), make_spec(name).num_outputs)
    probe_weights.assert_varied(predictions.logits)

    graph_def = graph_files.build_inference_graph(network_fn, [None, *images.shape[1:]])
    graph_files.write_graph(graph_def, f"{tmp_path}/graph.pb")
    # Freezing also checks that every operation is one of `SAFE_OPERATIONS`.
    frozen = graph_freezing.freeze(
        f"{tmp_path}/frozen.pb",
        input_graph=f"{tmp_path}/graph.pb",
        input_checkpoint=str(tmp_path),
    )
    (output,) = graph_files.find_outputs(frozen)
    # Large logits saturate the softmax, so the logits are compared as well.
    (logits,) = [n.input[0] for n in frozen.node if n.op == "Softmax"] or [output]
    loaded = graph_files.load_graph_def(f"{tmp_path}/frozen.pb")
    with tf.Graph().as_default(), tf.Session(config=SESSION_CONFIG) as session:
        tf.import_graph_def(loaded, name="")
        found, answers = session.run(
            [f"{logits}:0", f"{output}:0"], {"input:0": images}
        )
    expected = predictions.logits
    found = found.reshape(expected.shape)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    if logits != output:
        exponentials = np.exp(expected - expected.max(axis=1, keepdims=True))
        expected = exponentials / exponentials.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(
        answers.reshape(expected.shape), expected, rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize(("variant", "name"), VARIANTS.items())
def test_variants_are_built_by_the_same_module(variant, name):
    modules = {
        nets_factory.get_network(n).arg_scope.__module__ for n in (variant, name)
    }
    assert len(modules) == 1 and name not in VARIANTS


@pytest.mark.parametrize("name", nets_factory.list_networks())
def test_preprocessing_resolves_by_the_networks_own_name(name):
    family = preprocessing_factory.get_preprocessing(name).family
    own = nets_factory.get_network(name).preprocessing
    assert preprocessing_factory.get_preprocessing(own).family == family
