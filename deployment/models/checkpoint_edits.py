"""New checkpoints from old ones: averaged, stripped, renamed, in the V2 format.

    edit = Edit(sources=("run/best/model.ckpt-900", "run/best/model.ckpt-800"))
    write_edited(edit, "run/averaged/model.ckpt")

Sources are only read, one variable at a time, and their checksums are checked. The
result is there whole, or not at all.
"""

import dataclasses
import json
import os
import re
import shutil

import numpy as np

from deployment.models import checkpoint_reader, variable_kinds
from deployment.text import format_shape
from tf_slim_compat import tf

_SHARD_BYTES = 1 << 27  # So much is in memory at a time, or one variable.
_ON_CPU = tf.ConfigProto(device_count={"GPU": 0})
_AVERAGE = "/ExponentialMovingAverage"


@dataclasses.dataclass(frozen=True)
class Edit:
    """What to make of checkpoints.

    Attributes:
      sources: checkpoints' prefixes; several are averaged.
      strip_optimizer: whether to keep the model's variables and the step alone.
      use_moving_averages: whether weights get the values of their moving averages.
      renames: pairs of scopes (old, new): names in the old scope move to the new.
        An old scope of "" holds all variables of the model; a new one of ""
        takes the old one away.
    """

    sources: tuple
    strip_optimizer: bool = False
    use_moving_averages: bool = False
    renames: tuple = ()


@dataclasses.dataclass(frozen=True)
class Result:
    """What was written.

    Attributes:
      path: the new checkpoint's prefix.
      step: its global step, None if it has none.
      num_variables: how many variables it holds.
      num_bytes: what their values take.
      num_averaged: how many are means over the sources.
      num_left_out: how many of the newest source are not in it.
    """

    path: str
    step: int | None
    num_variables: int
    num_bytes: int
    num_averaged: int
    num_left_out: int


def choose_checkpoints(train_dir, best=None, last=None):
    """The n best or last checkpoints of a run.

    Args:
      train_dir: the folder of the run.
      best: how many of those in `train_dir/best`, by `best.json`.
      last: how many of the newest, instead.

    Returns:
      Tuple of prefixes.

    Raises:
      ValueError: if there are not that many.
    """
    if last is None:
        prefixes = _list_best(train_dir)
        place = os.path.join(train_dir, "best")
    else:
        found = (re.fullmatch(r"(.*-(\d+))\.index", n) for n in _list_folder(train_dir))
        numbered = sorted(((int(m[2]), m[1]) for m in found if m), reverse=True)
        prefixes = [os.path.join(train_dir, name) for _, name in numbered]
        place = train_dir
    count = best if last is None else last
    if not prefixes:
        raise ValueError(f"{place!r} holds no checkpoints of a run.")
    if not 1 <= count <= len(prefixes):
        raise ValueError(
            f"{place!r} holds {len(prefixes)} checkpoints: --best and --last take "
            f"1 to {len(prefixes)}, not {count}."
        )
    return tuple(prefixes[:count])


def _list_folder(folder):
    if not os.path.isdir(folder):
        raise ValueError(f"There is no folder {folder!r}: give that of a run.")
    return os.listdir(folder)


def _list_best(train_dir):
    """The prefixes in `best/`, the best first."""
    folder = train_dir
    if os.path.basename(os.path.normpath(train_dir)) != "best":
        folder = os.path.join(train_dir, "best")
    path = os.path.join(folder, "best.json")
    try:
        with open(path, encoding="utf-8") as file:
            steps = [int(row["step"]) for row in json.load(file)["checkpoints"]]
    except FileNotFoundError:
        raise ValueError(
            f"There is no {path!r}: the run kept no best checkpoints; use --last."
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path!r} is damaged: {error}.") from error
    return [os.path.join(folder, f"model.ckpt-{step}") for step in steps]


def write_edited(edit, output_path):
    """Writes a new checkpoint, in the V2 format, of the types of the old one.

    Floating-point variables of the model, and moving averages, become the means of
    all sources, computed in float64. Everything else (the step, other integers, what
    the optimizer keeps) is that of the source with the highest step.

    Args:
      edit: an `Edit`.
      output_path: the prefix to write; its folder is made if need be, and gets a
        file `checkpoint` that names it, unless there is one.

    Returns:
      A `Result`.

    Raises:
      ValueError: if a source is missing or damaged, the sources hold other
        variables, a scope matches nothing, or `output_path` is there already.
    """
    readers = [checkpoint_reader.open_checkpoint(path) for path in edit.sources]
    _check_output(output_path)
    newest = max(readers, key=_read_step)
    _check_same_variables(readers, newest)
    plan = _plan(edit, newest)
    variables = {target: newest.variables[source] for target, source in plan.items()}
    averaged = set()
    if len(readers) > 1:
        averaged = {v.name for v in variables.values() if _is_averaged(v, newest)}

    def read(name):
        return _compute_mean(readers if name in averaged else [newest], name)

    _write(variables, read, output_path)
    step = _read_step(newest)
    return Result(
        output_path,
        step if step >= 0 else None,
        len(variables),
        sum(variable.num_bytes for variable in variables.values()),
        len(averaged),
        len(set(newest.variables) - set(plan.values())),
    )


def _read_step(reader):
    """The global step in a checkpoint, -1 if it holds none."""
    name = "global_step"
    return int(reader.read(name)) if name in reader.variables else -1


def _check_output(path):
    if not os.path.basename(path):
        raise ValueError(f"--output_path={path!r} names no file: add model.ckpt to it.")
    if os.path.exists(path) or os.path.exists(path + ".index"):
        raise ValueError(
            f"{path!r} is there already, and nothing is overwritten: remove it, or "
            "give another --output_path."
        )


def _check_same_variables(readers, newest):
    """Raises ValueError unless all sources hold the same variables of a model."""
    ours = _describe_averaged(newest)
    for reader in readers:
        theirs = _describe_averaged(reader)
        for name in sorted(ours.keys() | theirs.keys()):
            mine, other = (d.get(name, "missing") for d in (ours, theirs))
            if mine != other:
                raise ValueError(
                    f"Only checkpoints of the same network can be averaged: {name} is "
                    f"{mine} in {newest.path!r}, but {other} in {reader.path!r}."
                )


def _describe_averaged(reader):
    """dict from the name of each variable to average to its type and shape."""
    return {
        variable.name: f"{variable.dtype} {format_shape(variable.shape)}"
        for variable in reader.variables.values()
        if _is_averaged(variable, reader)
    }


def _is_averaged(variable, reader):
    kind = variable_kinds.get_kind(variable.name, reader.variables)
    is_real = "float" in variable.dtype or "complex" in variable.dtype
    return kind in ("model", "average") and is_real


def _plan(edit, reader):
    """dict from each name in the result to the name it is read from."""
    names = reader.variables
    plan = {}
    for name in sorted(names):
        kind = variable_kinds.get_kind(name, names)
        if edit.strip_optimizer and kind not in ("model", "step"):
            continue
        source = name
        if edit.use_moving_averages:
            if kind == "average":
                continue
            if kind == "model" and name + _AVERAGE in names:
                source = name + _AVERAGE
        plan[name] = source
    if edit.use_moving_averages and not any(s != n for n, s in plan.items()):
        raise ValueError(
            f"{reader.path!r} holds no moving averages: leave out "
            "--use_moving_averages."
        )
    return _rename(plan, edit.renames, names)


def _rename(plan, renames, names):
    """The plan with names in other scopes; the first rename that holds one moves it."""
    used, renamed = set(), {}
    for name, source in plan.items():
        new_name = name
        for old, new in renames:
            if _is_in_scope(name, old, names):
                used.add(old)
                rest = name[len(old) :].strip("/")
                new_name = "/".join(part for part in (new, rest) if part)
                break
        if not new_name:
            raise ValueError(
                f"--rename leaves no name for {name}: give it a new scope."
            )
        if new_name in renamed:
            raise ValueError(
                f"--rename would call both {renamed[new_name]} and {source} "
                f"{new_name!r}: choose another scope."
            )
        renamed[new_name] = source
    for old, _ in renames:
        if old not in used:
            scopes = {"/".join(n.split("/")[:i]) for n in plan for i in (1, 2, 3)}
            near = checkpoint_reader.find_nearest(old, sorted(scopes)) or sorted(scopes)
            raise ValueError(
                f"--rename has the scope {old!r}, which holds nothing; the nearest: "
                f"{', '.join(near[:3])}."
            )
    return renamed


def _is_in_scope(name, scope, names):
    if scope:
        return name == scope or name.startswith(scope + "/")
    # The model's own and what is kept for them, but not the step and the like.
    return variable_kinds.get_kind(name, names) == "model" or (
        name.rpartition("/")[0] in names
    )


def _compute_mean(readers, name):
    """The mean of a variable, of its own dtype, with one source at a time in memory."""
    if len(readers) == 1:
        return readers[0].read(name)
    total, dtype = None, None
    for reader in readers:
        values = reader.read(name)
        dtype = values.dtype
        wide = np.complex128 if np.iscomplexobj(values) else np.float64
        total = values.astype(wide) if total is None else total + values
    return np.asarray(total / len(readers)).astype(dtype)


def _write(variables, read, output_path):
    """Writes a checkpoint in parts, merges and then moves them.

    Args:
      variables: dict from each name to write to the `Variable` it is read from.
      read: a variable's name to its values.
      output_path: the prefix.
    """
    folder, name = os.path.split(os.path.abspath(output_path))
    os.makedirs(folder, exist_ok=True)
    work = os.path.join(folder, f".{name}.{os.getpid()}")
    os.mkdir(work)
    try:
        parts, waiting, size = [], {}, 0
        for target, variable in variables.items():
            waiting[target] = variable
            size += variable.num_bytes
            if size >= _SHARD_BYTES:
                parts.append(_save_part(waiting, read, work, len(parts)))
                waiting, size = {}, 0
        if waiting:
            parts.append(_save_part(waiting, read, work, len(parts)))
        with tf.Graph().as_default(), tf.Session(config=_ON_CPU) as session:
            merge = tf.raw_ops.MergeV2Checkpoints(
                checkpoint_prefixes=parts,
                destination_prefix=os.path.join(work, name),
                delete_old_dirs=False,
            )
            session.run(merge)
        files = [n for n in os.listdir(work) if n.startswith(f"{name}.data-")]
        for file in [*files, f"{name}.index"]:  # With the index, it is there.
            os.replace(os.path.join(work, file), os.path.join(folder, file))
    finally:
        shutil.rmtree(work)
    if not os.path.exists(os.path.join(folder, "checkpoint")):
        tf.train.update_checkpoint_state(folder, name)


def _save_part(variables, read, folder, number):
    prefix = os.path.join(folder, f"part-{number}")
    with tf.Graph().as_default(), tf.Session(config=_ON_CPU) as session:
        values = {
            tf.placeholder(tf.as_dtype(variable.dtype), variable.shape): read(
                variable.name
            )
            for variable in variables.values()
        }
        save = tf.raw_ops.SaveV2(
            prefix=prefix,
            tensor_names=list(variables),
            shape_and_slices=[""] * len(variables),
            tensors=list(values),
        )
        session.run(save, values)
    return prefix
