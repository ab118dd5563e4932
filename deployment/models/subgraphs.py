"""Parts of graphs: the nodes that some results depend on, with their functions."""

from collections.abc import Iterable, Iterator, Mapping

from tf_slim_compat import tf


def extract(graph_def: tf.GraphDef, names: Iterable[str]) -> tf.GraphDef:
    """Returns the part of a graph that some nodes depend on.

    Args:
      graph_def: a graph; it is not changed.
      names: names of nodes or tensors.

    Returns:
      A new graph with the nodes in the same order, without devices and colocation, and
      with the functions that they call.

    Raises:
      ValueError: if a node is missing.
    """
    nodes = {node.name: node for node in graph_def.node}
    needed, waiting = set(), [get_node_name(name) for name in names]
    while waiting:
        name = waiting.pop()
        if name not in nodes:
            raise ValueError(f"the node {name!r} is missing")
        if name not in needed:
            needed.add(name)
            waiting.extend(map(get_node_name, nodes[name].input))
    result = tf.GraphDef(versions=graph_def.versions)
    result.node.extend(node for node in graph_def.node if node.name in needed)
    for node in result.node:
        node.device = ""
        node.attr.pop("_class", None)  # May refer to a removed node.
    _copy_functions(graph_def, result)
    return result


def sort(
    nodes: Iterable[tf.NodeDef], sources: Mapping[str, Iterable[str]]
) -> Iterator[tf.NodeDef]:
    """Generates nodes, each after those it reads; loops are cut anywhere.

    Args:
      nodes: the nodes; those in order keep their order.
      sources: name of each node -> names of the nodes that it reads, all of `nodes`.
    """
    by_name = {node.name: node for node in nodes}
    done = set()
    for start in nodes:
        waiting = [(start.name, False)]
        while waiting:
            name, is_ready = waiting.pop()
            if is_ready:
                yield by_name[name]
            elif name not in done:
                done.add(name)
                waiting.append((name, True))
                waiting += [(source, False) for source in sources[name]]


def get_node_name(source: str) -> str:
    """Returns the node of an input, such as 'conv' of 'conv:0' and '^conv'."""
    return source.lstrip("^").split(":")[0]


def list_called(attributes: Mapping) -> Iterator[str]:
    """Generates the names of functions in the attributes of a node."""
    for value in attributes.values():
        for function in [value.func] if value.HasField("func") else value.list.func:
            yield function.name
            yield from list_called(function.attr)


def _copy_functions(source: tf.GraphDef, target: tf.GraphDef) -> None:
    """Copies the functions that the nodes of `target` call, in place."""
    functions = {f.signature.name: f for f in source.library.function}
    needed, waiting = set(), list(target.node)
    while waiting:
        node = waiting.pop()
        for name in {node.op, *list_called(node.attr)} & set(functions):
            if name not in needed:
                needed.add(name)
                waiting.extend(functions[name].node_def)
    target.library.function.extend(
        function
        for function in source.library.function
        if function.signature.name in needed
    )
