"""Walks over a graph and moves its edges."""

from collections.abc import Iterable, Sequence

from tf_slim_compat import tf

_VARIABLES = ("VarHandleOp", "VariableV2", "Variable")


def list_consumers(tensor: tf.Tensor) -> list[tf.Operation]:
    """Returns the operations that read a tensor, each once, in the graph's order."""
    return list({op.name: op for op in tensor.consumers()}.values())


def find_consumer(tensor: tf.Tensor, types: Sequence[str]) -> tf.Operation | None:
    """Returns the first operation of these types that reads a tensor, or None."""
    return next((op for op in list_consumers(tensor) if op.type in types), None)


def reroute(
    tensor: tf.Tensor, replacement: tf.Tensor, consumers: Iterable[tf.Operation]
) -> None:
    """Makes the consumers of a tensor read its replacement."""
    for op in consumers:
        for index, value in enumerate(op.inputs):
            if value.name == tensor.name:
                op._update_input(index, replacement)


def find_variable(tensor: tf.Tensor) -> tf.Operation | None:
    """Returns the variable that a tensor is read from, or None if it is computed."""
    op = tensor.op
    while op.type in ("Identity", "ReadVariableOp"):
        op = op.inputs[0].op
    return op if op.type in _VARIABLES else None


def read_variable(variable: tf.Operation) -> tf.Tensor:
    """Returns a new read of a variable."""
    if variable.type == "VarHandleOp":
        dtype = tf.as_dtype(variable.get_attr("dtype"))
        return tf.raw_ops.ReadVariableOp(resource=variable.outputs[0], dtype=dtype)
    return tf.identity(variable.outputs[0])


def copy_operation(
    op: tf.Operation, inputs: Sequence[tf.Tensor], name: str
) -> tf.Tensor:
    """Returns the first output of a copy of an operation on other inputs."""
    copy = op.graph.create_op(
        op.type,
        list(inputs),
        [output.dtype for output in op.outputs],
        name=name,
        attrs=dict(op.node_def.attr),
    )
    return copy.outputs[0]


def find_ancestors(tensors: Iterable[tf.Tensor]) -> set[str]:
    """Returns the names of all operations that tensors are computed from."""
    found: set[str] = set()
    waiting = [tensor.op for tensor in tensors]
    while waiting:
        op = waiting.pop()
        if op.name not in found:
            found.add(op.name)
            waiting += [value.op for value in op.inputs]
    return found


def parent_scope(name: str) -> str:
    """Returns the name scope of a node: "a/b" of "a/b/c", "" of "c"."""
    return name.rpartition("/")[0]


def join_scopes(*parts: str) -> str:
    """Returns the parts that are not empty, joined by "/"."""
    return "/".join(part for part in parts if part)
