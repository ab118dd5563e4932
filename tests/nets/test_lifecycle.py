"""Every network, at a small size: one training step, evaluation, export, freezing.

What the frozen file answers must be what evaluation found.
"""

import numpy as np
import probe_weights
import pytest

from deployment import model_deploy
from deployment.evaluate import evaluation
from deployment.models import graph_files
from deployment.optimize import learning_rates, optimizers
from deployment.train import training, training_graph
from nets import nets_factory
from preprocessing import preprocessing_factory
from tf_slim_compat import tf

NUM_CLASSES = 5
# The pixels that a network's structure needs, where 64 are too few or need not be.
SIZES = {
    "lenet": 28,
    "softmax_regression": 28,
    **dict.fromkeys(("lenet5", "cifarnet", "simple_cnn", "nasnet_cifar"), 32),
    **dict.fromkeys(("alexnet", "overfeat"), 71),
    "alexnet_v2": 71,
    **dict.fromkeys(("inception_v3", "inception_v4", "inception_resnet_v2"), 107),
}
NUM_FRAMES = {"i3d": 16, "s3dg": 16}
# Optimising a graph takes longer than the one run that each is built for, and it
# rounds variables and constants differently.
SESSION_CONFIG = tf.ConfigProto(allow_soft_placement=True)
SESSION_CONFIG.graph_options.rewrite_options.disable_meta_optimizer = True


def make_batch(name, batch_size=2):
    size = SIZES.get(name, 64)
    frames = [NUM_FRAMES[name]] if name in NUM_FRAMES else []
    shape = [batch_size, *frames, size, size, 3]
    images = np.random.RandomState(0).uniform(-1, 1, shape).astype(np.float32)
    return images, np.arange(batch_size, dtype=np.int64)


def train_one_step(name, images, labels, train_dir):
    network_fn = nets_factory.get_network_fn(
        name, NUM_CLASSES, weight_decay=4e-5, is_training=True
    )
    config = training.TrainingConfig(
        train_dir=str(train_dir),
        num_classes=NUM_CLASSES,
        num_samples=len(labels),
        batch_size=len(labels),
        deployment=model_deploy.DeploymentConfig(clone_on_cpu=True),
        # Without slots, a third of the variables are there to make, save and read.
        optimizer=optimizers.OptimizerConfig("sgd"),
        # Small, as a batch of two makes gradients that throw a network of 200 layers.
        schedule=learning_rates.Schedule(initial=1e-6),
    )
    with tf.Graph().as_default():
        tf.set_random_seed(1)
        graph = training_graph.build_training_graph(
            config,
            network_fn,
            lambda: tf.data.Dataset.from_tensors((images, labels)).repeat(),
        )
        with tf.Session(config=SESSION_CONFIG) as session:
            probe_weights.initialize(session)
            session.run(tf.tables_initializer())
            loss, step = session.run([graph.train_op, graph.step_after])
            tf.train.Saver().save(
                session, f"{train_dir}/model.ckpt", step, write_meta_graph=False
            )
    assert np.isfinite(loss) and step == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", nets_factory.list_networks())
def test_train_evaluate_export_freeze(name, tmp_path, monkeypatch):
    monkeypatch.setattr(model_deploy, "build_session_config", lambda _: SESSION_CONFIG)
    images, labels = make_batch(name)
    train_one_step(name, images, labels, tmp_path)

    network_fn = nets_factory.get_network_fn(name, NUM_CLASSES)
    config = evaluation.EvaluationConfig(str(tmp_path), None, NUM_CLASSES)
    predictions = evaluation.predict(
        config,
        network_fn,
        lambda: tf.data.Dataset.from_tensors((images, labels)),
    )
    assert predictions.logits.shape == (len(labels), NUM_CLASSES)
    probe_weights.assert_varied(predictions.logits)

    graph_def = graph_files.build_inference_graph(network_fn, [None, *images.shape[1:]])
    graph_files.write_graph(graph_def, f"{tmp_path}/graph.pb")
    frozen = graph_files.freeze(
        f"{tmp_path}/frozen.pb",
        input_graph=f"{tmp_path}/graph.pb",
        input_checkpoint=str(tmp_path),
    )
    (output,) = graph_files.find_outputs(frozen)
    # Probabilities of large logits are 0 and 1, and alone compare nothing.
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


@pytest.mark.parametrize("name", nets_factory.list_networks())
def test_preprocessing_resolves_by_the_networks_own_name(name):
    family = preprocessing_factory.get_preprocessing(name).family
    own = nets_factory.get_network(name).preprocessing
    assert preprocessing_factory.get_preprocessing(own).family == family
