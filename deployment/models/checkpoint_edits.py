"""Edits checkpoints: averages, strips, renames, converts to the V2 format.

    edit = Edit(sources=("run/best/model.ckpt-900", "run/best/model.ckpt-800"))
    write_edited(edit, "run/averaged/model.ckpt")

The sources do not change; they are read one variable at a time. The result appears
complete or not at all.
"""

import contextlib
import dataclasses
import os
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

import numpy as np
from absl import logging

from deployment import files, text
from deployment.models import (
    averages,
    checkpoint,
    checkpoint_choice,
    checkpoint_state,
    variable_kinds,
)
from deployment.models.checkpoint import Checkpoint, Variable
from tf_slim_compat import tf

_SHARD_BYTES = 1 << 27  # Written at a time, to limit memory.
_ON_CPU = tf.ConfigProto(device_count={"GPU": 0})


@dataclasses.dataclass(frozen=True)
class Edit:
    """What to change.

    Attributes:
      sources: the checkpoints' prefixes; more than one are averaged.
      strip_optimizer: whether to keep only the model's variables and the global step.
      use_moving_averages: whether to replace weights by their moving averages.
      renames: pairs of scopes (old, new): variables in the old scope move to the new
        one. An old scope of "" stands for all variables of the model; a new scope of
        "" removes the old one.
    """

    sources: tuple[str, ...]
    strip_optimizer: bool = False
    use_moving_averages: bool = False
    renames: tuple[tuple[str, str], ...] = ()


@dataclasses.dataclass(frozen=True)
class Result:
    """A checkpoint that was written.

    Attributes:
      path: its prefix.
      step: its global step; None if it has none.
      num_variables: number of variables.
      num_bytes: size of their values in bytes.
      num_averaged: number of variables that are means over the sources.
      num_left_out: number of variables of the newest source that it lacks.
    """

    path: str
    step: int | None
    num_variables: int
    num_bytes: int
    num_averaged: int
    num_left_out: int


def choose_checkpoints(
    train_dir: str, best: int | None = None, last: int | None = None
) -> tuple[str, ...]:
    """Returns the prefixes of the best or the newest checkpoints of a run.

    Args:
      train_dir: the run's folder.
      best: how many of the best, which are listed in `train_dir/best/best.json`.
      last: how many of the newest; takes precedence over `best`.

    Returns:
      As many as there are, if there are several but fewer than wanted.

    Raises:
      ValueError: if there are none, or only one of several wanted.
    """
    if not os.path.isdir(train_dir):
        raise ValueError(
            f"There is no folder {train_dir!r}: give the folder of a training run."
        )
    if last is None:
        prefixes, kind, count = _list_best(train_dir), "best", best
    else:
        numbered = sorted(checkpoint.list_steps(train_dir).items(), reverse=True)
        prefixes, kind, count = [path for _, path in numbered], "last", last
    if not prefixes:
        raise ValueError(f"{train_dir!r} holds no checkpoints of a training run.")
    if count < 1:
        raise ValueError(f"--{kind} must be 1 or more, but is {count}.")
    if count > len(prefixes):
        _explain_fewer(train_dir, kind, count, len(prefixes))
    return tuple(prefixes[:count])


def _explain_fewer(train_dir: str, kind: str, count: int, found: int) -> None:
    """Logs that fewer checkpoints were kept than wanted, or raises ValueError."""
    flag, other = {
        "best": ("--num_best_checkpoints", "--last"),
        "last": ("--max_checkpoints_to_keep", "--best"),
    }[kind]
    kept = f"The run in {train_dir!r} kept {text.format_count(found, 'checkpoint')}"
    kept += f" for --{kind}={count}"
    if found == 1:
        raise ValueError(
            f"{kept}, and one alone cannot be averaged: use {other}={count}, or train "
            f"with {flag}={count}."
        )
    logging.warning(
        "%s: averaging these %d (train with %s=%d to keep more).",
        kept, found, flag, count,
    )  # fmt: skip


def _list_best(train_dir: str) -> list[str]:
    """Returns the prefixes of the checkpoints in `best/`, best first."""
    ranking = checkpoint_choice.read_ranking(train_dir)
    if ranking is None:
        raise ValueError(
            f"The run in {train_dir!r} kept no best checkpoints, as it was not "
            "evaluated while training: average the newest with --last=3."
        )
    return ranking.prefixes


def write_edited(edit: Edit, output_path: str) -> Result:
    """Writes a new checkpoint in the V2 format; dtypes do not change.

    Floating-point variables of the model and their moving averages become the means of
    all sources, computed in float64. Everything else (the global step, other integers,
    optimizer state) comes from the source with the highest step.

    Args:
      edit: what to change.
      output_path: the prefix to write. Its folder is created if necessary, and gets a
        `checkpoint` file that points to it, unless it has one.

    Raises:
      ValueError: if a source is missing or damaged, the sources have different
        variables, a scope matches nothing, or `output_path` exists.
    """
    readers = [Checkpoint(path) for path in edit.sources]
    check_output(output_path)
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


def _read_step(reader: Checkpoint) -> int:
    """Returns the global step in a checkpoint, -1 if it has none."""
    name = "global_step"
    return int(reader.read(name)) if name in reader.variables else -1


def check_output(path: str) -> None:
    """Raises ValueError if a checkpoint to write has no name, or exists."""
    if not os.path.basename(path):
        raise ValueError(
            f"The output path {path!r} is a folder: append a name, such as model.ckpt."
        )
    if os.path.exists(path) or os.path.exists(path + ".index"):
        raise ValueError(
            f"{path!r} exists and is not overwritten: remove it, or choose another "
            "output path."
        )


def _check_same_variables(readers: Iterable[Checkpoint], newest: Checkpoint) -> None:
    """Raises ValueError unless all sources have the same variables of the model."""
    ours = _describe_averaged(newest)
    for reader in readers:
        theirs = _describe_averaged(reader)
        for name in sorted(ours.keys() | theirs.keys()):
            mine, other = (d.get(name, "missing") for d in (ours, theirs))
            if mine != other:
                raise ValueError(
                    f"Only checkpoints of the same network can be averaged: {name} is "
                    f"{mine} in {newest.path!r} but {other} in {reader.path!r}."
                )


def _describe_averaged(reader: Checkpoint) -> dict[str, str]:
    """Returns the dtype and shape of each variable to average, by name."""
    return {
        variable.name: f"{variable.dtype} {text.format_shape(variable.shape)}"
        for variable in reader.variables.values()
        if _is_averaged(variable, reader)
    }


def _is_averaged(variable: Variable, reader: Checkpoint) -> bool:
    kind = variable_kinds.get_kind(variable.name, reader.variables)
    is_real = "float" in variable.dtype or "complex" in variable.dtype
    return kind in ("model", "average") and is_real


def _plan(edit: Edit, reader: Checkpoint) -> dict[str, str]:
    """Returns the source's name of each variable in the result, by its new name."""
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
            if kind == "model" and averages.average_name(name) in names:
                source = averages.average_name(name)
        plan[name] = source
    if edit.use_moving_averages and not any(s != n for n, s in plan.items()):
        raise ValueError(
            f"The checkpoint {reader.path!r} has no moving averages: it was trained "
            "without --moving_average_decay."
        )
    return _rename(plan, edit.renames, names)


def _rename(
    plan: Mapping[str, str],
    renames: Sequence[tuple[str, str]],
    names: Collection[str],
) -> dict[str, str]:
    """Returns the plan with new names; the first matching rename applies."""
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
                f"Removing the scope {name!r} leaves the variable without a name: give "
                "it a new scope."
            )
        if new_name in renamed:
            raise ValueError(
                f"Renaming would give {renamed[new_name]} and {source} the same name "
                f"{new_name!r}: choose another scope."
            )
        renamed[new_name] = source
    for old, _ in renames:
        if old not in used:
            scopes = {"/".join(n.split("/")[:i]) for n in plan for i in (1, 2, 3)}
            near = text.nearest(old, sorted(scopes)) or sorted(scopes)[:3]
            raise ValueError(
                f"No variable is in the scope {old!r} to rename; the nearest: "
                f"{', '.join(near)}."
            )
    return renamed


def _is_in_scope(name: str, scope: str, names: Collection[str]) -> bool:
    if scope:
        return name == scope or name.startswith(scope + "/")
    # The model's variables and their slots, but not the global step and the like.
    return variable_kinds.get_kind(name, names) == "model" or (
        name.rpartition("/")[0] in names
    )


def _compute_mean(readers: Sequence[Checkpoint], name: str) -> np.ndarray:
    """Returns the mean of a variable in its own dtype, reading one source at a time."""
    if len(readers) == 1:
        return readers[0].read(name)
    total, dtype = None, None
    for reader in readers:
        values = reader.read(name)
        dtype = values.dtype
        wide = np.complex128 if np.iscomplexobj(values) else np.float64
        total = values.astype(wide) if total is None else total + values
    return np.asarray(total / len(readers)).astype(dtype)


def _write(
    variables: Mapping[str, Variable],
    read: Callable[[str], np.ndarray],
    output_path: str,
) -> None:
    """Writes a checkpoint in parts to a temporary folder, merges and moves them.

    Args:
      variables: the source variable for each name to write.
      read: returns the values of a source variable, given its name.
      output_path: the prefix.
    """
    folder, name = os.path.split(os.path.abspath(output_path))
    work = files.partial_path(os.path.join(folder, name))
    with _named_errors(output_path):
        shutil.rmtree(work, ignore_errors=True)  # That of a killed process.
        os.makedirs(work)
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
        with _named_errors(output_path):
            _merge(parts, os.path.join(work, name))
            written = [n for n in os.listdir(work) if n.startswith(f"{name}.data-")]
            # Last, the index: it makes the checkpoint visible.
            final = [os.path.join(folder, n) for n in [*written, f"{name}.index"]]
            files.sync(work)
            for path in final:
                os.replace(os.path.join(work, os.path.basename(path)), path)
            files.sync(*final)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if not os.path.exists(os.path.join(folder, checkpoint_state.FILE_NAME)):
        checkpoint_state.write(folder, [name])


@contextlib.contextmanager
def _named_errors(output_path: str) -> Iterator[None]:
    """Turns errors of the file system into an `OSError` that names the checkpoint."""
    try:
        yield
    except (OSError, tf.errors.OpError) as error:
        cause = getattr(error, "strerror", None) or text.find_cause(error.message)
        reason = cause.split(";")[-1].strip()
        raise OSError(f"{output_path!r} cannot be written: {reason}.") from error


def _merge(parts: Sequence[str], prefix: str) -> None:
    """Makes one checkpoint of several."""
    with tf.Graph().as_default(), tf.Session(config=_ON_CPU) as session:
        merge = tf.raw_ops.MergeV2Checkpoints(
            checkpoint_prefixes=parts, destination_prefix=prefix, delete_old_dirs=False
        )
        session.run(merge)


def _save_part(
    variables: Mapping[str, Variable],
    read: Callable[[str], np.ndarray],
    folder: str,
    number: int,
) -> str:
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
        with _named_errors(files.final_path(folder)):
            session.run(save, values)
    return prefix
