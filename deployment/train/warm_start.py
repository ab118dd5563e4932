"""Where a run starts: at its own checkpoint, from another one, or from scratch."""

import dataclasses
import os
from collections.abc import Callable

from absl import logging

from deployment import files, quantize, text
from deployment.models import best_record, checkpoint, checkpoint_state, restoring
from deployment.models.checkpoint import Checkpoint
from deployment.train import saving
from deployment.train.config import TrainingConfig
from deployment.train.step import TrainingGraph
from tf_slim_compat import slim, tf


class OtherVariablesError(ValueError):
    """The checkpoint of a run lacks variables of the optimizer, but not of the model.

    The run was trained with another optimizer, or trained fewer layers.
    """


@dataclasses.dataclass(frozen=True)
class Start:
    """The step after which a run starts, and the checkpoint that it resumes or None."""

    step: int
    checkpoint: Checkpoint | None

    def build_init_fn(
        self, config: TrainingConfig, graph: TrainingGraph
    ) -> Callable[[tf.Session], None] | None:
        """Checks that checkpoints fit, and logs a table of where variables come from.

        Args:
          config: the configuration of the run.
          graph: the training graph, in the default graph.

        Returns:
          A function of a session that restores a warm start, or None.

        Raises:
          ValueError: if a checkpoint does not fit.
        """
        if self.checkpoint is not None:
            _check_own_checkpoint(self.checkpoint, self._begins_phase(config))
            _log_variables(graph.trained, restored=slim.get_model_variables())
            return None
        if not config.checkpoint_path:
            logging.info("Starting from randomly initialized variables.")
            _log_variables(graph.trained, restored=())
            return None
        fitted = _fit_warm_start(config)
        _log_variables(graph.trained, list(fitted.restored.values()))
        return _build_restore_fn(fitted, graph.averages)

    def list_new_variables(self, config: TrainingConfig) -> list[tf.Variable]:
        """Returns the variables that a checkpoint lacks in which a phase begins."""
        if not self._begins_phase(config):
            return []
        missing = restoring.fit(self.checkpoint, tf.global_variables()).missing
        return [v for v in tf.global_variables() if v.op.name in missing]

    def _begins_phase(self, config):
        return self.checkpoint is not None and self.step == config.phase.begin > 0


def find_start(config: TrainingConfig) -> Start:
    """Finds the newest complete checkpoint in `config.train_dir`.

    Raises:
      ValueError: if there are checkpoints but none is whole, or if there is none and
        none at `config.checkpoint_path` either.
    """
    newest = checkpoint.find_newest(config.train_dir)
    if newest is None:
        _check_nothing_is_missing(config)
        if config.checkpoint_path:
            checkpoint.find_prefix(config.checkpoint_path)  # Fails early.
        return Start(0, None)
    if config.is_chief:
        keep = config.max_checkpoints_to_keep
        saving.point_to(config.train_dir, newest.path, keep)
    logging.info("Resuming from %s.", newest.path)
    if config.checkpoint_path:
        logging.warning(
            "--checkpoint_path=%s is not used: the checkpoint in --train_dir takes "
            "precedence. Give another --train_dir to start over.",
            config.checkpoint_path,
        )
    return Start(newest.step, newest)


def _check_nothing_is_missing(config):
    """Raises ValueError if the checkpoint to resume from is gone."""
    path = os.path.join(config.train_dir, checkpoint_state.FILE_NAME)
    listed = checkpoint_state.read(config.train_dir)
    if listed:
        raise ValueError(
            f"{path!r} names {listed[-1]!r}, which is not in that folder: put its "
            f"files there, or delete {path!r} to start over."
        )
    best = os.path.join(config.train_dir, best_record.FOLDER)
    if steps := sorted(checkpoint.list_steps(best)):
        raise ValueError(
            f"There is no checkpoint in {config.train_dir!r} to resume from, but "
            f"{best!r} holds that of step {steps[-1]}: copy its files there, or give "
            "another --train_dir to start over."
        )
    if config.is_chief and tf.gfile.Exists(path):
        logging.warning("%s is damaged, and there is no checkpoint.", path)
        files.remove(path)  # TensorFlow would stop at it.


def _check_own_checkpoint(newest, begins_phase):
    fitted = restoring.fit(newest, tf.global_variables())
    weights = {variable.op.name for variable in slim.get_model_variables()}
    if fitted.missing and not fitted.misshapen and not weights & set(fitted.missing):
        if begins_phase:
            return
        raise OtherVariablesError(
            f"The run in --train_dir trained fewer layers (--trainable_scopes) or used "
            f"another optimizer: its checkpoint {newest.path!r} has no "
            f"{text.shorten(fitted.missing, 2)}."
        )
    restoring.check_fit(
        fitted,
        "The folder --train_dir belongs to a run with other settings (network, "
        "classes or optimizer): resume it with those, or give another folder.",
    )


def _fit_warm_start(config):
    flag = "--checkpoint_exclude_scopes"
    variables = slim.get_model_variables()
    scopes = restoring.split_scopes(config.checkpoint_exclude_scopes)
    excluded = restoring.get_variables_in_scopes(variables, scopes, flag)
    start = Checkpoint(config.checkpoint_path)
    # A network that was trained in float has no ranges; the first step measures them.
    known = start.variables
    new = {v.op.name for v in quantize.list_ranges() if v.op.name not in known}
    variables = [v for v in variables if v.op.name not in new]
    fitted = restoring.fit(start, variables, excluded)
    wanted = fitted
    if config.ignore_missing_vars and fitted.restored:
        wanted = dataclasses.replace(fitted, missing=())
    restoring.check_fit(
        wanted,
        f"To initialize such variables randomly, add {flag}={{scopes}}"
        + ("" if fitted.misshapen else " or --ignore_missing_vars")
        + ".",
    )
    _log_warm_start(fitted)
    return fitted


def _build_restore_fn(fitted, averages):
    restore_fn = restoring.build_restore_fn(fitted)
    if restore_fn is None:
        return None
    copies = [tf.no_op()]
    if averages is not None:  # They were initialized with the random values.
        copies += [
            averages.average(variable).assign(variable)
            for variable in slim.get_model_variables()
        ]

    def init_fn(session):
        restore_fn(session)
        session.run(copies)

    return init_fn


def _log_warm_start(fitted):
    logging.info("Warm start from %s:", fitted.path)
    for what, names in (
        ("restored", fitted.restored),
        (
            "excluded by --checkpoint_exclude_scopes, randomly initialized",
            fitted.excluded,
        ),
        ("not in the checkpoint, randomly initialized", fitted.missing),
        ("in the checkpoint but not in this network", fitted.unused),
    ):
        if names:
            logging.info("  %d %s: %s", len(names), what, text.shorten(sorted(names)))


def _log_variables(trained, restored):
    """Logs a table: what is trained or frozen, and where the values come from."""
    trained = {variable.op.name for variable in trained}
    restored = {variable.op.name for variable in restored}
    trainable = {variable.op.name for variable in tf.trainable_variables()}
    groups = {
        ("trained", True): [],
        ("trained", False): [],
        ("frozen", True): [],
        ("frozen", False): [],
        ("statistics", True): [],
        ("statistics", False): [],
    }
    for variable in slim.get_model_variables():
        name = variable.op.name
        kind = "frozen" if name in trainable else "statistics"
        kind = "trained" if name in trained else kind
        groups[kind, name in restored].append(variable)
    logging.info("%-12s %-20s %9s %12s", "variables", "start", "number", "parameters")
    for (kind, is_restored), variables in groups.items():
        if variables:
            logging.info(
                "%-12s %-20s %9d %12s",
                kind,
                "restored" if is_restored else "randomly initialized",
                len(variables),
                f"{sum(v.shape.num_elements() for v in variables):,}",
            )
