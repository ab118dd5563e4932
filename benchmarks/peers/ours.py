"""Trains networks of this project for `benchmarks/against_peers.py`.

A step is what the training loop does, with the flags' defaults; the L2 losses are in
the graph, and Inception v3 has its auxiliary classifier.
"""

import tempfile

from benchmarks.peers import serving
from deployment import model_deploy
from deployment.models.history import History
from deployment.models.spec import ModelSpec
from deployment.train import loop, step, training
from nets import nets_factory
from tf_slim_compat import tf

_DTYPES = {"float32": tf.float32, "bfloat16": tf.bfloat16}
_CONVOLUTIONS = ("Conv2D", "Conv3D", "DepthwiseConv2dNative")
_ON = 1  # RewriterConfig.ON


def _build_session_config(deployment, precision):
    config = model_deploy.build_session_config(deployment)
    if precision == "bfloat16":
        rewriter = config.graph_options.rewrite_options
        rewriter.auto_mixed_precision_onednn_bfloat16 = _ON
    return config


def build(name: str, precision: str, batch_size: int, size: int):
    """Returns a function that takes one training step; see `serving.serve`."""
    folder = tempfile.TemporaryDirectory()
    deployment = model_deploy.choose_deployment()
    config = training.TrainingConfig(
        train_dir=folder.name,
        spec=ModelSpec(model_name=name, num_outputs=serving.CLASSES, image_size=size),
        num_samples=1000,
        batch_size=batch_size,
        deployment=deployment,
        seed=1,
    )
    network_fn = nets_factory.get_network_fn(
        name, serving.CLASSES, weight_decay=serving.WEIGHT_DECAY, is_training=True
    )

    def synthetic():
        batch = serving.make_batch(batch_size, size)
        return tf.data.Dataset.from_tensors(batch).cache().repeat()

    graph = tf.Graph()
    with graph.as_default():
        parts = step.build_training_graph(config, network_fn, synthetic)
        take_step = loop.TrainingLoop(config, parts, History(folder.name))
        session = tf.Session(config=_build_session_config(deployment, precision))
        session.run(
            [
                tf.global_variables_initializer(),
                tf.local_variables_initializer(),
                tf.tables_initializer(),
            ]
        )
        writer = tf.summary.FileWriter(folder.name)
    options = {"summary_writer": writer, "folder": folder}

    def run():
        with graph.as_default():
            take_step(session, parts.train_op, parts.global_step, options)

    return run


def count_step_flops(name: str, size: int) -> int:
    """Returns the FLOPs of a training step per image, of products only.

    Three times those of the forward pass, with two per multiplication and addition.
    """
    with tf.Graph().as_default() as graph:
        images = tf.placeholder(tf.float32, [1, size, size, 3])
        nets_factory.get_network_fn(name, serving.CLASSES, is_training=True)(images)
        return 3 * 2 * sum(map(_count_products, graph.get_operations()))


def _count_products(op):
    if op.type == "MatMul":
        inputs = op.inputs[0].shape[0 if op.get_attr("transpose_a") else 1]
        return op.outputs[0].shape.num_elements() * inputs.value
    if op.type not in _CONVOLUTIONS:
        return 0
    *kernel, inputs, _ = op.inputs[1].shape.as_list()
    products = op.outputs[0].shape.num_elements()
    for length in kernel:
        products *= length
    return products * (1 if op.type == "DepthwiseConv2dNative" else inputs)


def measure_peaks() -> dict[str, float]:
    """Returns the FLOP/s of matrix products by precision."""

    def build_product(dtype):
        def build_for(size):
            with tf.Graph().as_default():
                matrix = tf.Variable(lambda: tf.ones([size, size], dtype))
                product = tf.matmul(matrix, matrix)
                session = tf.Session()
                session.run(matrix.initializer)
            return session.make_callable(product.op)

        return build_for

    return {
        name: serving.measure_peak(build_product(dtype))
        for name, dtype in _DTYPES.items()
    }


if __name__ == "__main__":
    serving.serve(build, measure_peaks, "this project")
