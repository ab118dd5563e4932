"""Learning rates that decay with the distance from the head."""

import numpy as np
import pytest
from toy_training import make_config, read_all, train

from deployment.optimize import layer_decay, optimizers
from deployment.optimize.optimizers import OptimizerConfig
from nets import nets_factory
from tf_slim_compat import tf

# For each network: some scopes, and how many layers they are before the head.
DEPTHS = {
    "mobilenet_v1_025": {
        "MobilenetV1/Logits": 0,
        "MobilenetV1/Conv2d_13_pointwise": 1,
        "MobilenetV1/Conv2d_13_depthwise": 1,
        "MobilenetV1/Conv2d_12_pointwise": 2,
        "MobilenetV1/Conv2d_0": 14,
    },
    "inception_v3": {
        "InceptionV3/Logits": 0,
        "InceptionV3/AuxLogits": 0,
        "InceptionV3/Mixed_7c": 1,
        "InceptionV3/Mixed_7b": 2,
        "InceptionV3/Conv2d_1a_3x3": 16,
    },
    "resnet_v1_50": {
        "resnet_v1_50/logits": 0,
        "resnet_v1_50/block4": 1,
        "resnet_v1_50/block1": 4,
        "resnet_v1_50/conv1": 5,
    },
    "pnasnet_mobile": {  # Its layers have no common scope.
        "final_layer": 0,
        "aux_5": 0,
        "cell_8": 1,
        "conv0_bn": 12,
        "conv0/": 12,
    },
}


@pytest.mark.parametrize("name", DEPTHS)
def test_the_depth_of_layers(name):
    with tf.Graph().as_default():
        network_fn = nets_factory.get_network_fn(name, 5, is_training=True)
        network_fn(tf.zeros([1, *2 * [network_fn.default_image_size], 3]))
        names = [variable.op.name for variable in tf.trainable_variables()]
    factors = layer_decay.compute_factors(names, 0.5)
    assert list(factors) == names
    for scope, depth in DEPTHS[name].items():
        found = {factors[n] for n in names if n.startswith(scope)}
        assert found == {0.5**depth}, scope
    assert set(layer_decay.compute_factors(names, 1.0).values()) == {1.0}


def test_factors_by_scope_multiply_those_by_layer():
    names = ("Net/a/w", "Net/b/w", "Net/c/w", "Net/c/b")
    with tf.Graph().as_default(), tf.Session() as session:
        variables = [tf.get_variable(name, initializer=1.0) for name in names]
        config = OptimizerConfig(
            "sgd", layer_decay=0.5, learning_rate_factors=(("Net/(b|c/b)", 10.0),)
        )
        optimizer = optimizers.build_optimizer(config, 0.01)
        update = optimizer.minimize(tf.add_n(variables))
        session.run(tf.global_variables_initializer())
        session.run(update)
        changes = 1 - np.array(session.run(variables))
    np.testing.assert_allclose(changes, [0.0025, 0.05, 0.01, 0.1], rtol=1e-4)


def test_a_run_with_layer_decay_resumes_exactly(tmp_path):
    options = {"optimizer": OptimizerConfig("adam", layer_decay=0.5), "seed": 1}
    train(tmp_path / "whole", steps=6, **options)
    train(tmp_path / "parts", steps=3, **options)
    train(tmp_path / "parts", steps=6, **options)
    whole, parts = read_all(tmp_path / "whole"), read_all(tmp_path / "parts")
    assert whole.keys() == parts.keys()
    for name, value in whole.items():
        np.testing.assert_array_equal(value, parts[name])
    assert "Net/Conv/weights/Adam" in whole and "Net/Logits/weights/Adam" in whole
    assert "learning_rate_factor_0.5/beta1_power" in whole and "beta1_power" in whole
    # The head alone learns as without decay in the first step.
    train(tmp_path / "decayed", steps=1, **options)
    train(tmp_path / "plain", steps=1, optimizer=OptimizerConfig("adam"), seed=1)
    decayed, plain = read_all(tmp_path / "decayed"), read_all(tmp_path / "plain")
    for name, is_equal in (("Net/Logits/weights", True), ("Net/Conv/weights", False)):
        assert np.array_equal(decayed[name], plain[name]) == is_equal


@pytest.mark.parametrize("decay", [0.0, 1.01, -0.5])
def test_a_decay_out_of_range_is_refused(tmp_path, decay):
    with pytest.raises(ValueError, match="layer_decay must be above 0 and at most 1"):
        make_config(tmp_path, optimizer=OptimizerConfig(layer_decay=decay))
