r"""Speed of a frozen graph with batch normalization folded, against unfolded.

  python -m benchmarks.frozen_speed resnet_v1_50 --batch_size=1

Both graphs are of one fresh network, and run in turn, block by block, in one process:
the ratio tells what folding brings, whatever else the machine does. Each pair is
measured twice: as sessions here are, in which TensorFlow optimizes a graph as it is
loaded and itself fuses a convolution with the normalization after it; and without
these optimizations, as other runtimes take the graph.
"""

import argparse
import statistics
import time

import numpy as np

from deployment import model_deploy
from deployment.formats import graph_folding
from deployment.models import graph_files
from nets import nets_factory
from tf_slim_compat import slim, tf


def freeze_fresh(name, image_size):
    """(graph_def, outputs) of a network with random weights, frozen as it is."""
    network_fn = nets_factory.get_network_fn(name, num_classes=1001)
    size = image_size or network_fn.default_image_size
    random = np.random.RandomState(1)
    with tf.Graph().as_default() as graph:
        network_fn(tf.placeholder(tf.float32, [None, size, size, 3], "input"))
        outputs = graph_files.find_outputs(graph.as_graph_def())
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            # As training leaves them: an offset of zeros would be optimized away.
            for variable in slim.get_model_variables():
                if variable.op.name.endswith(("beta", "moving_mean")):
                    values = random.uniform(-0.5, 0.5, variable.shape.as_list())
                    variable.load(values.astype(np.float32), session)
            frozen = tf.graph_util.convert_variables_to_constants(
                session, graph.as_graph_def(), outputs
            )
    return frozen, outputs, size


def open_session(graph_def, is_optimized):
    """A session as this project opens them, or without optimization."""
    config = model_deploy.build_session_config(model_deploy.choose_deployment())
    if not is_optimized:
        options = config.graph_options
        options.rewrite_options.disable_meta_optimizer = True
        options.optimizer_options.opt_level = tf.OptimizerOptions.L0
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(graph_def, name="")
    return tf.Session(graph=graph, config=config)


def measure(run, steps):
    """Seconds a step."""
    started = time.perf_counter()
    for _ in range(steps):
        run()
    return (time.perf_counter() - started) / steps


def compare(name, options):
    """Prints the speeds of one network."""
    unfolded, outputs, size = freeze_fresh(name, options.image_size)
    folded = graph_folding.optimize(unfolded, outputs)
    shape = [options.batch_size, size, size, 3]
    images = np.random.RandomState(0).uniform(-1, 1, shape).astype(np.float32)
    print(
        f"{name} at {size} pixels, batch {options.batch_size}: {len(unfolded.node)} "
        f"nodes unfolded, {len(folded.node)} folded"
    )
    for is_optimized in (True, False):
        runs = []
        for graph_def in (unfolded, folded):
            session = open_session(graph_def, is_optimized)
            fetches = session.make_callable(f"{outputs[0]}:0", ["input:0"])
            runs.append(lambda fetches=fetches: fetches(images))
        for run in runs:
            measure(run, 2)
        blocks = [
            [measure(run, options.steps) for run in runs] for _ in range(options.blocks)
        ]
        before, after = (
            statistics.median(column) * 1e3 / options.batch_size
            for column in zip(*blocks, strict=True)
        )
        ratio = statistics.median(old / new for old, new in blocks)
        what = "optimized by TensorFlow" if is_optimized else "as they are"
        print(
            f"  graphs {what}: {before:.1f} ms an image unfolded, {after:.1f} folded; "
            f"ratio {ratio:.2f} (median of {options.blocks} pairs of {options.steps} "
            "steps)",
            flush=True,
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("networks", nargs="+")
    parser.add_argument("--batch_size", type=int, default=1)
    parser.add_argument("--image_size", type=int)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--blocks", type=int, default=15)
    options = parser.parse_args()
    for name in options.networks:
        compare(name, options)


if __name__ == "__main__":
    main()
