r"""Compares frozen graphs with and without folded batch normalization.

  python -m benchmarks.frozen_speed resnet_v1_50 --batch_size=1

Both graphs are of the same untrained network, and run in alternating blocks in one
process, so other load on the machine hardly affects the ratio. Each pair is measured
twice: with the sessions of this project, in which TensorFlow optimizes the graph and
fuses convolutions with normalization itself, and without these optimizations, as in
other runtimes.
"""

import argparse
import statistics
import time

import numpy as np

from deployment import model_deploy
from deployment.models import graph_files, graph_folding
from nets import nets_factory
from tf_slim_compat import slim, tf


def freeze_fresh(name, image_size):
    """Returns the frozen graph of a network with random weights, unfolded.

    Returns:
      The GraphDef, the names of the outputs, and the image size in pixels.
    """
    network_fn = nets_factory.get_network_fn(name, num_classes=1001)
    size = image_size or network_fn.default_image_size
    random = np.random.RandomState(1)
    with tf.Graph().as_default() as graph:
        network_fn(tf.placeholder(tf.float32, [None, size, size, 3], "input"))
        outputs = graph_files.find_outputs(graph.as_graph_def())
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            # As after training: offsets of zero would be optimized away.
            for variable in slim.get_model_variables():
                if variable.op.name.endswith(("beta", "moving_mean")):
                    values = random.uniform(-0.5, 0.5, variable.shape.as_list())
                    variable.load(values.astype(np.float32), session)
            frozen = tf.graph_util.convert_variables_to_constants(
                session, graph.as_graph_def(), outputs
            )
    return frozen, outputs, size


def open_session(graph_def, is_optimized):
    """Opens a session with or without TensorFlow's graph optimization."""
    config = model_deploy.build_session_config(model_deploy.choose_deployment())
    if not is_optimized:
        options = config.graph_options
        options.rewrite_options.disable_meta_optimizer = True
        options.optimizer_options.opt_level = tf.OptimizerOptions.L0
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(graph_def, name="")
    return tf.Session(graph=graph, config=config)


def measure(run, steps):
    """Returns the seconds per step."""
    started = time.perf_counter()
    for _ in range(steps):
        run()
    return (time.perf_counter() - started) / steps


def compare(name, options):
    """Prints the speed of one network."""
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
        what = "optimized by TensorFlow" if is_optimized else "not optimized"
        print(
            f"  graphs {what}: {before:.1f} ms per image unfolded, {after:.1f} folded; "
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
