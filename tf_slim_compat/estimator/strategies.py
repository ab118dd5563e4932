"""Distribution strategies in estimators, over the machines that TF_CONFIG names.

Stands for `tensorflow.python.distribute.estimator_training`, which TensorFlow removed;
tensorflow-estimator calls these functions. Training on parameter servers without a
strategy does not come here.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any

from tensorflow.python.distribute import (
    distribute_coordinator,
    distribute_coordinator_context,
)

from tf_slim_compat import tf

_MODE = distribute_coordinator.CoordinatorMode.INDEPENDENT_WORKER


def init_run_config(config: Any, tf_config: dict) -> None:
    """Completes a RunConfig that has distribution strategies.

    Args:
      config: `tf.estimator.RunConfig`.
      tf_config: what the environment variable TF_CONFIG holds; {} for one machine.

    Raises:
      ValueError: if the strategies are given twice or for a remote cluster.
    """
    wanted = config._experimental_distribute
    if wanted and (config._train_distribute or config._eval_distribute):
        raise ValueError(
            "RunConfig has experimental_distribute beside train_distribute or "
            "eval_distribute: give either the one or the others."
        )
    if wanted and wanted.remote_cluster:
        raise ValueError(
            "RunConfig has a remote_cluster, which is not supported: start the program "
            "on every machine with its own TF_CONFIG instead."
        )
    if wanted:
        config._train_distribute = wanted.train_distribute
        config._eval_distribute = wanted.eval_distribute
    config._distribute_coordinator_mode = _MODE if tf_config.get("cluster") else None
    # The coordinator gives each process its place in the cluster.
    config._init_distributed_setting_from_environment_var({})
    config._maybe_overwrite_session_config_for_distributed_training()


def should_run_distribute_coordinator(config: Any) -> bool:
    """Returns whether `train_and_evaluate` runs with a strategy on several machines."""
    return bool(getattr(config, "_distribute_coordinator_mode", None))


def _run(
    estimator: Any, worker_fn: Callable, eval_fn: Callable, is_training: bool
) -> Any:
    config = estimator.config
    train, evaluate = config._train_distribute, config._eval_distribute
    return distribute_coordinator.run_distribute_coordinator(
        worker_fn,
        train if is_training else evaluate,
        eval_fn,
        evaluate,
        mode=_MODE,
        session_config=config.session_config,
    )


def _for_strategy(estimator: Any, strategy: Any, use: str) -> Any:
    """Returns a copy of the estimator for a process of the cluster.

    Args:
      estimator: `tf.estimator.Estimator`.
      strategy: the strategy, configured for the process.
      use: "train" or "eval".
    """
    local = copy.copy(estimator)
    local._config = copy.copy(estimator._config)
    local._config._distribute_coordinator_mode = None
    worker = distribute_coordinator_context.get_current_worker_context()
    local._config._evaluation_master = worker.master_target
    setattr(local._config, f"_{use}_distribute", strategy)
    setattr(local, f"_{use}_distribution", strategy)
    return local


def estimator_train(
    estimator: Any, train_fn: Callable, hooks: Sequence[tf.train.SessionRunHook]
) -> Any:
    """Trains on this machine as one of the cluster.

    Args:
      estimator: `tf.estimator.Estimator`.
      train_fn: function of the estimator, its strategy and the hooks.
      hooks: hooks of the training.
    """

    def run(strategy: Any) -> Any:
        local = _for_strategy(estimator, strategy, "train")
        return train_fn(local, strategy, list(hooks or ()))

    return _run(estimator, run, None, is_training=True)


def estimator_evaluate(
    estimator: Any, evaluate_fn: Callable, hooks: Sequence[tf.train.SessionRunHook]
) -> Any:
    """Evaluates on this machine as one of the cluster.

    Args:
      estimator: `tf.estimator.Estimator`.
      evaluate_fn: function of the estimator, its strategy and the hooks.
      hooks: hooks of the evaluation.

    Returns:
      The metrics by name.
    """

    def run(strategy: Any) -> Any:
        local = _for_strategy(estimator, strategy, "eval")
        return evaluate_fn(local, strategy, list(hooks or ()))

    return _run(estimator, run, None, is_training=False)


def train_and_evaluate(
    estimator: Any, train_spec: Any, eval_spec: Any, executor_cls: type
) -> Any:
    """Trains on the workers of the cluster and evaluates on its evaluator.

    Args:
      estimator: `tf.estimator.Estimator`.
      train_spec: `tf.estimator.TrainSpec`.
      eval_spec: `tf.estimator.EvalSpec`.
      executor_cls: class that runs the specs with an estimator.
    """

    def train(strategy: Any) -> Any:
        return _for_strategy(estimator, strategy, "train").train(
            train_spec.input_fn,
            max_steps=train_spec.max_steps,
            hooks=list(train_spec.hooks),
            saving_listeners=train_spec.saving_listeners,
        )

    def evaluate(strategy: Any) -> Any:
        local = _for_strategy(estimator, strategy, "eval")
        return executor_cls(local, train_spec, eval_spec).run_evaluator()

    return _run(estimator, train, evaluate, is_training=True)
