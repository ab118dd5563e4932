"""tf_slim made whole on current TensorFlow.

`from tf_slim_compat import slim, tf` gives `tensorflow.compat.v1` in graph mode with
resource variables, and tf_slim with everything that it misses put back. The repair is
made on tf_slim itself, so `import tf_slim as slim` elsewhere gets it too, once this
module has been imported.
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
import sys
import tempfile
import warnings
import weakref

# Where tf_slim looks for names that TensorFlow has since moved; `tensorflow.compat.v1`
# has them all, two under another name.
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
def _keras_left_for_later():
    """Keras, a third of the time of `import tensorflow`, is loaded where it is used.

    What TensorFlow misses afterwards is where the package `tensorflow.keras` lies.
    """
    if {"keras", "tensorflow"} & set(sys.modules):
        yield
        return
    sys.modules["keras"] = None
    try:
        yield
    finally:
        del sys.modules["keras"]
    keras = importlib.util.find_spec("keras")
    if keras:
        folder = os.path.join(os.path.dirname(keras.origin), "_tf_keras")
        path = sys.modules["tensorflow"].__path__
        path[:] = dict.fromkeys(place or folder for place in path)


@contextlib.contextmanager
def _quiet():
    """Holds back what TensorFlow and this module's repairs say while they load.

    TensorFlow's C++ code writes to the file descriptor before any setting can reach
    it, so that is turned aside; if loading fails, all of it is shown.
    """
    logger = logging.getLogger("tensorflow")
    level = logger.level
    logger.setLevel(logging.ERROR)
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(stderr, held.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            logger.setLevel(level)


def _restore_moved_names():
    # tf_slim and its tests hold these modules by reference, so the names go back into
    # TensorFlow's modules, and only where they are missing.
    for module_name, names in _MOVED.items():
        module = importlib.import_module(f"tensorflow.python.{module_name}")
        for name in names:
            if not hasattr(module, name):
                setattr(module, name, getattr(tf, _RENAMED.get(name, name)))


def _is_for_users(record):
    """Whether a log message is not about what tf_slim itself calls in TensorFlow."""
    message = record.getMessage()
    return "is deprecated" not in message or "/tf_slim/" not in message


logging.getLogger("tensorflow").addFilter(_is_for_users)
for _message in ("`.*` is deprecated", "Attempting to use a closed FileWriter"):
    warnings.filterwarnings("ignore", _message, UserWarning, r"tensorflow\.python\.")
# Nor are the notes on the processor's instruction sets for who trains a network.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")

with _quiet():
    with _keras_left_for_later():
        import tensorflow.compat.v1 as tf

    tf.disable_v2_behavior()
    tf.enable_resource_variables()
    # The search for GPUs complains where there is none; it is made only once.
    tf.config.list_physical_devices("GPU")
    _restore_moved_names()
    import tf_slim as slim
    from tf_slim.layers import utils as _utils

    from slim_batch_norm import batch_norm
    from slim_moving_averages import batch_norm_decay_warmup, frozen_batch_norm

__all__ = [
    "as_written",
    "batch_norm",
    "batch_norm_decay_warmup",
    "dropout",
    "frozen_batch_norm",
    "random_uniform",
    "slim",
    "stateless_dropout",
    "tf",
]

# For functions of tf.data that say what they do in TensorFlow's operations: AutoGraph
# takes seconds to look for what it could convert in them, and in all that they call.
as_written = tf.autograph.experimental.do_not_convert

_DRAWS = contextvars.ContextVar("stateless_dropout", default=None)
# Of every graph, so that the clones of a network draw each its own.
_DRAW_NUMBERS = weakref.WeakKeyDictionary()


class _Draws:
    """Gives every random draw of a graph its seed: of the run, the draw, the step."""

    def __init__(self, seed, step):
        self._seed = operator.index(seed)
        with tf.control_dependencies(None), tf.name_scope("stateless_dropout"):
            self._step = tf.cast(step, tf.int64)
        self._numbers = _DRAW_NUMBERS.setdefault(self._step.graph, itertools.count())

    def next_seed(self, op_seed=None):
        """Returns an int64 [2] tensor."""
        key = repr((self._seed, next(self._numbers), op_seed)).encode()
        digest = hashlib.blake2b(key, digest_size=8).digest()
        return tf.stack([int.from_bytes(digest, "little", signed=True), self._step])


@contextlib.contextmanager
def stateless_dropout(seed, step):
    """Makes what is dropped a function of the seed, the step and the layer.

    Within this context `slim.dropout` and `random_uniform` draw without a state, so a
    run that was interrupted and goes on at a step draws there what it would have drawn
    without the interruption, and two runs of one seed draw the same. Draws are
    numbered in the order in which they are added to the graph; the number is a part of
    the seed, so no two layers, and no two clones, draw alike. Outside of any such
    context they draw as TensorFlow's random operations do.

    Contexts nest, and the innermost counts.

    Args:
      seed: int, of the run.
      step: the steps trained so far: an integer scalar, tensor or variable, usually the
        global step.

    Yields:
      None.

    Raises:
      TypeError: `seed` is not an integer.
    """
    token = _DRAWS.set(_Draws(seed, step))
    try:
        yield
    finally:
        _DRAWS.reset(token)


def random_uniform(shape, dtype=tf.float32):
    """Returns a tensor drawn from [0, 1), as `stateless_dropout` says where it is on.

    Args:
      shape: list of ints and scalar tensors, or an int32 tensor.
      dtype: of the numbers: float16, bfloat16, float32 or float64.
    """
    draws = _DRAWS.get()
    if draws is None:
        return tf.random_uniform(shape, dtype=dtype)
    return tf.random.stateless_uniform(
        shape, draws.next_seed(), dtype=dtype, alg="philox"
    )


_stateful_dropout = slim.dropout


@slim.add_arg_scope
def dropout(
    inputs,
    keep_prob=0.5,
    noise_shape=None,
    is_training=True,
    outputs_collections=None,
    scope=None,
    seed=None,
):
    """Drops values at random in training, and scales up the others by 1 / `keep_prob`.

    This is tf_slim's own, but for what it draws within `stateless_dropout`. The paper:
    "Dropout: A Simple Way to Prevent Neural Networks from Overfitting",
    https://jmlr.org/papers/v15/srivastava14a.html.

    Args:
      inputs: float tensor of any shape.
      keep_prob: of each value, in (0, 1]: float, or a scalar tensor of the inputs'
        dtype.
      noise_shape: int32 [rank], the shape of what is drawn, which is broadcast: 1 for
        an axis whose values are dropped together, None for the inputs' size. None for
        the inputs' shape.
      is_training: whether to drop at all: bool, or a scalar bool tensor or variable.
      outputs_collections: collections for the outputs.
      scope: of the operations; "Dropout" by default.
      seed: int or None; two layers of one seed drop the same only outside of
        `stateless_dropout`, and in different graphs.

    Returns:
      The outputs, of the shape and the dtype of the inputs.
    """
    draws = _DRAWS.get()
    training = _utils.constant_value(is_training)
    keeps_all = isinstance(keep_prob, numbers.Real) and keep_prob == 1
    if draws is None or keeps_all or (training is not None and not training):
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

    def drop():
        sizes = noise_shape
        if isinstance(noise_shape, list | tuple) and None in noise_shape:
            actual = tf.shape(inputs)
            sizes = [actual[i] if n is None else n for i, n in enumerate(noise_shape)]
        return tf.nn.experimental.stateless_dropout(
            inputs, 1 - keep_prob, draws.next_seed(seed), "philox", sizes, "dropout"
        )

    with tf.variable_scope(scope, "Dropout", [inputs]) as layer_scope:
        outputs = _utils.smart_cond(is_training, drop, lambda: tf.identity(inputs))
        return _utils.collect_named_outputs(
            outputs_collections, layer_scope.name, outputs
        )


def _replace_in_tf_slim(old, new):
    """Puts `new` wherever a module of tf_slim exposes `old`."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "tf_slim":
            for attribute, value in list(vars(module).items()):
                if value is old:
                    setattr(module, attribute, new)


_replace_in_tf_slim(slim.batch_norm, batch_norm)
_replace_in_tf_slim(slim.dropout, dropout)
