"""Options of Inception v1, v2, v4 and Inception-ResNet v2."""

import probe_weights
import pytest

from nets import (
    inception,
    inception_resnet_v2,
    inception_utils,
    inception_v1,
    inception_v2,
    inception_v4,
)
from tf_slim_compat import slim, tf

pytestmark = pytest.mark.usefixtures("graph")


@pytest.fixture
def one_of_each_block(monkeypatch):
    """Removes repeated blocks, so graphs build faster."""
    repeat = slim.repeat
    monkeypatch.setattr(
        slim, "repeat", lambda net, _, *args, **kwargs: repeat(net, 1, *args, **kwargs)
    )
    repeated = ["5c", "5d", "5e", "6b", "6c", "6d", "6e", "6f", "6g", "7b", "7c"]
    layers = inception_v4.LAYERS.items()
    short = {name: layer for name, layer in layers if name[-2:] not in repeated}
    monkeypatch.setattr(inception_v4, "LAYERS", short)


def images(size, channels=3):
    return tf.random_uniform([2, size, size, channels], -1, 1, seed=1)


def variable_shapes():
    return {v.op.name: v.shape.as_list() for v in tf.global_variables()}


def run(*tensors):
    with tf.Session() as session:
        probe_weights.initialize(session)
        return session.run(tensors)


def test_inception_contains_every_version():
    assert inception.inception_v4 is inception_v4.inception_v4
    for name in inception.__all__:
        assert callable(getattr(inception, name))


# The root block


@pytest.mark.parametrize(
    "base, depth",
    [(inception_v1.inception_v1_base, 480), (inception_v2.inception_v2_base, 320)],
)
def test_without_root_block(base, depth):
    net, end_points = base(images(28, 192), "Mixed_3c", include_root_block=False)
    assert net.shape.as_list() == [2, 28, 28, depth]
    assert list(end_points) == ["Mixed_3b", "Mixed_3c"]


# Inception v2


def test_inception_v2_with_an_ordinary_first_convolution():
    base = inception_v2.inception_v2_base
    base(images(32), "Conv2d_1a_7x7", use_separable_conv=False)
    assert variable_shapes() == {
        "InceptionV2/Conv2d_1a_7x7/weights": [7, 7, 3, 64],
        "InceptionV2/Conv2d_1a_7x7/biases": [64],
    }


def inception_v2_shapes(input_shape, data_format):
    with (
        tf.Graph().as_default(),
        slim.arg_scope(inception_v2.inception_v2_arg_scope()),
    ):
        net, _ = inception_v2.inception_v2_base(
            tf.zeros(input_shape),
            "Mixed_3b",
            use_separable_conv=False,
            data_format=data_format,
        )
        return net.shape.as_list(), variable_shapes()


def test_inception_v2_channels_first_has_the_same_variables():
    last, variables = inception_v2_shapes([2, 32, 32, 3], "NHWC")
    first, same = inception_v2_shapes([2, 3, 32, 32], "NCHW")
    assert (last, first) == ([2, 4, 4, 256], [2, 256, 4, 4])
    assert same == variables


def test_inception_v2_rejects_invalid_formats():
    base = inception_v2.inception_v2_base
    with pytest.raises(ValueError, match="pass use_separable_conv=False"):
        base(images(32), data_format="NCHW")
    with pytest.raises(ValueError, match="'NHWC' or 'NCHW', not 'NWHC'"):
        base(images(32), data_format="NWHC")


def test_inception_v2_narrow_root_keeps_a_depthwise_multiplier():
    inception_v2.inception_v2_base(
        images(32), "Conv2d_1a_7x7", depth_multiplier=0.01, min_depth=16
    )
    shapes = variable_shapes()
    assert shapes["InceptionV2/Conv2d_1a_7x7/depthwise_weights"] == [7, 7, 3, 5]


# Inception v4


@pytest.mark.parametrize(
    "block, scope, shape",
    [
        ("block_inception_a", "BlockInceptionA", [2, 9, 9, 384]),
        ("block_reduction_a", "BlockReductionA", [2, 4, 4, 648]),
        ("block_inception_b", "BlockInceptionB", [2, 9, 9, 1024]),
        ("block_reduction_b", "BlockReductionB", [2, 4, 4, 520]),
        ("block_inception_c", "BlockInceptionC", [2, 9, 9, 1536]),
    ],
)
def test_inception_v4_blocks(block, scope, shape):
    build = getattr(inception_v4, block)
    assert build.__name__ == block
    assert build(images(9, 8)).shape.as_list() == shape
    shapes = variable_shapes()
    assert all(name.startswith(f"{scope}/Branch_") for name in shapes)
    build(images(9, 8), scope=scope, reuse=True)
    assert variable_shapes() == shapes


# The heads of Inception v4 and Inception-ResNet v2


@pytest.mark.usefixtures("one_of_each_block")
@pytest.mark.parametrize("name", ["inception_v4", "inception_resnet_v2"])
def test_small_images(name):
    logits, end_points = getattr(inception, name)(images(75), 5)
    assert end_points["global_pool"].shape.as_list() == [2, 1, 1, 1536]
    assert end_points["AuxLogits"].shape.as_list() == logits.shape.as_list() == [2, 5]


@pytest.mark.usefixtures("one_of_each_block")
@pytest.mark.parametrize("name", ["inception_v4", "inception_resnet_v2"])
def test_images_of_unknown_size(name):
    inputs = tf.placeholder(tf.float32, [None, None, None, 3])
    network = getattr(inception, name)
    logits, _ = network(inputs, 5, create_aux_logits=False)
    assert logits.shape.as_list() == [None, 5]


def test_auxiliary_logits_require_a_known_size():
    inputs = tf.placeholder(tf.float32, [None, None, None, 1024])
    with pytest.raises(ValueError, match="pass create_aux_logits=False"):
        inception_utils.build_flat_aux_logits(inputs, 5, "Conv2d_2a", "Aux_logits")


# Inception-ResNet v2


@pytest.mark.usefixtures("one_of_each_block")
@pytest.mark.parametrize(
    "align, output_stride, sides",
    [
        (True, 16, [150, 150, 150, 75, 75, 75, 38, 38, 19, 19, 10, 10]),
        (True, 8, [150, 150, 150, 75, 75, 75, 38, 38, 38, 38]),
        (False, 8, [149, 147, 147, 73, 73, 71, 35, 35, 33, 33]),
    ],
)
def test_inception_resnet_v2_resolutions(align, output_stride, sides):
    last = "PreAuxLogits" if output_stride == 8 else "Conv2d_7b_1x1"
    _, end_points = inception_resnet_v2.inception_resnet_v2_base(
        images(299), last, output_stride, align
    )
    assert [map.shape[1].value for map in end_points.values()] == sides


@pytest.mark.usefixtures("one_of_each_block")
def test_inception_resnet_v2_dilated_features_contain_the_strided_ones():
    inputs = images(139)
    base = inception_resnet_v2.inception_resnet_v2_base
    with tf.variable_scope("", reuse=tf.AUTO_REUSE):
        dense, _ = base(inputs, "PreAuxLogits", 8, scope="net")
        coarse, _ = base(inputs, "PreAuxLogits", 16, scope="net")
    dense, coarse = run(dense, coarse)
    assert dense.shape[1:3] == (13, 13)
    probe_weights.assert_varied(coarse[0, 0])
    assert abs(dense[:, ::2, ::2] - coarse).max() < 1e-4 * coarse.max()


@pytest.mark.parametrize(
    "final_endpoint, output_stride, message",
    [
        ("PreAuxLogits", 32, "must be 8 or 16, not 32"),
        ("Mixed_7a", 8, "not available for 'Mixed_7a'"),
        ("Conv2d_7b_1x1", 8, "pass final_endpoint='PreAuxLogits'"),
    ],
)
def test_inception_resnet_v2_rejects_output_strides(
    final_endpoint, output_stride, message
):
    base = inception_resnet_v2.inception_resnet_v2_base
    with pytest.raises(ValueError, match=message):
        base(images(75), final_endpoint, output_stride)


@pytest.mark.parametrize("name", ["block35", "block17", "block8"])
def test_inception_resnet_v2_blocks(name):
    block = getattr(inception_resnet_v2, name)
    net = images(9, 4)
    same = block(net, scale=0.0, activation_fn=None)
    bounded = block(net + 10.0, scale=1e6, activation_fn=tf.nn.relu6, scope="Bounded")
    net, same, bounded = run(net, same, bounded)
    assert same == pytest.approx(net)
    # The residual is clipped at -6, the sum at 6.
    assert bounded.min() >= 3.0 and bounded.max() == 6.0
