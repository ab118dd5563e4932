"""Options of the video networks I3D and S3D-G, and their shared layers."""

import pytest

from nets import i3d, i3d_utils, s3dg
from tf_slim_compat import slim, tf

pytestmark = pytest.mark.usefixtures("graph")

LAYERS = ["Conv2d_2c_3x3", "Mixed_3b", "Mixed_3c"]


def video(frames=8, size=32, channels=3):
    return tf.random_uniform([1, frames, size, size, channels], -1, 1, seed=1)


def weight_shapes():
    return {
        v.op.name.removeprefix("InceptionV1/"): v.shape.as_list()
        for v in tf.global_variables()
        if v.op.name.endswith("weights")
    }


def run(*tensors):
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        return session.run(tensors)


def build_s3dg(inputs=None, final_endpoint="Mixed_3c", **kwargs):
    inputs = video() if inputs is None else inputs
    with slim.arg_scope(s3dg.s3dg_arg_scope()):
        return s3dg.s3dg_base(inputs, final_endpoint=final_endpoint, **kwargs)


# Gating and temporal convolutions of S3D-G


@pytest.mark.parametrize(
    "temporal, gating",
    [("Mixed_3c", "Mixed_3b"), ("Mixed_3b", None), (None, "Mixed_3c")],
)
def test_s3dg_starts(temporal, gating):
    build_s3dg(temporal_conv_startat=temporal, gating_startat=gating)
    for part, start in ("/temporal/", temporal), ("/self_gating/", gating):
        layers = {name.split("/")[0] for name in weight_shapes() if part in name}
        assert layers == set(LAYERS[LAYERS.index(start) :] if start else [])


def test_s3dg_without_either_has_no_temporal_kernels():
    build_s3dg(
        final_endpoint="Mixed_3b",
        first_temporal_kernel_size=1,
        temporal_conv_startat=None,
        gating_startat=None,
    )
    assert all(shape[0] == 1 for shape in weight_shapes().values())


@pytest.mark.parametrize("size", [1, 3, 5, 7])
def test_s3dg_first_temporal_kernel_size(size):
    build_s3dg(final_endpoint="Conv2d_1a_7x7", first_temporal_kernel_size=size)
    assert weight_shapes() == {"Conv2d_1a_7x7/weights": [size, 7, 7, 3, 64]}


@pytest.mark.parametrize(
    "kwargs, message",
    [
        ({"first_temporal_kernel_size": 2}, "must be 1, 3, 5 or 7, not 2"),
        ({"gating_startat": "Mixed_3d"}, "Unknown gating_startat 'Mixed_3d'. Nearest"),
        ({"temporal_conv_startat": "Conv2d_1a_7x7"}, "Unknown temporal_conv_startat"),
        ({"data_format": "NHWC"}, "'NDHWC' or 'NCDHW', not 'NHWC'"),
        ({"depth_multiplier": 0.0}, "depth_multiplier must be greater than 0"),
    ],
)
def test_s3dg_rejects_invalid_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        build_s3dg(**kwargs)


def test_s3dg_depth_multiplier():
    _, end_points = build_s3dg(
        final_endpoint="Mixed_3b", depth_multiplier=0.5, min_depth=4
    )
    assert end_points["Conv2d_1a_7x7"].shape.as_list() == [1, 4, 16, 16, 32]
    assert end_points["Mixed_3b"].shape.as_list() == [1, 4, 4, 4, 128]


def test_s3dg_channels_first_has_the_same_variables():
    last, _ = build_s3dg(final_endpoint="Mixed_3b")
    variables = weight_shapes()
    with tf.Graph().as_default():
        first, _ = build_s3dg(
            tf.zeros([1, 3, 8, 32, 32]), "Mixed_3b", data_format="NCDHW"
        )
        assert weight_shapes() == variables
    assert last.shape.as_list() == [1, 4, 4, 4, 256]
    assert first.shape.as_list() == [1, 256, 4, 4, 4]


# The heads


@pytest.mark.parametrize(
    "kwargs, shape",
    [
        ({}, [1, 5]),
        ({"spatial_squeeze": False}, [1, 1, 1, 5]),
        ({"num_classes": 0}, [1, 3, 1, 1, 192]),
        ({"data_format": "NCDHW"}, [1, 5]),
    ],
)
def test_s3dg_head(kwargs, shape):
    channels_first = kwargs.get("data_format") == "NCDHW"
    inputs = tf.zeros([1, 3, 8, 28, 28]) if channels_first else video(size=28)
    kwargs = {"num_classes": 5, "final_endpoint": "Conv2d_2c_3x3", **kwargs}
    with slim.arg_scope(s3dg.s3dg_arg_scope()):
        net, end_points = s3dg.s3dg(inputs, **kwargs)
    assert net.shape.as_list() == shape
    assert ("Predictions" in end_points) == bool(kwargs["num_classes"])


def test_i3d_accepts_videos_of_unknown_size():
    inputs = tf.placeholder(tf.float32, [None, None, None, None, 3])
    logits, _ = i3d.i3d(inputs, 5, spatial_squeeze=False)
    assert logits.shape.as_list() == [None, None, None, 5]


def test_i3d_separable():
    with slim.arg_scope(i3d.i3d_arg_scope(separable_conv3d=True)):
        i3d.i3d_base(video(), "Conv2d_1a_7x7")
    assert weight_shapes() == {
        "Conv2d_1a_7x7/weights": [1, 7, 7, 3, 64],
        "Conv2d_1a_7x7/temporal/weights": [7, 1, 1, 64, 64],
    }


def test_i3d_rejects_renorm():
    with (
        slim.arg_scope(i3d.i3d_arg_scope(use_renorm=True)),
        pytest.raises(ValueError, match="renorm"),
    ):
        i3d.i3d_base(video(), "Conv2d_1a_7x7")


# Layers


def test_temporal_convolution_starts_as_the_identity():
    inputs = video(channels=2)
    conv = i3d_utils.conv3d_spatiotemporal
    with tf.variable_scope("", reuse=tf.AUTO_REUSE):
        space = conv(inputs, 4, [1, 3, 3], [1, 2, 2], scope="conv")
        both = conv(inputs, 4, [3, 3, 3], [1, 2, 2], separable=True, scope="conv")
    assert weight_shapes() == {
        "conv/weights": [1, 3, 3, 2, 4],
        "conv/temporal/weights": [3, 1, 1, 4, 4],
    }
    space, both = run(space, both)
    assert both == pytest.approx(space, abs=1e-6)


def test_rejects_an_even_temporal_kernel():
    with pytest.raises(ValueError, match="must have an odd size"):
        i3d_utils.conv3d_spatiotemporal(video(), 4, [2, 3, 3], separable=True)


def test_self_gating_scales_channels():
    inputs = video(channels=4)
    outputs = s3dg.self_gating(inputs, "gate")
    inputs, outputs = run(inputs, outputs)
    gates = outputs / inputs
    assert gates.min() > 0 and gates.max() < 1
    assert gates.std(axis=(1, 2, 3)) == pytest.approx(0, abs=1e-4)
    assert weight_shapes() == {
        "gate/self_gating/transformer_W/weights": [1, 1, 1, 4, 4]
    }


def test_inception_block():
    net = s3dg.inception_block_v1_3d(
        video(channels=4), 1, 2, 3, 4, 5, 6, self_gating_fn=s3dg.self_gating, scope="b"
    )
    assert net.shape.as_list() == [1, 8, 32, 32, 1 + 3 + 5 + 6]
    shapes = weight_shapes()
    assert shapes["b/Branch_2/Conv2d_0b_3x3/weights"] == [3, 3, 3, 4, 5]
    gated = {name.split("/self_gating")[0] for name in shapes if "gating" in name}
    assert gated == {
        "b/Branch_0/Conv2d_0a_1x1",
        "b/Branch_1/Conv2d_0b_3x3",
        "b/Branch_2/Conv2d_0b_3x3",
        "b/Branch_3/Conv2d_0b_1x1",
    }
