"""MetaGraphDefs, as SavedModels contain them: read, and loaded into a session.

TensorFlow's own loader runs whatever the model names as its initialization. Here only
what some tensors depend on is loaded, after `graph_guard` has checked it.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence

from google.protobuf import text_format
from google.protobuf.message import DecodeError

from deployment.models import graph_guard, subgraphs
from tf_slim_compat import tf

FILES = ("saved_model.pb", "saved_model.pbtxt")
_INIT_SIGNATURE = "__saved_model_init_op"
_INIT_COLLECTIONS = ("saved_model_main_op", "legacy_init_op")
_ASSETS_COLLECTION = "saved_model_assets"


def read_saved_model(folder: str, tags: Sequence[str] = ("serve",)) -> tf.MetaGraphDef:
    """Reads the graph of a SavedModel that has exactly some tags.

    Raises:
      ValueError: if it is missing or damaged, or no graph has the tags.
    """
    # Imported here, because tf_slim_compat loads TensorFlow without its log messages.
    from tensorflow.core.protobuf import saved_model_pb2

    saved_model = saved_model_pb2.SavedModel()
    found = [n for n in FILES if tf.gfile.Exists(os.path.join(folder, n))]
    if not found:
        raise ValueError(
            f"{folder!r} is not the folder of a SavedModel: give the one that contains "
            f"{FILES[0]}."
        )
    path = os.path.join(folder, found[0])
    try:
        with tf.gfile.Open(path, "rb") as file:
            if found[0] == FILES[0]:
                saved_model.ParseFromString(file.read())
            else:
                text_format.Parse(file.read(), saved_model)
    except (DecodeError, RecursionError, UnicodeDecodeError, ValueError) as error:
        raise ValueError(
            f"{folder!r} cannot be loaded as a SavedModel: {path!r} was cut short or "
            "damaged."
        ) from error
    known = [sorted(m.meta_info_def.tags) for m in saved_model.meta_graphs]
    if sorted(tags) not in known:
        names = "; ".join(",".join(names) or "(none)" for names in known)
        raise ValueError(
            f"The SavedModel {folder!r} has no graph with the tags {','.join(tags)}; "
            f"its graphs have: {names or '(there is no graph)'}."
        )
    return saved_model.meta_graphs[known.index(sorted(tags))]


def load(
    session: tf.Session,
    folder: str,
    meta_graph: tf.MetaGraphDef,
    names: Iterable[str],
    trust: bool = False,
) -> tf.GraphDef:
    """Loads a part of a SavedModel into a session, with its variables and tables.

    Args:
      session: its graph is filled.
      folder: the SavedModel.
      meta_graph: what `read_saved_model` returned.
      names: the nodes or tensors that are needed.
      trust: whether the graph may do more than compute.

    Returns:
      The graph that was loaded.

    Raises:
      ValueError: if it cannot be loaded, or must not.
    """
    saver = meta_graph.saver_def
    restore_names = [saver.restore_op_name] if saver.restore_op_name else []
    filename = {saver.filename_tensor_name: os.path.join(folder, "variables/variables")}
    with _naming(folder):
        init_names = _find_initialization(meta_graph)
        assets = _find_assets(meta_graph, folder)
        wanted, init, restore, graph_def = (
            subgraphs.extract(meta_graph.graph_def, part)
            for part in (
                names,
                init_names,
                restore_names,
                [*names, *init_names, *restore_names],
            )
        )
    if not trust:
        graph_guard.check(wanted, folder)
        graph_guard.check_reading(init, assets, folder)
        graph_guard.check_reading(restore, filename, folder)
    ops = meta_graph.meta_info_def.stripped_op_list
    loaded = {node.name for node in graph_def.node}
    with _naming(folder), session.graph.as_default():
        tf.import_graph_def(
            graph_def, name="", producer_op_list=ops if ops.op else None
        )
        for run_names, files in ((restore_names, filename), (init_names, assets)):
            session.run(
                run_names,
                {k: v for k, v in files.items() if k.split(":")[0] in loaded},
            )
    return graph_def


def _find_initialization(meta_graph: tf.MetaGraphDef) -> list[str]:
    """Returns the node that initializes tables, if there is one."""
    if _INIT_SIGNATURE in meta_graph.signature_def:
        outputs = meta_graph.signature_def[_INIT_SIGNATURE].outputs
        return [info.name for key, info in outputs.items() if key == _INIT_SIGNATURE]
    for key in _INIT_COLLECTIONS:
        if key in meta_graph.collection_def:
            return list(meta_graph.collection_def[key].node_list.value)
    return []


def _find_assets(meta_graph: tf.MetaGraphDef, folder: str) -> dict[str, str]:
    """Returns tensor to path of the files that a SavedModel brings along.

    Raises:
      ValueError: if a path leads out of the folder.
    """
    # Imported here, because tf_slim_compat loads TensorFlow without its log messages.
    from tensorflow.core.protobuf import meta_graph_pb2

    assets = list(meta_graph.asset_file_def)
    if not assets and _ASSETS_COLLECTION in meta_graph.collection_def:
        for packed in meta_graph.collection_def[_ASSETS_COLLECTION].any_list.value:
            asset = meta_graph_pb2.AssetFileDef()
            packed.Unpack(asset)
            assets.append(asset)
    paths = {}
    for asset in assets:
        path = os.path.join(folder, "assets", asset.filename)
        root = os.path.realpath(folder)
        if os.path.commonpath([os.path.realpath(path), root]) != root:
            raise ValueError(f"its file {asset.filename!r} is outside the folder")
        paths[asset.tensor_info.name] = path
    return paths


@contextlib.contextmanager
def _naming(folder: str) -> Iterator[None]:
    """Turns errors into a ValueError that names the SavedModel."""
    try:
        yield
    except (KeyError, OSError, TypeError, ValueError, tf.errors.OpError) as error:
        lines = getattr(error, "message", str(error)).strip().split("\n")
        raise ValueError(
            f"{folder!r} cannot be loaded as a SavedModel: {lines[0].rstrip('.')}."
        ) from error
