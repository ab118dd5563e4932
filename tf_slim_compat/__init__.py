"""Makes the released tf_slim work on current TensorFlow.

`from tf_slim_compat import slim, tf` gives `tensorflow.compat.v1` in graph mode with
resource variables, and tf_slim with everything restored that it lacks there. tf_slim
itself is repaired, so `import tf_slim as slim` elsewhere gets the same functions once
this module has been imported.
"""

import contextlib
import contextvars
import hashlib
import importlib.util
import itertools
import logging
import numbers
import operator
import os
import pkgutil
import sys
import tempfile
import warnings
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

# Names that tf_slim uses and TensorFlow has since moved; `tensorflow.compat.v1` has all
# of them, two under another name.
_MOVED = {
    "framework.ops": ["IndexedSlices", "Tensor"],
    "ops.array_ops": ["stack", "unstack"],
    "ops.control_flow_ops": ["Assert", "case", "cond", "while_loop"],
    "ops.variable_scope": [
        "disable_resource_variables",
        "enable_resource_variables",
        "resource_variables_enabled",
        "variable",
    ],
    "ops.variables": ["VariableV1"],
}
_RENAMED = {"variable": "Variable", "VariableV1": "Variable"}


@contextlib.contextmanager
def _hidden(*packages: str) -> Iterator[None]:
    """Makes packages seem missing, unless they are loaded already."""
    names = [name for name in packages if name not in sys.modules]
    sys.modules.update(dict.fromkeys(names))
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]


@contextlib.contextmanager
def _keras_deferred() -> Iterator[None]:
    """Keeps `import tensorflow` from loading Keras, which loads when first used.

    h5py and scipy are for TensorFlow's own old copy of Keras, which goes without them.
    """
    if {"keras", "tensorflow"} & set(sys.modules):
        yield
        return
    with _hidden("keras", "h5py", "scipy"):
        yield
    # TensorFlow's path then has None in place of the folder of `tensorflow.keras`.
    keras = importlib.util.find_spec("keras")
    if keras:
        folder = os.path.join(os.path.dirname(keras.origin), "_tf_keras")
        path = sys.modules["tensorflow"].__path__
        path[:] = dict.fromkeys(place or folder for place in path)


class _Later:
    """A module, or "module:name" in one, imported when an attribute is first read."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(pkgutil.resolve_name(self._name), attribute)


@contextlib.contextmanager
def _scikit_learn_deferred() -> Iterator[None]:
    """Keeps `import tf_slim` from loading scikit-learn, which one of its losses uses.

    With `_keras_deferred`, `import tf_slim_compat` takes 0.6 of the processor time of
    `import tensorflow` (medians of alternating runs, two cores).
    """
    if {"sklearn", "tf_slim"} & set(sys.modules):
        yield
        return
    with _hidden("sklearn"):
        yield
    if importlib.util.find_spec("sklearn"):
        metric_learning = sys.modules["tf_slim.losses.metric_learning"]
        metric_learning.metrics = _Later("sklearn.metrics")
        metric_learning.HAS_SKLEARN = True


@contextlib.contextmanager
def stderr_held_back(show_on_error: bool = False) -> Iterator[None]:
    """Suppresses standard error, including what native code writes to descriptor 2.

    Args:
      show_on_error: whether to print what was suppressed if the context raises.
    """
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            if show_on_error:
                held.seek(0)
                os.write(stderr, held.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)


@contextlib.contextmanager
def _warnings_held_back(logger: logging.Logger) -> Iterator[None]:
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _restore_moved_names() -> None:
    # tf_slim and its tests hold these modules by reference, so the names go back into
    # TensorFlow's own modules, only where they are missing.
    for module_name, names in _MOVED.items():
        module = importlib.import_module(f"tensorflow.python.{module_name}")
        for name in names:
            if not hasattr(module, name):
                setattr(module, name, getattr(tf, _RENAMED.get(name, name)))


def _is_for_users(record: logging.LogRecord) -> bool:
    """Returns False for deprecation warnings about calls that tf_slim itself makes."""
    message = record.getMessage()
    return "is deprecated" not in message or "/tf_slim/" not in message


_logger = logging.getLogger("tensorflow")
_logger.addFilter(_is_for_users)
for _message in ("`.*` is deprecated", "Attempting to use a closed FileWriter"):
    warnings.filterwarnings("ignore", _message, UserWarning, r"tensorflow\.python\.")
# Leaves out the notes on the processor's instruction sets.
# In a cluster every operation that another process aborts is logged as an error; the
# exception says it.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3" if "TF_CONFIG" in os.environ else "1")

# TensorFlow's C++ code writes to standard error before any setting can reach it.
with stderr_held_back(show_on_error=True), _warnings_held_back(_logger):
    with _keras_deferred():
        import tensorflow.compat.v1 as tf

    tf.disable_v2_behavior()
    tf.enable_resource_variables()
    # Searching for GPUs prints an error where there is none, but only the first time.
    tf.config.list_physical_devices("GPU")
    _restore_moved_names()
    tf.estimator = _Later("tf_slim_compat.estimator")
    with _scikit_learn_deferred():
        import tf_slim as slim
    from tf_slim.layers import utils as _utils

    from tf_slim_compat.slim_batch_norm import batch_norm, synchronized_batch_norm
    from tf_slim_compat.slim_moving_averages import (
        batch_norm_decay_warmup,
        frozen_batch_norm,
    )

__all__ = [
    "as_written",
    "batch_norm",
    "batch_norm_decay_warmup",
    "dropout",
    "frozen_batch_norm",
    "random_uniform",
    "slim",
    "stateless_dropout",
    "synchronized_batch_norm",
    "stderr_held_back",
    "tf",
]

# Decorates functions of tf.data that use TensorFlow operations only: AutoGraph would
# spend seconds searching them, and everything that they call, for code to convert.
as_written = tf.autograph.experimental.do_not_convert

_SEEDS = contextvars.ContextVar("stateless_dropout", default=None)
# Counts per graph, so that clones of a network get different random numbers.
_COUNTERS = weakref.WeakKeyDictionary()


class _Seeds:
    """Gives each random operation of a graph a seed that changes with every step."""

    def __init__(self, seed: int, step: int | tf.Tensor | tf.Variable) -> None:
        self._seed = operator.index(seed)
        with tf.control_dependencies(None), tf.name_scope("stateless_dropout"):
            self._step = tf.cast(step, tf.int64)
        self._counter = _COUNTERS.setdefault(self._step.graph, itertools.count())

    def next_seed(self, op_seed: int | None = None) -> tf.Tensor:
        """Returns the seed of the next operation, int64 [2]."""
        key = repr((self._seed, next(self._counter), op_seed)).encode()
        digest = hashlib.blake2b(key, digest_size=8).digest()
        return tf.stack([int.from_bytes(digest, "little", signed=True), self._step])


@contextlib.contextmanager
def stateless_dropout(seed: int, step: int | tf.Tensor | tf.Variable) -> Iterator[None]:
    """Makes dropout a function of the seed, the step and the layer.

    In this context `slim.dropout` and `random_uniform` use stateless random operations.
    A run that resumes at some step drops the same values as one that was never
    interrupted, and two runs with the same seed drop the same values. Operations are
    numbered in the order in which they are added to the graph, and the number is part
    of the seed, so layers and clones differ from each other. Outside of the context
    TensorFlow's stateful random operations are used.

    Contexts nest; the innermost one applies.

    Args:
      seed: the run's seed.
      step: steps trained so far, an integer scalar; usually the global step.

    Yields:
      None.

    Raises:
      TypeError: if `seed` is not an integer.
    """
    token = _SEEDS.set(_Seeds(seed, step))
    try:
        yield
    finally:
        _SEEDS.reset(token)


def random_uniform(
    shape: Sequence[int | tf.Tensor] | tf.Tensor, dtype: tf.DType = tf.float32
) -> tf.Tensor:
    """Returns random numbers from [0, 1), stateless in a `stateless_dropout` context.

    Args:
      shape: list of ints and scalar tensors, or an int32 tensor.
      dtype: float16, bfloat16, float32 or float64.
    """
    seeds = _SEEDS.get()
    if seeds is None:
        return tf.random_uniform(shape, dtype=dtype)
    return tf.random.stateless_uniform(
        shape, seeds.next_seed(), dtype=dtype, alg="philox"
    )


_stateful_dropout = slim.dropout


@slim.add_arg_scope
def dropout(
    inputs: tf.Tensor,
    keep_prob: float | tf.Tensor = 0.5,
    noise_shape: Sequence[int | None] | tf.Tensor | None = None,
    is_training: bool | tf.Tensor | tf.Variable = True,
    outputs_collections: str | Sequence[str] | None = None,
    scope: str | tf.VariableScope | None = None,
    seed: int | None = None,
) -> tf.Tensor:
    """Drops random values in training, and scales the others up by 1 / `keep_prob`.

    Same as tf_slim's dropout, except that it is stateless in a `stateless_dropout`
    context. Paper: "Dropout: A Simple Way to Prevent Neural Networks from Overfitting",
    https://jmlr.org/papers/v15/srivastava14a.html.

    Args:
      inputs: float tensor of any shape.
      keep_prob: probability of keeping each value, in (0, 1]: float, or a scalar tensor
        of the inputs' dtype.
      noise_shape: int32 [rank], shape of the random mask, which is broadcast to the
        inputs. 1 drops the values along an axis together, None stands for the inputs'
        size. By default the inputs' shape.
      is_training: whether to drop values: bool, or a scalar bool tensor or variable.
      outputs_collections: collections to which the outputs are added.
      scope: scope of the operations; "Dropout" by default.
      seed: seed of the operation. Two layers with the same seed drop the same values
        only outside of `stateless_dropout`, and in different graphs.

    Returns:
      A tensor of the inputs' shape and dtype.
    """
    seeds = _SEEDS.get()
    training = _utils.constant_value(is_training)
    keeps_all = isinstance(keep_prob, numbers.Real) and keep_prob == 1
    if seeds is None or keeps_all or (training is not None and not training):
        return _stateful_dropout(
            inputs,
            keep_prob,
            noise_shape,
            is_training,
            outputs_collections,
            scope,
            seed,
        )
    inputs = tf.convert_to_tensor(inputs)

    def drop() -> tf.Tensor:
        sizes = noise_shape
        if isinstance(noise_shape, list | tuple) and None in noise_shape:
            actual = tf.shape(inputs)
            sizes = [actual[i] if n is None else n for i, n in enumerate(noise_shape)]
        return tf.nn.experimental.stateless_dropout(
            inputs, 1 - keep_prob, seeds.next_seed(seed), "philox", sizes, "dropout"
        )

    with tf.variable_scope(scope, "Dropout", [inputs]) as layer:
        outputs = _utils.smart_cond(is_training, drop, lambda: tf.identity(inputs))
        return _utils.collect_named_outputs(outputs_collections, layer.name, outputs)


def _replace_in_tf_slim(old: Any, new: Any) -> None:
    """Replaces `old` by `new` in every module of tf_slim that exposes it."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "tf_slim":
            for attribute, value in list(vars(module).items()):
                if value is old:
                    setattr(module, attribute, new)


def _find_in_tf_slim(name: str) -> Any:
    """Serves `slim.nets`, which tf_slim does not import, when it is first used."""
    if name == "nets":
        return importlib.import_module("tf_slim.nets")
    raise AttributeError(f"module 'tf_slim' has no attribute {name!r}")


slim.__getattr__ = _find_in_tf_slim
_replace_in_tf_slim(slim.batch_norm, batch_norm)
_replace_in_tf_slim(slim.dropout, dropout)
tf.layers = _Later("tf_slim_compat.layers")
tf.nn.rnn_cell = _Later("tf_slim_compat.layers:rnn_cell")
sys.modules["tensorflow.python.layers.normalization"].normalization = tf.layers
