"""`tf.contrib.framework`: argument scopes, variables and checkpoint helpers."""

from tensorflow.python.framework import smart_cond as _smart_cond
from tensorflow.python.training import checkpoint_utils  # noqa: F401
from tensorflow.python.util import nest  # noqa: F401
from tf_slim.ops import arg_scope as _arg_scope
from tf_slim.ops import framework_ops, variables  # noqa: F401
from tf_slim.ops.arg_scope import *  # noqa: F403
from tf_slim.ops.framework_ops import *  # noqa: F403
from tf_slim.ops.variables import *  # noqa: F403

from tf_slim_compat import tf
from tf_slim_compat.contrib.forwarding import TF, make_getattr

_PYTHON = "tensorflow.python"

arg_scope = _arg_scope.arg_scope
add_arg_scope = _arg_scope.add_arg_scope
current_arg_scope = _arg_scope.current_arg_scope
has_arg_scope = _arg_scope.has_arg_scope
arg_scoped_arguments = _arg_scope.arg_scoped_arguments

load_checkpoint = tf.train.load_checkpoint
load_variable = tf.train.load_variable
list_variables = tf.train.list_variables
init_from_checkpoint = tf.train.init_from_checkpoint
smart_cond = _smart_cond.smart_cond
smart_case = _smart_cond.smart_case
smart_constant_value = _smart_cond.smart_constant_value


def reduce_sum_n(tensors: list[tf.Tensor], name: str | None = None) -> tf.Tensor:
    """Returns the sum of all values of some tensors, a scalar.

    Raises:
      ValueError: if there are no tensors.
    """
    if not tensors:
        raise ValueError("reduce_sum_n needs at least one tensor; there are none.")
    with tf.name_scope(name, "reduce_sum_n", tensors):
        return tf.add_n([tf.reduce_sum(tensor) for tensor in tensors])


def get_placeholders(graph: tf.Graph) -> list[tf.Tensor]:
    """Returns the outputs of all placeholders of a graph."""
    operations = graph.get_operations()
    return [op.outputs[0] for op in operations if op.type == "Placeholder"]


__getattr__ = make_getattr(
    "framework",
    (
        *(TF, f"{TF}:debugging", f"{TF}:initializers"),
        f"{_PYTHON}.ops.check_ops",
        f"{_PYTHON}.framework.tensor_util",
        f"{_PYTHON}.util.deprecation",
        f"{_PYTHON}.training.checkpoint_ops",
    ),
    renamed={
        "BoundedTensorSpec": f"{_PYTHON}.framework.tensor_spec:BoundedTensorSpec",
        "RecordInput": f"{_PYTHON}.ops.data_flow_ops:RecordInput",
        "remove_squeezable_dimensions": (
            f"{_PYTHON}.ops.confusion_matrix:remove_squeezable_dimensions"
        ),
        "zero_initializer": f"{TF}:zeros_initializer",
    },
    instead={"": "tf_slim.ops and tf.train have its variables and checkpoint helpers"},
)
