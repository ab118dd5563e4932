"""Models that touch files, each as an attacker would write it: graphs.

A builder is called with a folder for the model, the file to create (the loot) and a
file to read (the secret). It returns the path of the model.
"""

import numpy as np
import tiny_models
from tiny_models import SIZE

from tf_slim_compat import tf

BUILDERS = {}
_functions = []  # TensorFlow knows them only as long as they exist.


def hostile(op):
    """Registers a builder of a model that is refused because of an operation."""

    def register(function):
        BUILDERS[function.__name__] = (op, function)
        return function

    return register


def add_input():
    return tf.placeholder(tf.float32, [None, SIZE, SIZE, 3], "input")


def write_loot(loot):
    return tf.io.write_file(str(loot), "stolen")


def write_frozen(folder, build):
    """Writes a frozen graph; `build(images)` returns operations to run first."""
    with tf.Graph().as_default() as graph:
        images = add_input()
        with tf.control_dependencies(build(images)):
            tiny_models.build(tf.identity(images))
    path = f"{folder}/frozen.pb"
    with open(path, "wb") as file:
        file.write(graph.as_graph_def().SerializeToString())
    return path


@hostile("WriteFile")
def frozen_graph(folder, loot, secret):
    return write_frozen(folder, lambda images: [write_loot(loot)])


@hostile("PyFunc")
def python_function(folder, loot, secret):
    # A hostile model would use the token of a function that the process has.
    def steal():
        loot.write_text("stolen")
        return np.float32(0)

    _functions.append(steal)
    return write_frozen(folder, lambda images: [tf.py_func(steal, [], tf.float32)])


@hostile("ReadFile")
def stolen_file_in_the_scores(folder, loot, secret):
    def build(images):
        content = tf.io.decode_raw(tf.io.read_file(str(secret)), tf.uint8)
        return [tf.io.write_file(str(loot), tf.as_string(content[0]))]

    return write_frozen(folder, build)


@hostile("MatchingFiles")
def list_of_files(folder, loot, secret):
    def build(images):
        found = tf.io.matching_files(f"{secret.parent}/*")
        return [tf.io.write_file(str(loot), tf.strings.reduce_join(found))]

    return write_frozen(folder, build)


@hostile("PrintV2")
def print_to_a_file(folder, loot, secret):
    return write_frozen(
        folder, lambda images: [tf.print("stolen", output_stream=f"file://{loot}")]
    )


@hostile("SaveV2")
def saver(folder, loot, secret):
    return write_frozen(
        folder,
        lambda images: [
            tf.raw_ops.SaveV2(
                prefix=str(loot),
                tensor_names=["a"],
                shape_and_slices=[""],
                tensors=[1.0],
            )
        ],
    )


@hostile("CreateSummaryFileWriter")
def summary_writer(folder, loot, secret):
    def build(images):
        writer = tf.raw_ops.SummaryWriter(shared_name="", container="")
        created = tf.raw_ops.CreateSummaryFileWriter(
            writer=writer, logdir=str(loot), max_queue=1, flush_millis=1,
            filename_suffix="",
        )  # fmt: skip
        return [created]

    return write_frozen(folder, build)


@hostile("TextLineDataset")
def dataset_of_a_file(folder, loot, secret):
    def build(images):
        lines = tf.data.TextLineDataset(str(secret))
        line = tf.raw_ops.DatasetToSingleElement(
            dataset=lines.take(1)._variant_tensor,
            output_types=[tf.string],
            output_shapes=[[]],
        )[0]
        return [tf.io.write_file(str(loot), line)]

    return write_frozen(folder, build)


def call_function(loot, depth=1):
    """Calls a function that calls another, down to one that writes a file."""

    @tf.function(autograph=False)
    def call():
        if depth > 1:
            call_function(loot, depth - 1)
        else:
            write_loot(loot)
        return tf.constant(0.0)

    return call()


@hostile("WriteFile")
def function(folder, loot, secret):
    return write_frozen(folder, lambda images: [call_function(loot)])


@hostile("WriteFile")
def nested_function(folder, loot, secret):
    return write_frozen(folder, lambda images: [call_function(loot, 3)])


@hostile("WriteFile")
def body_of_a_loop(folder, loot, secret):
    def build(images):
        @tf.function(autograph=False)
        def loop():
            def body(i):
                with tf.control_dependencies([write_loot(loot)]):
                    return i + 1

            return tf.while_loop(lambda i: i < 2, body, [tf.constant(0)])

        return [loop()]

    return write_frozen(folder, build)


@hostile("WriteFile")
def branch_of_a_condition(folder, loot, secret):
    def build(images):
        @tf.function(autograph=False)
        def branch():
            def write():
                with tf.control_dependencies([write_loot(loot)]):
                    return tf.constant(0)

            return tf.cond(tf.size(images) > 0, write, lambda: tf.constant(1))

        return [branch()]

    return write_frozen(folder, build)


def write_graphs_to_freeze(folder, loot):
    """Writes a graph, its checkpoint, its .meta file and a saver that writes a file.

    Returns:
      Name to a list of arguments of freeze_graph.py that would create the loot.
    """
    prefix = f"{folder}/model.ckpt"
    with tf.Graph().as_default() as graph, tf.Session() as session:
        images = add_input()
        with tf.variable_scope("", use_resource=False):
            bias = tf.get_variable("bias", initializer=tf.zeros([4]))
        steal = write_loot(loot)
        scores = tf.identity(tiny_models.build(images) + bias, "scores")
        with tf.control_dependencies([steal]):
            tf.identity(scores, "stealing")
        session.run(tf.variables_initializer([bias]))
        saver = tf.train.Saver()
        saver.save(session, prefix)
        restore = graph.get_operation_by_name(saver.saver_def.restore_op_name)
        restore._add_control_input(steal)
        saver.export_meta_graph(f"{folder}/hostile.meta")
        (folder / "saver.pb").write_bytes(saver.saver_def.SerializeToString())
        for as_text, name in ((False, "graph.pb"), (True, "graph.pbtxt")):
            tf.train.write_graph(graph, str(folder), name, as_text)
    binary, weights = "--input_binary", f"--input_checkpoint={prefix}"
    inputs = [f"--input_graph={folder}/graph.pb", binary, weights]
    start = f"--initializer_nodes={steal.name}"
    return {
        "saver": [*inputs, f"--input_saver={folder}/saver.pb"],
        "initializer": [*inputs, start],
        "text": [f"--input_graph={folder}/graph.pbtxt", weights, start],
        "meta graph": [f"--input_meta_graph={folder}/hostile.meta", binary, weights],
    }
