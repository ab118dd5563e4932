"""Where a run starts from: its own checkpoint, another one, or fresh values."""

import dataclasses

from absl import logging

from deployment.models import checkpoints
from deployment.train import saving
from tf_slim_compat import slim, tf


@dataclasses.dataclass(frozen=True)
class Start:
    """The step that a run starts after, and the checkpoint that it resumes."""

    step: int
    checkpoint: str | None

    def build_init_fn(self, config, graph):
        """Sees that checkpoints fit, and shows a table of what comes from where.

        Args:
          config: a `training.TrainingConfig`.
          graph: the `training_graph.TrainingGraph` in the default graph.

        Returns:
          A function of a session that restores a warm start, or None.

        Raises:
          ValueError: if a checkpoint does not fit.
        """
        if self.checkpoint is not None:
            _check_own_checkpoint(self.checkpoint, config)
            _log_variables(graph.trained, restored=slim.get_model_variables())
            return None
        if not config.checkpoint_path:
            logging.info("Starting with freshly initialised variables.")
            _log_variables(graph.trained, restored=())
            return None
        fitted = _fit_warm_start(config)
        _log_variables(graph.trained, list(fitted.restored.values()))
        return _build_restore_fn(fitted, graph.averages)


def find_start(config):
    """Looks for the newest whole checkpoint in `config.train_dir`; a `Start`."""
    newest = checkpoints.find_newest_complete(config.train_dir)
    if newest is None:
        return Start(0, None)
    saving.point_to(config.train_dir, newest)
    logging.info("Resuming from %s.", newest)
    if config.checkpoint_path:
        logging.warning(
            "--checkpoint_path=%s is not used: --train_dir has a checkpoint, and "
            "that one goes first. Give another --train_dir to start afresh.",
            config.checkpoint_path,
        )
    return Start(checkpoints.get_step(newest), newest)


def _check_own_checkpoint(checkpoint, config):
    del config
    fitted = checkpoints.fit(checkpoint, tf.global_variables())
    checkpoints.check_fit(
        fitted,
        "The folder --train_dir belongs to a run with other settings (network, "
        "classes or optimizer): continue it with those, or give another folder.",
    )


def _fit_warm_start(config):
    flag = "--checkpoint_exclude_scopes"
    variables = slim.get_model_variables()
    scopes = checkpoints.split_scopes(config.checkpoint_exclude_scopes)
    excluded = checkpoints.get_variables_in_scopes(variables, scopes, flag)
    fitted = checkpoints.fit(config.checkpoint_path, variables, excluded)
    wanted = fitted
    if config.ignore_missing_vars and fitted.restored:
        wanted = dataclasses.replace(fitted, missing=())
    checkpoints.check_fit(
        wanted,
        f"To initialise such variables afresh, add {flag}={{scopes}}"
        + ("" if fitted.misshapen else " or --ignore_missing_vars")
        + ".",
    )
    _log_warm_start(fitted)
    return fitted


def _build_restore_fn(fitted, averages):
    restore_fn = checkpoints.build_restore_fn(fitted)
    if restore_fn is None:
        return None
    copies = [tf.no_op()]
    if averages is not None:  # They were initialised with the values before.
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
            "left out by --checkpoint_exclude_scopes, freshly initialised",
            fitted.excluded,
        ),
        ("not in the checkpoint, freshly initialised", fitted.missing),
        ("in the checkpoint, but not in this network", fitted.unused),
    ):
        if names:
            shown = ", ".join(sorted(names)[:4]) + (", ..." if len(names) > 4 else "")
            logging.info("  %d %s: %s", len(names), what, shown)


def _log_variables(trained, restored):
    """A table: what is trained, what is frozen, and where their values come from."""
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
                "restored" if is_restored else "freshly initialised",
                len(variables),
                f"{sum(v.shape.num_elements() for v in variables):,}",
            )
