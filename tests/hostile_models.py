"""SavedModels, TFLite and ONNX files that touch other files; see `hostile_graphs`."""

import tiny_models
from hostile_graphs import BUILDERS, add_input, hostile, write_loot
from tiny_models import SIZE

from tf_slim_compat import tf

__all__ = ["BUILDERS"]


def write_saved_model(
    folder, build=lambda images: [], init=None, variables=False, **options
):
    """Writes a SavedModel; `init()` returns the operation that initializes it."""
    path = f"{folder}/saved"
    with tf.Graph().as_default(), tf.Session() as session:
        images = add_input()
        inner = tf.identity(images)
        if variables:
            inner += tf.get_variable("bias", [3], initializer=tf.zeros_initializer())
            session.run(tf.global_variables_initializer())
        with tf.control_dependencies(build(images)):
            scores = tiny_models.build(tf.identity(inner))
        builder = tf.saved_model.builder.SavedModelBuilder(path)
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            {
                "pixels": tf.saved_model.predict_signature_def(
                    {"x": images}, {"y": scores}
                )
            },
            **{
                key: make()
                for key, make in {"main_op": init, **options}.items()
                if make
            },
        )
        builder.save()
    return path


def edit_saved_model(path, edit):
    """Rewrites the MetaGraphDef of a SavedModel."""
    from tensorflow.core.protobuf import saved_model_pb2

    model = saved_model_pb2.SavedModel()
    with open(f"{path}/saved_model.pb", "rb") as file:
        model.ParseFromString(file.read())
    edit(model.meta_graphs[0])
    with open(f"{path}/saved_model.pb", "wb") as file:
        file.write(model.SerializeToString())
    return path


@hostile("WriteFile")
def saved_model(folder, loot, secret):
    return write_saved_model(folder, lambda images: [write_loot(loot)])


@hostile("WriteFile")
def main_operation(folder, loot, secret):
    return write_saved_model(folder, init=lambda: write_loot(loot))


@hostile("WriteFile")
def initialization_of_older_models(folder, loot, secret):
    return write_saved_model(folder, legacy_init_op=lambda: write_loot(loot))


@hostile("WriteFile")
def initialization_as_a_signature(folder, loot, secret):
    def edit(meta_graph):
        name = next(n.name for n in meta_graph.graph_def.node if n.op == "WriteFile")
        key = "__saved_model_init_op"
        meta_graph.signature_def[key].outputs[key].name = name
        meta_graph.collection_def.clear()

    return edit_saved_model(main_operation(folder, loot, secret), edit)


def append_to_restoring(path, edit_node):
    """Adds a node to a SavedModel that restoring its variables runs."""

    def edit(meta_graph):
        nodes = {node.name: node for node in meta_graph.graph_def.node}
        edit_node(meta_graph, nodes)

    return edit_saved_model(path, edit)


@hostile("WriteFile")
def writing_while_restoring(folder, loot, secret):
    def edit(meta_graph, nodes):
        (name,) = (n for n in nodes if nodes[n].op == "WriteFile")
        nodes[meta_graph.saver_def.restore_op_name].input.append(f"^{name}")
        meta_graph.collection_def.clear()

    path = write_saved_model(folder, init=lambda: write_loot(loot), variables=True)
    return append_to_restoring(path, edit)


@hostile("SaveV2")
def saving_while_restoring(folder, loot, secret):
    def edit(meta_graph, nodes):
        (save,) = (n for n in nodes.values() if n.op == "SaveV2")
        prefix = meta_graph.graph_def.node.add(name="prefix", op="Const")
        prefix.attr["dtype"].type = tf.string.as_datatype_enum
        prefix.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(str(loot)))
        value = meta_graph.graph_def.node.add(name="value", op="Const")
        value.attr["dtype"].type = tf.float32.as_datatype_enum
        value.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(1.0))
        # Not the variable, which may not be restored yet.
        del save.input[3:]
        save.input[0] = "prefix"
        save.input.append("value")
        nodes[meta_graph.saver_def.restore_op_name].input.append(f"^{save.name}")

    return append_to_restoring(write_saved_model(folder, variables=True), edit)


@hostile("RestoreV2 of a file that may not be its own")
def restoring_another_checkpoint(folder, loot, secret):
    with tf.Graph().as_default(), tf.Session() as session:
        tf.get_variable("bias", initializer=tf.constant([9.0, 0, 0]))
        session.run(tf.global_variables_initializer())
        tf.train.Saver().save(session, f"{secret}.ckpt", write_meta_graph=False)

    def edit(meta_graph, nodes):
        prefix = meta_graph.graph_def.node.add(name="prefix", op="Const")
        prefix.attr["dtype"].type = tf.string.as_datatype_enum
        prefix.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(f"{secret}.ckpt"))
        for node in nodes.values():
            if node.op == "RestoreV2":
                node.input[0] = "prefix"

    return append_to_restoring(write_saved_model(folder, variables=True), edit)


def initialize_table(path):
    initializer = tf.lookup.TextFileInitializer(
        path, tf.string, tf.lookup.TextFileIndex.WHOLE_LINE,
        tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER,
    )  # fmt: skip
    return tf.lookup.StaticHashTable(initializer, -1)._init_op


@hostile("InitializeTableFromTextFileV2 of a file that may not be its own")
def table_of_a_file(folder, loot, secret):
    return write_saved_model(folder, init=lambda: initialize_table(str(secret)))


@hostile("outside the folder")
def asset_outside(folder, loot, secret):
    def edit(meta_graph):
        asset = meta_graph.asset_file_def.add(filename=f"../../{secret.name}")
        asset.tensor_info.name = "name_of_an_asset:0"

    return edit_saved_model(table_of_a_file(folder, loot, secret), edit)


def write_tflite(folder, opset, **options):
    """Writes a TFLite file with an operation that TFLite does not have."""
    with tf.Graph().as_default() as graph:
        images = add_input()
        images.set_shape([1, SIZE, SIZE, 3])
        scores = tiny_models.build(tf.math.sinh(images))
    converter = tf.lite.TFLiteConverter(graph.as_graph_def(), [images], [scores])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, *opset]
    for name, value in options.items():
        setattr(converter, name, value)
    path = f"{folder}/model.tflite"
    with open(path, "wb") as file:
        file.write(converter.convert())
    return path


@hostile("custom operation Sinh")
def tflite_custom_operation(folder, loot, secret):
    return write_tflite(folder, [], allow_custom_ops=True)


@hostile("custom operation FlexSinh")
def tflite_operations_of_tensorflow(folder, loot, secret):
    return write_tflite(folder, [tf.lite.OpsSet.SELECT_TF_OPS])


def write_onnx(folder, node=None, **external):
    from onnx import TensorProto, helper

    weights = helper.make_tensor("w", TensorProto.FLOAT, [3, 4], tiny_models.WEIGHTS)
    if external:
        weights.ClearField("float_data")
        weights.data_location = TensorProto.EXTERNAL
        for key, value in external.items():
            weights.external_data.add(key=key, value=str(value))
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[1, 2], keepdims=0),
        helper.make_node("MatMul", ["m", "w"], ["y"]),
    ]
    shapes = {"x": ["n", SIZE, SIZE, 3], "y": ["n", 4]}
    inputs, outputs = (
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[name])]
        for name in "xy"
    )
    nodes += [node] if node else []
    graph = helper.make_graph(nodes, "g", inputs, outputs, [weights])
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("evil", 1)],
    )
    model.ir_version = 8
    with open(f"{folder}/model.onnx", "wb") as file:
        file.write(model.SerializeToString())
    return f"{folder}/model.onnx"


@hostile("weights read from '../secret'")
def onnx_weights_outside(folder, loot, secret):
    return write_onnx(folder, location="../secret", offset=0, length=48)


@hostile("custom operation evil.Steal")
def onnx_custom_operation(folder, loot, secret):
    from onnx import helper

    return write_onnx(folder, helper.make_node("Steal", ["y"], ["z"], domain="evil"))
