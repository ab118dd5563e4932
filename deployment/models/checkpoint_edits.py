"""Edits checkpoints: averages, strips, renames, converts to the V2 format.

    edit = Edit(sources=("run/best/model.ckpt-900", "run/best/model.ckpt-800"))
    write_edited(edit, "run/averaged/model.ckpt")

The sources do not change; they are read one variable at a time. The result appears
complete or not at all.
"""

import dataclasses
import os
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
from absl import logging

from deployment import text
from deployment.models import (
    averages,
    checkpoint,
    checkpoint_choice,
    checkpoint_writing,
    variable_kinds,
)
from deployment.models.checkpoint import Checkpoint, Variable


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
    checkpoint_writing.check_output(output_path)
    newest = max(readers, key=_read_step)
    _check_same_variables(readers, newest)
    plan = _plan(edit, newest)
    variables = {target: newest.variables[source] for target, source in plan.items()}
    averaged = set()
    if len(readers) > 1:
        averaged = {v.name for v in variables.values() if _is_averaged(v, newest)}

    def read(name):
        return _compute_mean(readers if name in averaged else [newest], name)

    checkpoint_writing.write(variables, read, output_path)
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
