"""Fits checkpoints to the variables of a graph, and restores them."""

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from absl import logging

from deployment import text
from deployment.models.checkpoint import Checkpoint
from tf_slim_compat import tf


@dataclasses.dataclass(frozen=True)
class Fit:
    """How a checkpoint fits the variables that should be restored from it.

    Attributes:
      checkpoint: the checkpoint.
      restored: variables to restore, by their name in the checkpoint.
      excluded: names of variables that are not to be restored.
      missing: names of variables that the checkpoint lacks.
      misshapen: (name, shape here, shape in the checkpoint) of the others.
      unused: names in the checkpoint from which nothing is restored, except the global
        step and the state of optimizers and moving averages.
    """

    checkpoint: Checkpoint
    restored: dict[str, tf.Variable]
    excluded: tuple[str, ...]
    missing: tuple[str, ...]
    misshapen: tuple[tuple[str, list[int], list[int]], ...]
    unused: tuple[str, ...]

    @property
    def path(self) -> str:
        """The checkpoint's prefix."""
        return self.checkpoint.path


def split_scopes(scopes: str | None) -> tuple[str, ...]:
    """Splits comma-separated scopes; drops blanks and repetitions."""
    parts = (part.strip().strip("/") for part in (scopes or "").split(","))
    return tuple(dict.fromkeys(part for part in parts if part))


def get_variables_in_scopes(
    variables: Sequence[tf.Variable], scopes: Iterable[str], flag_name: str
) -> list[tf.Variable]:
    """Returns the variables whose names begin with one of the scopes, each once.

    A scope is a prefix of names, or a regular expression matched from their beginning.
    One that matches no variable beside others that do, as in published commands for
    networks without the layers, is only warned of.

    Raises:
      ValueError: if no scope matches a variable; the message names the nearest.
    """
    chosen, unmatched = {}, []
    for scope in scopes:
        pattern = _compile(scope, flag_name)
        matches = {v.op.name: v for v in variables if pattern.match(v.op.name)}
        if not matches:
            unmatched.append(_no_match(scope, variables, flag_name))
        chosen.update(matches)
    if unmatched and not chosen:
        raise ValueError(unmatched[0])
    for sentence in unmatched:
        logging.warning("%s It is ignored.", sentence)
    return [v for v in variables if v.op.name in chosen]


def fit(
    checkpoint: Checkpoint,
    variables: Sequence[tf.Variable] | Mapping[str, tf.Variable],
    excluded: Iterable[tf.Variable] = (),
) -> Fit:
    """Compares variables with a checkpoint by name and shape.

    Args:
      checkpoint: the checkpoint.
      variables: a list of variables, or a dict from names in the checkpoint to
        variables.
      excluded: variables that are not to be restored.
    """
    shapes = {name: found.shape for name, found in checkpoint.variables.items()}
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
        checkpoint, restored, tuple(excluded_names), tuple(missing), tuple(misshapen),
        tuple(unused),
    )  # fmt: skip


def check_fit(fitted: Fit, remedy: str = "") -> None:
    """Checks that a checkpoint fits.

    Args:
      fitted: what `fit` found.
      remedy: what the user can do; `{scopes}` in it is replaced by the scopes of the
        variables that do not fit, comma-separated.

    Raises:
      ValueError: if a variable is missing or has another shape.
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
            f"{theirs or 'nothing useful'}, but {ours} is needed."
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


def shorten_scopes(names: Iterable[str], others: Iterable[str] = ()) -> list[str]:
    """Returns the shortest scopes of at least two parts with `names`, not `others`."""
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


def build_restore_fn(fitted: Fit) -> Callable[[tf.Session], None] | None:
    """Builds a function of a session that restores what fits; None if nothing does."""
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
    nearest = text.nearest(scope, sorted(scopes), cutoff=0.4)
    nearest = nearest or sorted(s for s in scopes if s.count("/") == 0)
    return (
        f"{flag_name} has the scope {scope!r}, but no variable is in it. "
        f"The nearest scopes: {', '.join(nearest)}."
    )


def _bookkeeping(names):
    """Returns the names of optimizer state and moving averages."""
    own = {"global_step", "beta1_power", "beta2_power"}
    return {
        name
        for name in names
        if name.rpartition("/")[0] in names or name.rpartition("/")[2] in own
    }


def _and_more(count):
    return f" (and {count} more)" if count > 0 else ""
