"""How layers behave in a training run: dropout, moving averages, frozen statistics."""

import contextlib
import re
from collections.abc import Iterator

import tf_slim_compat
from deployment.models import restoring
from deployment.optimize import depthwise_gradient
from deployment.train.config import TrainingConfig
from tf_slim_compat import tf


@contextlib.contextmanager
def in_training(
    config: TrainingConfig, global_step: tf.Variable, batch_number: tf.Tensor
) -> Iterator[None]:
    """Has layers seed dropout, average statistics and freeze as configured.

    Args:
      config: the configuration of the run.
      global_step: the global step.
      batch_number: int64 scalar that seeds dropout.
    """
    scopes = restoring.split_scopes(config.trainable_scopes)

    def is_frozen(name):
        return not any(re.match(scope, name) for scope in scopes)

    with contextlib.ExitStack() as stack:
        stack.enter_context(tf_slim_compat.batch_norm_decay_warmup(global_step))
        stack.enter_context(
            tf_slim_compat.stateless_dropout(config.seed or 0, batch_number)
        )
        if config.precision == "bfloat16":
            stack.enter_context(depthwise_gradient.by_forward_kernel())
        if config.sync_batch_norm:
            average = config.workers.collectives.average_with_gradient
            stack.enter_context(
                tf_slim_compat.synchronized_batch_norm(average, len(config.workers))
            )
        if scopes and config.freeze_batch_norm:
            stack.enter_context(tf_slim_compat.frozen_batch_norm(is_frozen))
        yield
