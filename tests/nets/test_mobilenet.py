"""MobileNet v2 and v3: options, tables and blocks."""

import copy

import numpy as np
import probe_weights
import pytest

from nets.mobilenet import conv_blocks, conv_defs, mobilenet, mobilenet_v2, mobilenet_v3
from tf_slim_compat import slim, tf

pytestmark = pytest.mark.usefixtures("graph")

V2 = mobilenet_v2.V2_DEF
V3 = mobilenet_v3.V3_SMALL
MINIMALISTIC = mobilenet_v3.V3_SMALL_MINIMALISTIC
EDGETPU = mobilenet_v3.V3_EDGETPU


def rows(table, *numbers):
    """Returns the table reduced to these layers."""
    return {**table, "spec": [table["spec"][number - 1] for number in numbers]}


def first(table, count):
    return rows(table, *range(1, count + 1))


def images(height, width=None):
    values = np.random.RandomState(1).uniform(-1, 1, [2, height, width or height, 3])
    return tf.constant(values, tf.float32)


def shape(tensor):
    return tensor.shape.as_list()


def variable_names():
    return [variable.op.name for variable in tf.global_variables()]


def evaluate(*tensors):
    with tf.Session() as session:
        probe_weights.initialize(session)
        return session.run(tensors)


def assert_close(ours, theirs):
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() < 1e-4 * np.abs(theirs).max()


# Fully convolutional


@pytest.mark.parametrize("output_stride", [8, 16, None])
def test_output_stride_of_v2(output_stride):
    net, end_points = mobilenet_v2.mobilenet_base(
        images(97), 0.35, output_stride=output_stride
    )
    side = {8: 13, 16: 7}.get(output_stride, 4)
    assert shape(net) == [2, side, side, 448]
    assert shape(end_points["layer_5/expansion_output"]) == [2, 25, 25, 48]
    assert shape(end_points["layer_7"]) == [2, 13, 13, 16]


def test_output_stride_reaches_the_pool_of_v3():
    _, end_points = mobilenet_v3.mobilenet_base(
        images(65), conv_defs=rows(V3, 1, 2, 3, 5, 13, 14, 15), output_stride=4
    )
    assert shape(end_points["layer_5"]) == [2, 17, 17, 576]
    assert shape(end_points["layer_6"]) == [2, 1, 1, 576]


@pytest.mark.parametrize("output_stride", [0, 3, 6])
def test_rejects_an_unreachable_output_stride(output_stride):
    with pytest.raises(ValueError, match=f"output_stride {output_stride} cannot be"):
        mobilenet.mobilenet_base(images(33), first(V2, 6), output_stride=output_stride)


@pytest.mark.parametrize(
    "table, multiplier",
    [
        (rows(V2, 1, 2, 3, 5, 6), 0.35),
        (rows(MINIMALISTIC, 1, 2, 3, 5, 6), 1.0),
        (rows(EDGETPU, 1, 3, 7, 8, 11), 0.5),
    ],
    ids=["v2", "minimalistic", "edgetpu"],
)
def test_dilated_features_contain_the_strided_ones(table, multiplier):
    """No residual appears where dilation makes input and output shapes equal."""
    with tf.variable_scope("", reuse=tf.AUTO_REUSE):
        dense, coarse = evaluate(
            *[
                mobilenet.mobilenet_base(
                    images(33), table, multiplier, output_stride=stride, scope="net"
                )[0]
                for stride in (2, None)
            ]
        )
    step = (dense.shape[1] - 1) // (coarse.shape[1] - 1)
    assert step >= 4
    probe_weights.assert_varied(coarse[0, 0])
    assert_close(dense[:, ::step, ::step], coarse)


@pytest.mark.parametrize(
    "table",
    [rows(V2, 1, 3, 5, 8, 9), rows(V3, 1, 2, 3, 5, 6), rows(EDGETPU, 1, 3, 7, 11, 12)],
    ids=["v2", "small", "edgetpu"],
)
def test_explicit_padding_equals_same_for_odd_sizes(table):
    """Strides go up to 8, followed by dilation."""
    with tf.variable_scope("", reuse=tf.AUTO_REUSE):
        odd_ours, odd_theirs, even_ours, even_theirs = evaluate(
            *[
                mobilenet.mobilenet_base(
                    images(side),
                    table,
                    0.5,
                    use_explicit_padding=explicit,
                    output_stride=8,
                    scope="net",
                )[0]
                for side in (33, 32)
                for explicit in (True, False)
            ]
        )
    assert_close(odd_ours, odd_theirs)
    assert even_ours.shape == even_theirs.shape
    assert np.abs(even_ours - even_theirs).max() > 1e-2 * np.abs(even_theirs).max()


def test_height_and_width_may_be_unknown():
    inputs = tf.placeholder(tf.float32, [None, None, None, 3])
    logits, _ = mobilenet_v3.small(inputs, 5, conv_defs=rows(V3, 1, 2, 14, 15))
    assert shape(logits) == [None, 5]
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        value = session.run(logits, {inputs: np.zeros([1, 40, 56, 3])})
    assert value.shape == (1, 5)


@pytest.mark.parametrize(
    "size, pooled", [([9, 9], [1, 1]), ([9, 7], [3, 1]), ([5, 9], [1, 3])]
)
def test_reduce_to_1x1(size, pooled):
    net = mobilenet_v3.reduce_to_1x1(images(*size), stride=1)
    assert shape(net)[1:3] == pooled


@pytest.mark.parametrize(
    ("table", "depths"), [("LARGE", (160, 960, 80, 480)), ("SMALL", (96, 576, 48, 288))]
)
def test_detection_tables_halve_the_last_stage(table, depths):
    """The depths of the last block and of the convolution after it (section 6.3)."""
    whole, halved = (
        getattr(mobilenet_v3, f"V3_{table}{suffix}")["spec"]
        for suffix in ("", "_DETECTION")
    )
    found = [[row.params["num_outputs"] for row in t[-6:-2]] for t in (whole, halved)]
    assert found == [[depths[0]] * 3 + [depths[1]], [depths[2]] * 3 + [depths[3]]]
    same = [row.params["num_outputs"] for row in whole[:-6]]
    assert same == [row.params["num_outputs"] for row in halved[:-6]]


def test_names_that_detection_and_segmentation_code_uses():
    from nets.mobilenet import conv_blocks, mobilenet

    for module in (mobilenet_v2, mobilenet_v3):
        assert module.expand_input is conv_blocks.expand_input_by_factor
        assert module.op is mobilenet.op
    x = tf.constant([-1.0])
    assert mobilenet.apply_activation(x) is x
    assert mobilenet.apply_activation(x, "act", tf.nn.relu).op.name == "act"


# Heads and end points


def test_base_only():
    net, end_points = mobilenet_v2.mobilenet(images(32), base_only=True)
    assert net is end_points["layer_19"]
    assert not {"global_pool", "Logits"} & end_points.keys()
    assert not [name for name in variable_names() if "Logits" in name]


def test_no_classes_gives_features():
    table = rows(V2, 1, 2, 3)
    net, end_points = mobilenet_v2.mobilenet(images(32), 0, conv_defs=table)
    assert net is end_points["global_pool"] and shape(net) == [2, 1, 1, 24]
    assert "Logits" not in end_points


def test_final_endpoint_ends_the_graph(graph):
    net, end_points = mobilenet_v2.mobilenet_base(images(32), final_endpoint="layer_3")
    assert net is end_points["layer_3"] and list(end_points)[-1] == "layer_3"
    assert graph.get_operations()[-1].name == "MobilenetV2/expanded_conv_1/output"
    with pytest.raises(ValueError, match="Unknown final_endpoint 'layer_4'"):
        mobilenet.mobilenet_base(images(32), first(V2, 3), final_endpoint="layer_4")


def test_predictions_are_optional():
    def build(scope, **kwargs):
        table = rows(V2, 1, 2)
        kwargs = {"conv_defs": table, "scope": scope, **kwargs}
        return mobilenet_v2.mobilenet(images(32), 5, **kwargs)[1]

    assert "Predictions" not in build("none", prediction_fn=None)
    predictions = build("sigmoid", prediction_fn=tf.sigmoid)["Predictions"]
    assert predictions.op.type == "Sigmoid"


def test_global_pool():
    inputs = images(5, 7)
    unknown = tf.placeholder_with_default(inputs, [2, None, None, 3])
    mean = tf.reduce_mean(inputs, [1, 2], keepdims=True)
    pools = [
        mobilenet.global_pool(inputs),
        mobilenet.global_pool(inputs, use_reduce_mean_for_pooling=True),
        mobilenet.global_pool(unknown),
    ]
    assert [pool.op.type for pool in pools] == ["AvgPool", "Mean", "Mean"]
    theirs, *ours = evaluate(mean, *pools)
    for value in ours:
        assert_close(value, theirs)


def test_rejects_invalid_ranks_and_multipliers():
    with pytest.raises(ValueError, match="inputs must have rank 4"):
        mobilenet_v2.mobilenet(tf.zeros([32, 32, 3]))
    with pytest.raises(ValueError, match="must be greater than 0, got 0"):
        mobilenet_v3.mobilenet(images(32), depth_multiplier=0)


# Depths


@pytest.mark.parametrize(
    "depth, divisible_by, min_depth, rounded",
    [(18, 8, None, 24), (11.2, 8, 8, 16), (44.8, 8, 8, 48), (3, 8, 4, 4), (5, 1, 2, 5)],
)
def test_make_divisible(depth, divisible_by, min_depth, rounded):
    assert conv_defs.make_divisible(depth, divisible_by, min_depth) == rounded


@pytest.mark.parametrize(
    "module, table, finegrain, multiplier, depth",
    [
        (mobilenet_v2, V2, True, 0.35, 1280),
        (mobilenet_v2, V2, True, 1.4, 1792),
        (mobilenet_v2, V2, False, 0.35, 448),
        (mobilenet_v3, EDGETPU, True, 0.75, 1280),
        (mobilenet_v3, EDGETPU, False, 0.75, 960),
    ],
)
def test_finegrain_classification_mode(module, table, finegrain, multiplier, depth):
    net, _ = module.mobilenet_base(
        images(32),
        multiplier,
        conv_defs=rows(table, 1, len(table["spec"])),
        finegrain_classification_mode=finegrain,
    )
    assert shape(net)[3] == depth


def test_min_depth_and_divisor():
    table = rows(V2, 1, 2)
    kwargs = {"conv_defs": table, "min_depth": 2, "divisible_by": 2}
    _, end_points = mobilenet_v2.mobilenet_base(images(32), 0.1, **kwargs)
    assert [shape(end_points[f"layer_{n}"])[3] for n in (1, 2)] == [4, 2]


# Modified tables


def test_group_norm():
    net, _ = mobilenet_v2.mobilenet_base_group_norm(images(32))
    assert shape(net) == [2, 1, 1, 1280]
    table = rows(V3, 1, 2, 3, 13, 14, 15)
    logits, _ = mobilenet_v3.small(images(32), 5, conv_defs=table, use_groupnorm=True)
    assert np.isfinite(evaluate(logits)).all()
    names = variable_names()
    assert any("GroupNorm" in name for name in names)
    assert not any("BatchNorm" in name for name in names)


def test_activation(graph):
    table = rows(V2, 1, 2, 3)
    kwargs = {"conv_defs": table, "activation_fn": tf.nn.elu}
    mobilenet_v2.mobilenet(images(32), 5, **kwargs)
    kinds = [op.type for op in graph.get_operations()]
    assert kinds.count("Elu") == 4 and "Relu6" not in kinds


def test_custom_table():
    table = copy.deepcopy(first(V2, 3))
    table["spec"][-1].params["num_outputs"] = 40
    table["spec"].append(
        mobilenet.op(conv_blocks.split_separable_conv2d, stride=2, num_outputs=48)
    )
    _, end_points = mobilenet_v2.mobilenet(images(32), 5, conv_defs=table)
    assert shape(end_points["layer_3"]) == [2, 8, 8, 40]
    assert shape(end_points["layer_4/depthwise"]) == [2, 4, 4, 40]
    assert shape(end_points["layer_4"]) == [2, 4, 4, 48]
    assert "MobilenetV2/separable/pointwise/weights" in variable_names()
    assert V2["spec"][2].params["num_outputs"] == 24


def test_training_scope_can_leave_is_training_to_the_enclosing_scope():
    table = rows(V2, 1, 2)

    def updates(enclosing, **kwargs):
        with (
            tf.Graph().as_default() as graph,
            slim.arg_scope([slim.batch_norm], is_training=enclosing),
            slim.arg_scope(mobilenet_v2.training_scope(**kwargs)),
        ):
            mobilenet_v2.mobilenet(images(32), 5, conv_defs=table)
        return len(graph.get_collection(tf.GraphKeys.UPDATE_OPS))

    assert updates(True, is_training=None) == 6
    assert updates(False, is_training=None) == 0
    assert updates(False, is_training=True, stddev=-1) == 6
    assert updates(True, is_training=False) == 0


# Blocks


@pytest.mark.parametrize("location", ["input", "expansion", "output", None])
def test_depthwise_location(location):
    net = slim.conv2d(images(9), 8, 1)
    points = {}
    block = conv_blocks.expanded_conv(
        net, 8, depthwise_location=location, endpoints=points, scope="block"
    )
    names = [name for name in variable_names() if name.endswith("depthwise_weights")]
    assert len(names) == (0 if location is None else 1)
    assert points["output"] is block and shape(block) == [2, 9, 9, 8]
    assert shape(points["expansion_output"])[3] == 48
    if location is not None:
        depth = 48 if location == "expansion" else 8
        assert shape(points["depthwise_output"])[3] == depth


def test_expanded_conv_rejects_invalid_arguments():
    with pytest.raises(ValueError, match="depthwise_location must be .* not 'middle'"):
        conv_blocks.expanded_conv(images(9), 8, depthwise_location="middle")
    with pytest.raises(ValueError, match="requires padding 'SAME', not 'VALID'"):
        conv_blocks.expanded_conv(
            images(9), 8, use_explicit_padding=True, padding="VALID"
        )


def test_custom_residual():
    net = images(9)
    block = conv_blocks.expanded_conv(
        net, 8, residual=lambda input_tensor, output_tensor: input_tensor
    )
    ours, theirs = evaluate(block, net)
    assert_close(ours, theirs)


def test_split_conv():
    net = slim.conv2d(images(9), 40, 1)
    net = conv_blocks.split_conv(net, 24, num_ways=2, scope="expand")
    assert shape(net) == [2, 9, 9, 24]
    shapes = {v.op.name: v.shape.as_list() for v in tf.global_variables()}
    assert shapes["expand_part_0/weights"] == [1, 1, 24, 16]
    assert shapes["expand_part_1/weights"] == [1, 1, 16, 8]
    conv_blocks.split_conv(net, 24, num_ways=4, scope="whole")
    assert "whole/weights" in variable_names()
    with pytest.raises(ValueError, match="depths divisible by 8, not 30"):
        conv_blocks.split_conv(net, 30, num_ways=2, scope="odd")


def test_split_separable_conv2d_names_as_in_v1():
    points = {}
    net = conv_blocks.split_separable_conv2d(
        images(9), 8, "Conv2d_1", stride=2, endpoints=points, use_explicit_padding=True
    )
    assert list(points) == ["Conv2d_1_depthwise", "Conv2d_1_pointwise"]
    assert shape(net) == [2, 5, 5, 8]
    assert "Conv2d_1_depthwise/depthwise_weights" in variable_names()


def test_squeeze_excite_in_windows():
    net = images(9, 11) + 2.0
    windows = conv_blocks.squeeze_excite(net, pool=3, squeeze_input_tensor=images(9))
    with tf.variable_scope("other"):
        whole = conv_blocks.squeeze_excite(net)
    net, windows, whole = evaluate(net, windows, whole)
    for weights in (windows / net, whole / net):
        assert weights.shape == (2, 9, 11, 3)
        assert weights.min() > 0 and weights.max() < 1
    assert np.ptp(windows / net, axis=(1, 2)).min() > 1e-3
    assert np.ptp(whole / net, axis=(1, 2)).max() < 1e-5
