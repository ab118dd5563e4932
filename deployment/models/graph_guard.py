"""Keeps graphs of unknown origin from doing more than compute.

A graph is a program: its operations may write files, start Python functions or reach
the network, some of them as soon as the graph is imported, because TensorFlow evaluates
constants to infer shapes. So a graph is cut down to what is going to run, see
`subgraphs`, and each operation, of functions as well, is looked up in `SAFE_OPERATIONS`
before it is imported.
"""

import math
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from deployment import text
from deployment.models import subgraphs
from deployment.models.safe_operations import SAFE_OPERATIONS
from tf_slim_compat import tf

# No file can hold a larger constant; one that is declared is made of repetitions.
_MAX_CONSTANT_BYTES = 2**31
# Operations that read checkpoints and vocabularies, and which input names the file.
_READERS = {
    "InitializeTableFromTextFile": 1,
    "InitializeTableFromTextFileV2": 1,
    "RestoreV2": 0,
}
_CALLS = ("PartitionedCall", "StatefulPartitionedCall")
# Of stateless operations, which alone may run while a graph is imported, those of
# training graphs that only compute.
_TRAINING_ENDINGS = ("Grad", "GradV2", "GradV3", "Summary", "Filename", "Dataset")


def find_unsafe(graph_def: tf.GraphDef) -> dict[str, str]:
    """Finds operations that are not `SAFE_OPERATIONS`, in nodes and functions.

    Returns:
      Operation to where it is, such as "node 'leak' of the function 'f'".
    """
    functions = {function.signature.name for function in graph_def.library.function}
    found = {}
    for node, place in _list_nodes(graph_def):
        for op in (node.op, *subgraphs.list_called(node.attr)):
            if op not in functions and op not in SAFE_OPERATIONS:
                found.setdefault(op, f"node {node.name!r}{place}")
    return found


def check(graph_def: tf.GraphDef, path: str, permitted: Collection[str] = ()) -> None:
    """Checks that a graph can only compute.

    Args:
      graph_def: the graph, as it is going to be imported.
      path: its file, for error messages.
      permitted: operations that are permitted besides.

    Raises:
      ValueError: if an operation, of a node or a function, is not known to be safe, or
        a constant is too large.
    """
    found = find_unsafe(graph_def)
    unsafe = [f"{op} ({found[op]})" for op in found if op not in permitted]
    if unsafe:
        raise ValueError(refuse(path, unsafe))
    for node, place in _list_nodes(graph_def):
        size = _measure_constant(node)
        if size > _MAX_CONSTANT_BYTES:
            raise ValueError(
                f"{path!r} is damaged or hostile: the constant {node.name!r}{place} "
                f"would take {text.format_bytes(size)}."
            )


def check_reading(graph_def: tf.GraphDef, fed: Collection[str], path: str) -> None:
    """Checks a graph that may also read files whose names it is given.

    Args:
      graph_def: the graph, as it is going to be imported.
      fed: tensors that are fed with names of files.
      path: the graph's file, for error messages.

    Raises:
      ValueError: if it can do more.
    """
    check(graph_def, path, permitted=_READERS)
    functions = {f.signature.name: f for f in graph_def.library.function}
    waiting = [(graph_def.node, frozenset(name.removesuffix(":0") for name in fed))]
    checked = set()
    while waiting:
        nodes, names = waiting.pop()
        for node in nodes:
            given = [source.removesuffix(":0") in names for source in node.input]
            if node.op in _READERS and not any(given[_READERS[node.op] :][:1]):
                place = f"a file that may not be its own (node {node.name!r})"
                raise ValueError(refuse(path, [f"{node.op} of {place}"]))
            called_names = {node.op, *subgraphs.list_called(node.attr)}
            for called in called_names & set(functions):
                # The functions of other operations get their inputs in other places.
                is_call = node.op in (called, *_CALLS)
                own = _name_arguments(functions[called], given if is_call else [])
                if (called, own) not in checked:
                    checked.add((called, own))
                    waiting.append((functions[called].node_def, own))


def refuse(path: str, reasons: Iterable[str]) -> str:
    """Returns the message for a model that would do more than compute."""
    return (
        f"{path!r} contains operations that inference does not need, and that may read "
        "or write files, run programs or use the network: "
        f"{text.shorten(map(_printable, reasons), 10)}. It was not run; add "
        "--trust_model only if you trust its author."
    )


def may_run_on_import(graph_def: tf.GraphDef) -> bool:
    """Returns whether importing a graph could do more than compute."""
    # Imported here, because tf_slim_compat loads TensorFlow without its log messages.
    from tensorflow.python.framework import op_def_registry

    for op in find_unsafe(graph_def):
        known = op_def_registry.get(op)
        is_stateful = known is not None and known.is_stateful
        is_training = op.endswith(_TRAINING_ENDINGS) and op != "ReduceDataset"
        if not is_stateful and not is_training:
            return True
    return False


def _list_nodes(graph_def: tf.GraphDef) -> Iterator[tuple[tf.NodeDef, str]]:
    """Generates all nodes, and where they are if in a function."""
    for node in graph_def.node:
        yield node, ""
    for function in graph_def.library.function:
        for node in function.node_def:
            yield node, f" of the function {function.signature.name!r}"


def _name_arguments(function: Any, given: Iterable[bool]) -> frozenset[str]:
    """Returns the names of a function's arguments that are given."""
    arguments = function.signature.input_arg
    if any(a.number_attr or a.type_list_attr for a in arguments):
        return frozenset()  # Their places depend on attributes.
    names = (a.name for a, is_given in zip(arguments, given, strict=False) if is_given)
    return frozenset(names) - {node.name for node in function.node_def}


def _measure_constant(node: tf.NodeDef) -> int:
    """Returns the size of a constant in bytes; 0 for other nodes."""
    if node.op != "Const":
        return 0
    tensor = node.attr["value"].tensor
    sizes = [dim.size for dim in tensor.tensor_shape.dim]
    try:
        item_size = tf.as_dtype(tensor.dtype).size or 1
    except TypeError:
        return 0  # TensorFlow refuses it.
    return item_size * math.prod(size for size in sizes if size > 0)


def _printable(name: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in name)[:100]
