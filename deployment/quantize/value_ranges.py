"""Ranges of fake quantization: variables that follow the values in training."""

from tf_slim_compat import tf

_DECAY = 0.999
_INITIAL_MAX = 6.0
# Collection of the variables that a network in float does not have.
RANGES = "fake_quantization_ranges"

Range = tuple[tf.Tensor, tf.Tensor]


def read_range(scope: str, shape: list[int], is_relu: bool) -> Range:
    """Returns a range that stays as it is, for evaluation.

    Args:
      scope: scope of the variables `min` and `max`.
      shape: shape of both: [], or [channels].
      is_relu: whether the values are never negative.
    """
    low, high = _build_variables(scope, shape, is_relu)
    return tf.convert_to_tensor(low), tf.convert_to_tensor(high)


def follow_last_values(scope: str, values: Range) -> Range:
    """Returns a range that is that of the values of every step.

    Args:
      scope: scope of the variables `min` and `max`.
      values: the range of the values.
    """
    variables = _build_variables(scope, values[0].shape.as_list(), is_relu=False)
    return tuple(
        tf.convert_to_tensor(variable.assign(value))
        for variable, value in zip(variables, values, strict=True)
    )


def follow_average(scope: str, values: Range, is_relu: bool) -> Range:
    """Returns a range that is a moving average over the steps.

    The average is corrected for its start at zero: the first step's is its own range.

    Args:
      scope: scope of the variables `min` and `max`.
      values: the range of the values.
      is_relu: whether the values are never negative.
    """
    averages = []
    variables = _build_variables(scope, [], is_relu)
    for variable, value in zip(variables, values, strict=True):
        # The names that checkpoints of TensorFlow 1 have.
        name = f"{scope}/{variable.op.name}"
        biased = build_variable(f"{name}/biased", 0.0)
        local_step = build_variable(f"{name}/local_step", 0.0)
        total = biased.assign_sub((biased - value) * (1.0 - _DECAY))
        count = local_step.assign_add(1.0)
        average = tf.convert_to_tensor(total) / (1.0 - tf.pow(_DECAY, count))
        averages.append(tf.convert_to_tensor(variable.assign(average)))
    return tuple(averages)


def measure(values: tf.Tensor, per_channel: bool) -> Range:
    """Returns the least and the largest value; the range always includes 0."""
    axes = list(range(values.shape.rank - 1)) if per_channel else None
    # The default names of the nodes would be those of the variables.
    return (
        tf.minimum(tf.reduce_min(values, axes, name="lowest"), 0.0),
        tf.maximum(tf.reduce_max(values, axes, name="highest"), 0.0),
    )


def make_symmetric(values: Range, bits: int, narrow: bool) -> Range:
    """Returns the range widened to be symmetric about zero.

    Integers of the full range have one more negative value than positive ones.
    """
    low, high = values
    ratio = 1.0 if narrow else (2**bits - 2) / 2**bits
    return tf.minimum(low, -high / ratio), tf.maximum(high, -low * ratio)


def build_variable(
    name: str,
    value: float,
    shape: list[int] | None = None,
    dtype: tf.DType = tf.float32,
) -> tf.Variable:
    """Returns a variable that no optimizer trains, under its full name."""
    with tf.control_dependencies(None), tf.name_scope(None):
        initial = tf.constant(value, dtype, shape or [], name=f"{name}/initial")
        return tf.Variable(initial, trainable=False, name=name)


def _build_variables(
    scope: str, shape: list[int], is_relu: bool
) -> tuple[tf.Variable, tf.Variable]:
    low = 0.0 if is_relu else -_INITIAL_MAX
    variables = (
        build_variable(f"{scope}/min", low, shape),
        build_variable(f"{scope}/max", _INITIAL_MAX, shape),
    )
    for variable in variables:
        tf.add_to_collection(tf.GraphKeys.MODEL_VARIABLES, variable)
        tf.add_to_collection(RANGES, variable)
    return variables
