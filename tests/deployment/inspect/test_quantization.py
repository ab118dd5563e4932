"""The table of ranges in a checkpoint of a quantized network."""

import numpy as np

from deployment.inspect import quantization
from deployment.models.checkpoint import Checkpoint
from tf_slim_compat import tf


def save(folder, values):
    with tf.Graph().as_default(), tf.Session() as session:
        for name, value in values.items():
            tf.Variable(np.float32(value), name=name)
        session.run(tf.global_variables_initializer())
        return Checkpoint(tf.train.Saver().save(session, f"{folder}/model.ckpt"))


def test_ranges_by_layer(tmp_path):
    checkpoint = save(
        tmp_path,
        {
            "Net/Conv/weights_quant/min": [-1.0, -0.254, -0.5],
            "Net/Conv/weights_quant/max": [1.0, 0.254, 0.5],
            "Net/Conv/act_quant/min": 0.0,
            "Net/Conv/act_quant/max": 5.1,
            "Net/Conv/act_quant/Net/Conv/act_quant/max/biased": 3.0,
            "Net/Conv/weights": [1.0],
        },
    )
    title, table = quantization.describe_ranges(checkpoint)
    assert title == "Ranges of 8 bits:"
    rows = [line.split() for line in table.splitlines()[2:]]
    assert rows == [
        ["Net/Conv", "act_quant", "0", "5.1", "0.02"],
        ["Net/Conv", "weights_quant", "-1", "1", "0.00787", "3.9"],
    ]


def test_a_network_in_float_has_none(tmp_path):
    checkpoint = save(tmp_path, {"Net/Conv/weights": [1.0]})
    assert not list(quantization.describe_ranges(checkpoint))
