"""Damage to protocol buffers that still parse: graphs, SavedModels and ONNX models."""

import random
from collections.abc import Callable
from typing import Any

from tests.fuzz.damage import Damaged, damage_bytes

_OPS = (
    "Identity", "NoOp", "Sub", "Softmax", "NoSuchOp", "Placeholder", "ReadFile",
    "WriteFile", "PyFunc", "Enter", "Switch", "StatefulPartitionedCall", "VarHandleOp",
    "IteratorGetNext", "Empty", "RandomUniform",
)  # fmt: skip
_DIMENSIONS = (-1, 0, -7, 1, 10**6, 2**31 - 1, 2**62)


def _change_constant(node, rng):
    """Changes what a constant says about its shape, its type or its values."""
    tensor = node.attr["value"].tensor
    way = rng.choice(("dimension", "rank", "type", "content"))
    dimensions = tensor.tensor_shape.dim
    if way == "dimension" and dimensions:
        rng.choice(dimensions).size = rng.choice(_DIMENSIONS)
    elif way == "rank":
        dimensions.add(size=rng.choice(_DIMENSIONS))
    elif way == "type":
        tensor.dtype = rng.randrange(25)
    elif tensor.tensor_content:
        changed = damage_bytes(tensor.tensor_content, rng, tensor.tensor_content)
        tensor.tensor_content = changed.data or b""
    else:
        tensor.ClearField(rng.choice(("float_val", "int_val", "dtype")))
    return f"constant {node.name}: {way}"


def _change_attribute(node, rng):
    if not node.attr:
        node.attr["T"].type = rng.randrange(25)
        return f"{node.name}: type added"
    name = rng.choice(sorted(node.attr))
    value = node.attr[name]
    kind = value.WhichOneof("value")
    if rng.random() < 0.3 or kind is None:
        del node.attr[name]
        return f"{node.name}: without {name}"
    if kind == "tensor":
        return _change_constant(node, rng)
    if kind == "shape":
        value.shape.dim.add(size=rng.choice(_DIMENSIONS))
    elif kind == "type":
        value.type = rng.randrange(25)
    elif kind == "i":
        value.i = rng.choice((-1, 0, 2**31, 2**62))
    elif kind == "s":
        value.s = rng.choice((b"", b"NCHW", b"FULL", rng.randbytes(4)))
    elif kind == "list" and value.list.i:
        value.list.i[rng.randrange(len(value.list.i))] = rng.choice((-1, 0, 2**31, 3))
    else:
        value.Clear()
    return f"{node.name}: {name}"


def _change_inputs(node, names, rng):
    way = rng.choice(("drop", "other", "unknown", "itself", "control"))
    if way == "drop" and node.input:
        del node.input[rng.randrange(len(node.input))]
    else:
        target = {"itself": node.name, "unknown": "nowhere:7"}.get(way)
        target = target or rng.choice(names)
        if node.input and way != "control":
            node.input[rng.randrange(len(node.input))] = target
        else:
            node.input.append("^" + target if way == "control" else target)
    return f"{node.name}: input {way}"


def _change_graph(graph: Any, rng: random.Random) -> str:
    """Changes one node of a GraphDef; returns what was done."""
    nodes = graph.node
    if not nodes:
        nodes.add(name="x", op="NoSuchOp")
        return "a node in an empty graph"
    names = [node.name for node in nodes]
    number = rng.randrange(len(nodes))
    node = nodes[number]
    way = rng.choice(
        ("op", "drop", "repeat", "name", "constant", "constant")
        + ("attribute", "attribute", "inputs", "inputs", "device", "version")
    )
    constants = [n for n in nodes if n.op == "Const"]
    if way == "constant" and constants:
        return _change_constant(rng.choice(constants), rng)
    if way == "inputs":
        return _change_inputs(node, names, rng)
    if way == "op":
        node.op = rng.choice(_OPS)
    elif way == "drop":
        del nodes[number]
        return f"{names[number]}: dropped"
    elif way == "repeat":
        nodes.add().CopyFrom(node)
    elif way == "name":
        node.name = rng.choice(("", "a b", rng.choice(names), "x" * 10_000, "../x"))
    elif way == "device":
        node.device = rng.choice(("/gpu:7", "nonsense", "/job:ps/task:0"))
    elif way == "version":
        graph.versions.producer = rng.choice((0, 1, 10**6, 2**31 - 1))
        graph.versions.min_consumer = rng.choice((0, 10**6))
    else:
        return _change_attribute(node, rng)
    return f"{names[number]}: {way} {node.op}"


def _change_meta_graph(meta: Any, rng: random.Random) -> str:
    """Changes a MetaGraphDef: its graph, its signatures or its collections."""
    way = rng.choice(("graph", "graph", "graph", "tags", "saver", "map"))
    if way == "tags":
        meta.meta_info_def.tags[:] = rng.choice(([], ["train"], ["x" * 1000]))
    elif way == "saver":
        meta.saver_def.filename_tensor_name = rng.choice(("", "x:0", "input:0"))
    elif way == "map":
        maps = (meta.signature_def, meta.collection_def)
        filled = [m for m in maps if m]
        if not filled:
            return _change_graph(meta.graph_def, rng)
        chosen = rng.choice(filled)
        key = rng.choice(sorted(chosen))
        signature = chosen[key]
        if rng.random() < 0.5 or not getattr(signature, "outputs", None):
            del chosen[key]
        else:
            tensor = signature.outputs[rng.choice(sorted(signature.outputs))]
            tensor.name = rng.choice(("", "nowhere:0", "Const:0"))
            tensor.dtype = rng.randrange(25)
        return f"map: {key}"
    else:
        functions = meta.graph_def.library.function
        if functions and rng.random() < 0.3:
            function = rng.choice(functions)
            return _change_functions(functions, function, rng)
        return _change_graph(meta.graph_def, rng)
    return way


def _change_functions(functions, function, rng):
    name = function.signature.name
    if rng.random() < 0.3:
        functions.remove(function)
        return f"function {name}: dropped"
    if function.node_def:
        node = rng.choice(function.node_def)
        node.op = rng.choice(_OPS)
        return f"function {name}, {node.name}: {node.op}"
    function.ret.clear()
    return f"function {name}: no results"


def _change_saved_model(model: Any, rng: random.Random) -> str:
    if rng.random() < 0.05:
        del model.meta_graphs[:]
        return "no graph"
    return _change_meta_graph(rng.choice(model.meta_graphs), rng)


def _build_damage(get_message: Callable, change: Callable, is_text: bool = False):
    def damage(data, rng, other):
        from google.protobuf import text_format

        message = get_message()()
        if is_text:
            text_format.Parse(data.decode(), message)
        else:
            message.ParseFromString(data)
        what = change(message, rng)
        if is_text:
            return Damaged(text_format.MessageToString(message).encode(), what)
        return Damaged(message.SerializeToString(deterministic=True), what)

    return damage


def _get_graph_def():
    from tf_slim_compat import tf

    return tf.GraphDef


def _get_meta_graph_def():
    from tf_slim_compat import tf

    return tf.MetaGraphDef


def _get_saved_model():
    from tensorflow.core.protobuf import saved_model_pb2

    return saved_model_pb2.SavedModel


def _get_onnx_model():
    import onnx

    return onnx.ModelProto


def _change_onnx(model: Any, rng: random.Random) -> str:
    """Changes a node, a weight, an input or the metadata of an ONNX model."""
    graph = model.graph
    way = rng.choice(("op", "inputs", "weight", "weight", "external", "input", "other"))
    node = rng.choice(graph.node)
    if way == "op":
        node.op_type = rng.choice(("NoSuchOp", "Softmax", "Add", "Loop", "Identity"))
        node.domain = rng.choice(("", "", "com.example"))
    elif way == "inputs" and node.input:
        node.input[rng.randrange(len(node.input))] = rng.choice(("", "nowhere"))
    elif way == "external" and graph.initializer:
        weight = rng.choice(graph.initializer)
        weight.data_location = 1
        place = rng.choice(("../../etc/passwd", "/etc/hostname", "weights.bin"))
        weight.external_data.add(key="location", value=place)
        weight.ClearField("raw_data")
    elif way == "weight" and graph.initializer:
        weight = rng.choice(graph.initializer)
        if weight.dims and rng.random() < 0.5:
            weight.dims[rng.randrange(len(weight.dims))] = rng.choice(_DIMENSIONS)
        elif weight.raw_data:
            weight.raw_data = damage_bytes(weight.raw_data, rng, b"").data or b""
        else:
            weight.data_type = rng.randrange(20)
    elif way == "input":
        dimensions = graph.input[0].type.tensor_type.shape.dim
        rng.choice(dimensions).dim_value = rng.choice((0, 1, 7, 2**31, 2**62))
    elif model.metadata_props and rng.random() < 0.5:
        prop = rng.choice(model.metadata_props)
        prop.value = damage_bytes(prop.value.encode(), rng, b"").data.decode("latin-1")
    else:
        model.opset_import[0].version = rng.choice((0, 1, 99, 2**40))
    return way


damage_graph = _build_damage(_get_graph_def, _change_graph)
damage_graph_text = _build_damage(_get_graph_def, _change_graph, is_text=True)
damage_meta_graph = _build_damage(_get_meta_graph_def, _change_meta_graph)
damage_saved_model = _build_damage(_get_saved_model, _change_saved_model)
damage_onnx = _build_damage(_get_onnx_model, _change_onnx)
