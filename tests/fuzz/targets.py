"""The groups of the harness: which files are damaged how, and who reads them.

A format is added as a row, a `Target`, of a group; its whole file comes from
`samples.py`, its reader from `readers.py`. Give `is_protected` to a format whose files
have a checksum.
"""

import functools

from tests.fuzz import damage_graphs as graphs
from tests.fuzz import readers
from tests.fuzz.cases import Target
from tests.fuzz.damage import choose_one, damage_bytes, remove_file, replace_file
from tests.fuzz.damage_images import damage_image
from tests.fuzz.damage_records import (
    damage_examples,
    damage_record_lengths,
    damage_record_order,
)
from tests.fuzz.damage_text import (
    damage_json,
    damage_json_line,
    damage_lines,
    damage_state_file,
)
from tests.fuzz.readers import with_flags

_BYTES = (damage_bytes, damage_bytes, damage_bytes, replace_file)
_ANY = (choose_one((*_BYTES, damage_bytes, remove_file)),)
_RECORDS = (
    damage_bytes,
    replace_file,
    damage_record_lengths,
    damage_record_order,
    damage_examples,
    damage_examples,
)
_JSON = (damage_json, damage_json, damage_json, damage_json, *_ANY)
_LINES = (damage_json_line, damage_json_line, damage_json_line, damage_lines, *_ANY)
_TEXT = (damage_lines, damage_lines, damage_lines, damage_bytes, replace_file)
_GRAPH = (graphs.damage_graph, graphs.damage_graph, damage_bytes, replace_file)
_GRAPH_TEXT = (graphs.damage_graph_text, damage_lines, damage_bytes)
_META = (graphs.damage_meta_graph, graphs.damage_meta_graph, *_ANY)
_SAVED_MODEL = (graphs.damage_saved_model, graphs.damage_saved_model, *_ANY)
_ONNX = (graphs.damage_onnx, *_BYTES)

_SHARDS = ("data/*.tfrecord",)
_NEWEST = ("run/model.ckpt-4.index", "run/model.ckpt-4.data-*")
_BEST = ("run/best/model.ckpt-*.index", "run/best/model.ckpt-*.data-*")
_STATE = (damage_state_file, damage_lines, *_ANY)
_CLASSIFY_RUN = functools.partial(readers.classify, "run")
_CLASSIFY = functools.partial(readers.classify, "")
_INSPECT_RUN = functools.partial(readers.inspect, "checkpoint_path=run")
_BARE = ("--dataset_name=tiny", "--dataset_dir=bare", "--user_module=tiny_dataset.py")
_OUTPUT_FLAG = "--output_node_names=SoftmaxRegression/Predictions/Reshape_1"
_GRAPH_FLAGS = ("--input_checkpoint=run/model.ckpt-4",)


def _inspect_graph(path: str) -> str:
    return readers.inspect(f"graph_path={path}", path)


def _freeze_graph(path: str) -> object:
    is_binary = f"--input_binary={not path.endswith('txt')}"
    return readers.freeze(path, f"--input_graph={path}", is_binary, *_GRAPH_FLAGS)


def _freeze_meta(path: str) -> object:
    flags = ("--input_meta_graph=graphs/model.meta", "--input_binary=true")
    return readers.freeze(path, *flags, _OUTPUT_FLAG, *_GRAPH_FLAGS)


def _freeze_saved_model(path: str) -> object:
    folder = path.rpartition("/")[0]
    return readers.freeze(path, f"--input_saved_model_dir={folder}", _OUTPUT_FLAG)


def _read_split(name: str, folder: str) -> readers.Reader:
    return functools.partial(readers.read_split, name, folder)


def _train_bare(path: str) -> dict:
    return readers.train_anew(path, "tiny", "bare")


_IMAGES = (
    Target(
        "read", ("images/*",), (damage_bytes, damage_image, damage_image, replace_file),
        readers.read_image, weight=8, is_per_file=True,
    ),
    Target(
        "convert", ("photos/train/cat/*.png",), (damage_bytes, damage_image),
        readers.convert, is_per_file=True,
    ),
    Target(
        "classify", ("images/*",), (damage_bytes, damage_image),
        readers.classify_damaged, is_per_file=True,
    ),
)  # fmt: skip
_DATASETS = (
    Target("records", _SHARDS, _RECORDS, _read_split("image_folder", "data"), True, 6),
    Target(
        "bare records", ("bare/*.tfrecord",), _RECORDS, _read_split("tiny", "bare"),
        True, 6,
    ),
    Target("train", _SHARDS, _RECORDS, readers.train_anew, True),
    Target("evaluate", _SHARDS, _RECORDS, readers.evaluate, True),
    Target("train bare", ("bare/*train*",), _RECORDS, _train_bare, True),
    Target(
        "evaluate bare", ("bare/*validation*",), _RECORDS,
        with_flags(readers.evaluate, *_BARE), True,
    ),
)  # fmt: skip
_INFOS = (
    Target("info", ("data/*.json",), _JSON, readers.read_dataset_info, weight=12),
    Target(
        "records", ("data/*.json",), _JSON, _read_split("image_folder", "data"),
        weight=2,
    ),
    Target(
        "labels", ("data/labels.txt",), _TEXT, _read_split("image_folder", "data"),
        weight=2,
    ),
    Target("evaluate", ("data/*.json",), _JSON, readers.evaluate, weight=2),
)  # fmt: skip
_CHECKPOINTS = (
    Target(
        "values", (*_NEWEST, *_BEST), _ANY, readers.read_checkpoint, True, 12,
        is_per_file=True,
    ),
    Target(
        "V1 values", ("v1/model.ckpt",), _BYTES, readers.read_checkpoint, True, 6,
        is_per_file=True,
    ),
    Target(
        "state", ("run/checkpoint",), _STATE, readers.read_newest_checkpoint, weight=4
    ),
    Target("train", (*_NEWEST, "run/checkpoint"), _ANY, readers.train, True),
    Target("train state", ("run/checkpoint",), _STATE, readers.train),
    Target("evaluate", (*_NEWEST, *_BEST), _ANY, readers.evaluate, True),
    Target("classify", (*_BEST, "run/best/checkpoint"), _ANY, _CLASSIFY_RUN, True),
    Target(
        "inspect", _BEST, _ANY, with_flags(_INSPECT_RUN, "--statistics"), True, 2,
    ),
    Target(
        "edit", (*_NEWEST, *_BEST), _ANY,
        with_flags(readers.edit, "--checkpoint_path=run", "--last=2"), True,
    ),
    Target(
        "edit V1", ("v1/model.ckpt",), _BYTES,
        with_flags(readers.edit, "--checkpoint_path=v1/model.ckpt", "--to_v2"), True,
    ),
    Target("export", _BEST, _ANY, readers.export, True),
)  # fmt: skip
_RUNS = (
    Target("card", ("run/run.json",), _JSON, readers.read_card, weight=10),
    Target("ranking", ("run/best/best.json",), _JSON, readers.read_ranking, weight=8),
    Target("history", ("run/*.jsonl",), _LINES, readers.read_history, weight=10),
    Target("train", ("run/*.jsonl",), _LINES, readers.train, weight=2),
    Target("train card", ("run/run.json",), _JSON, readers.train),
    Target("train best", ("run/best/best.json",), _JSON, readers.train),
    Target("evaluate", ("run/run.json", "run/best/best.json"), _JSON, readers.evaluate),
    Target("classify", ("run/run.json",), _JSON, _CLASSIFY_RUN, weight=2),
    Target("plot", ("run/*.jsonl",), _LINES, readers.plot),
    Target("plot card", ("run/run.json",), _JSON, readers.plot),
    Target("inspect", ("run/run.json", "run/best/best.json"), _JSON, _INSPECT_RUN),
)
_MODELS = (
    Target(
        "frozen", ("exports/frozen_graph.pb",), _GRAPH, readers.read_model, True, 4,
    ),
    Target(
        "SavedModel", ("exports/saved_model/*",), _SAVED_MODEL, readers.read_model,
        True, 2,
    ),
    Target("TFLite", ("exports/model.tflite",), _BYTES, readers.read_model, True, 8),
    Target("ONNX", ("exports/model.onnx",), _ONNX, readers.read_model, True, 4),
    Target(
        "alone", ("alone/*.pb", "alone/model.*", "alone/saved_model/*.pb"),
        (damage_bytes,), readers.read_model, weight=4, is_per_file=True,
    ),
    Target(
        "classify", ("exports/*.pb", "exports/model.*", "exports/saved_model/*.pb"),
        (damage_bytes,), _CLASSIFY, True, 2, is_per_file=True,
    ),
    Target(
        "card", ("exports/run.json",), _JSON,
        functools.partial(readers.classify, "exports/model.onnx"),
    ),
)  # fmt: skip
_GRAPHS = (
    Target("inspect", ("graphs/graph.pb",), _GRAPH, _inspect_graph, weight=3),
    Target("inspect text", ("graphs/*.pbtxt",), _GRAPH_TEXT, _inspect_graph, weight=2),
    Target("inspect meta", ("run/*-4.meta",), _META, _inspect_graph, weight=2),
    Target(
        "inspect SavedModel", ("exports/saved_model/*.pb",), _SAVED_MODEL,
        functools.partial(readers.inspect, "graph_path=exports/saved_model"),
    ),
    Target("freeze", ("graphs/graph.pb",), _GRAPH, _freeze_graph, weight=2),
    Target("freeze text", ("graphs/*.pbtxt",), _GRAPH_TEXT, _freeze_graph),
    Target("freeze meta", ("graphs/*.meta",), _META, _freeze_meta),
    Target(
        "freeze SavedModel", ("alone/saved_model/*.pb",), _SAVED_MODEL,
        _freeze_saved_model,
    ),
)  # fmt: skip
_TEXTS = (
    Target("table", ("tables/labels.csv",), _TEXT, readers.convert_table, weight=3),
    Target(
        "labels", ("tables/labels.txt",), _TEXT,
        with_flags(
            functools.partial(readers.classify, "alone/model.tflite"),
            "--label_path=tables/labels.txt",
        ),
    ),
    Target(
        "archives", ("archives/*",), _BYTES, readers.unpack, weight=6, is_per_file=True
    ),
)  # fmt: skip

GROUPS = {
    "images": _IMAGES,
    "datasets": _DATASETS,
    "dataset_infos": _INFOS,
    "checkpoints": _CHECKPOINTS,
    "runs": _RUNS,
    "models": _MODELS,
    "graphs": _GRAPHS,
    "texts": _TEXTS,
}
