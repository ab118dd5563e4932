"""Finding checkpoints, and fitting them to the variables of a graph.

Both formats are read: single files (V1, as the public checkpoints of 2016 are)
and `.index` with `.data-*` files (V2).
"""

import dataclasses
import difflib
import math
import os
import re

from tf_slim_compat import tf


@dataclasses.dataclass(frozen=True)
class Fit:
    """How a checkpoint fits the variables that should be restored from it.

    Attributes:
      path: the checkpoint's prefix.
      restored: variables to restore, by their name in the checkpoint.
      excluded: names of variables left out on purpose.
      missing: names of variables that the checkpoint does not hold.
      misshapen: (name, shape here, shape in the checkpoint) of the others.
      unused: names in the checkpoint that nothing here is restored from, without
        the global step and what optimizers and moving averages keep.
    """

    path: str
    restored: dict
    excluded: tuple
    missing: tuple
    misshapen: tuple
    unused: tuple


def get_checkpoint_path(path):
    """The prefix of a checkpoint, given a prefix, one of its files or a folder.

    Raises:
      ValueError: if there is no checkpoint.
    """
    if tf.gfile.IsDirectory(path):
        latest = tf.train.latest_checkpoint(path)
        if latest is None:
            raise ValueError(
                f"The folder {path!r} holds no checkpoint: give the folder of a "
                "training run or the path of a checkpoint such as "
                f"{os.path.join(path, 'model.ckpt-1000')}."
            )
        return latest
    prefix = re.sub(r"\.(index|meta|data-\d+-of-\d+)$", "", path)
    for candidate in (prefix, path):
        if tf.train.checkpoint_exists(candidate):
            return candidate
    folder = os.path.dirname(path) or "."
    if not tf.gfile.IsDirectory(folder):
        raise ValueError(
            f"There is no checkpoint {path!r}: its folder does not exist either."
        )
    names = sorted(n[:-6] for n in tf.gfile.ListDirectory(folder) if n[-6:] == ".index")
    there = ", ".join(names[-5:]) or "no checkpoint at all"
    raise ValueError(f"There is no checkpoint {path!r}; its folder holds {there}.")


def open_checkpoint(path):
    """A `CheckpointReader` of a checkpoint of either format.

    Raises:
      ValueError: if the file is no checkpoint, or a damaged one.
    """
    prefix = get_checkpoint_path(path)
    try:
        return tf.train.NewCheckpointReader(prefix)
    except (tf.errors.OpError, ValueError) as error:
        reason = str(error).split("\n")[0]
        raise ValueError(
            f"{prefix!r} cannot be read as a checkpoint: {reason}"
        ) from error


def find_newest_complete(folder):
    """The prefix of the newest checkpoint in a folder that is whole, or None.

    The one that the folder's file `checkpoint` names goes first; where it was cut
    short or is gone, the whole one of the latest step is taken.
    """
    named = tf.train.latest_checkpoint(folder)
    if named is not None and is_complete(named):
        return named
    prefixes = [path[:-6] for path in tf.gfile.Glob(os.path.join(folder, "*-*.index"))]
    steps = {p: re.search(r"-(\d+)$", p) for p in prefixes}
    numbered = [prefix for prefix, match in steps.items() if match]
    numbered.sort(key=lambda prefix: int(steps[prefix].group(1)), reverse=True)
    return next(filter(is_complete, numbered), None)


def is_complete(prefix):
    """Whether a checkpoint can be opened and its files are as long as they should be.

    A checkpoint that was copied in part, or written while the disk was full, is not.
    """
    try:
        reader = tf.train.NewCheckpointReader(prefix)
    except (tf.errors.OpError, ValueError, RuntimeError):
        return False
    files = tf.gfile.Glob(f"{prefix}.data-*-of-*")
    if not files:  # A single file, of the V1 format, ends with its index.
        return not tf.gfile.Exists(f"{prefix}.index")
    shapes = reader.get_variable_to_shape_map()
    types = reader.get_variable_to_dtype_map()
    expected = sum(
        math.prod(shape) * types[name].size
        for name, shape in shapes.items()
        if types[name] != tf.string
    )
    return sum(tf.gfile.Stat(path).length for path in files) >= expected


def get_step(prefix):
    """The global step that a checkpoint holds, 0 if it holds none."""
    reader = open_checkpoint(prefix)
    if not reader.has_tensor(tf.GraphKeys.GLOBAL_STEP):
        return 0
    return int(reader.get_tensor(tf.GraphKeys.GLOBAL_STEP))


def count_elements(prefix):
    """How many numbers a checkpoint holds."""
    shapes = open_checkpoint(prefix).get_variable_to_shape_map()
    return sum(map(math.prod, shapes.values()))


def split_scopes(text):
    """The scopes in a comma-separated flag, without blanks and repetitions."""
    parts = (part.strip().strip("/") for part in (text or "").split(","))
    return tuple(dict.fromkeys(part for part in parts if part))


def get_variables_in_scopes(variables, scopes, flag_name):
    """The variables whose names begin with one of the scopes, each once.

    A scope is a prefix of names, or a regular expression matched from their
    beginning.

    Raises:
      ValueError: if a scope matches nothing; the message names the nearest.
    """
    chosen = {}
    for scope in scopes:
        pattern = _compile(scope, flag_name)
        matches = {v.op.name: v for v in variables if pattern.match(v.op.name)}
        if not matches:
            raise ValueError(_no_match(scope, variables, flag_name))
        chosen.update(matches)
    return [v for v in variables if v.op.name in chosen]


def fit(path, variables, excluded=()):
    """Compares variables with a checkpoint, name by name and shape by shape.

    Args:
      path: a checkpoint's prefix or a folder with checkpoints.
      variables: a list of variables, or a dict from names in the checkpoint to
        variables.
      excluded: variables not to restore.

    Returns:
      A `Fit`.
    """
    path = get_checkpoint_path(path)
    shapes = open_checkpoint(path).get_variable_to_shape_map()
    if not isinstance(variables, dict):
        variables = {variable.op.name: variable for variable in variables}
    excluded_names = {variable.op.name for variable in excluded}
    restored, missing, misshapen = {}, [], []
    for name, variable in variables.items():
        if variable.op.name in excluded_names:
            continue
        if name not in shapes:
            missing.append(name)
        elif list(shapes[name]) != variable.shape.as_list():
            misshapen.append((name, variable.shape.as_list(), list(shapes[name])))
        else:
            restored[name] = variable
    known = set(variables) | excluded_names
    unused = sorted(set(shapes) - known - _bookkeeping(shapes))
    return Fit(
        path, restored, tuple(excluded_names), tuple(missing), tuple(misshapen),
        tuple(unused),
    )  # fmt: skip


def check_fit(fitted, remedy=""):
    """Raises ValueError with one sentence if a checkpoint does not fit.

    Args:
      fitted: a `Fit`.
      remedy: what the user can do; `{scopes}` in it stands for the scopes of the
        variables that do not fit, as a flag takes them.
    """
    if not fitted.missing and not fitted.misshapen:
        return
    bad = [name for name, _, _ in fitted.misshapen] + list(fitted.missing)
    remedy = remedy.format(scopes=",".join(shorten_scopes(bad, fitted.restored)))
    if not fitted.restored and not fitted.misshapen:
        theirs = ", ".join(sorted({n.split("/")[0] for n in fitted.unused})[:3])
        ours = ", ".join(sorted({name.split("/")[0] for name in bad})[:3])
        raise ValueError(
            f"The checkpoint {fitted.path!r} is of another network: it holds "
            f"{theirs or 'nothing of use'}, but {ours} is needed."
        )
    if fitted.misshapen:
        name, ours, theirs = fitted.misshapen[0]
        more = _and_more(len(fitted.misshapen) - 1)
        raise ValueError(
            f"{name} has the shape {ours}, but {theirs} in the checkpoint "
            f"{fitted.path!r}{more}, as with another number of classes. {remedy}"
        )
    raise ValueError(
        f"The checkpoint {fitted.path!r} does not hold {fitted.missing[0]}"
        f"{_and_more(len(fitted.missing) - 1)}. {remedy}"
    )


def shorten_scopes(names, others=()):
    """The shortest scopes of at least two parts that hold `names`, not `others`."""
    scopes = []
    for name in names:
        parts = name.split("/")
        for length in range(min(2, len(parts)), len(parts) + 1):
            scope = "/".join(parts[:length])
            if not any(other.startswith(scope) for other in others):
                break
        if scope not in scopes:
            scopes.append(scope)
    return scopes


def build_restore_fn(fitted):
    """A function of a session that restores what fits (None if nothing does)."""
    if not fitted.restored:
        return None
    saver = tf.train.Saver(fitted.restored, reshape=False)
    return lambda session: saver.restore(session, fitted.path)


def _compile(scope, flag_name):
    try:
        return re.compile(scope)
    except re.error as error:
        raise ValueError(
            f"{flag_name} has the scope {scope!r}, which is no valid pattern: {error}."
        ) from error


def _no_match(scope, variables, flag_name):
    scopes = set()
    for variable in variables:
        parts = variable.op.name.split("/")
        scopes.update("/".join(parts[:i]) for i in range(1, len(parts)))
    nearest = difflib.get_close_matches(scope, sorted(scopes), n=3, cutoff=0.4)
    nearest = nearest or sorted(s for s in scopes if s.count("/") == 0)
    return (
        f"{flag_name} has the scope {scope!r}, but no variable's name begins so. "
        f"The nearest scopes: {', '.join(nearest)}."
    )


def _bookkeeping(names):
    """Names that belong to the training of other names in the same checkpoint."""
    own = {"global_step", "beta1_power", "beta2_power"}
    return {
        name
        for name in names
        if name.rpartition("/")[0] in names or name.rpartition("/")[2] in own
    }


def _and_more(count):
    return f" (and {count} more)" if count > 0 else ""
