"""What is particular to training on GPUs: their precision, XLA, batches sent ahead."""

import os
from collections.abc import Callable, Sequence

from absl import logging

from deployment.config_flags import SettingError
from deployment.model_deploy import DeploymentConfig
from deployment.train import memory
from deployment.train.config import TrainingConfig
from tf_slim_compat import tf

# From here on, GPUs have units for products of float16 matrices.
_FLOAT16_CAPABILITY = (7, 0)
_XLA_ON_CPU = "--tf_xla_cpu_global_jit"


def check(config: TrainingConfig) -> None:
    """Checks that this machine's GPUs can do what a run asks of them.

    Raises:
      ValueError: if they do not compute in its precision, or several processes would
        train in float16. If XLA is of no use here, a warning is logged.
    """
    is_on_gpu = memory.is_on_gpu(config)
    if is_on_gpu and config.precision == "bfloat16":
        raise SettingError(
            "TensorFlow computes in bfloat16 on processors only, but the network is on "
            "a GPU: use {{precision}}=float16 or float32, or set {{clone_on_cpu}}."
        )
    if config.precision == "float16":
        _check_float16(config)
    if config.xla and not is_on_gpu:
        logging.warning("%s", _explain_xla_on_cpu())


def _check_float16(config: TrainingConfig) -> None:
    if not config.is_alone:
        raise SettingError(
            "{{precision}}=float16 scales the loss within one process, but several "
            "train together (TF_CONFIG, {{master}}): use "
            "{{precision}}=float32."
        )
    gpus = tf.config.list_physical_devices("GPU")[: config.deployment.num_clones]
    for gpu in gpus:
        details = tf.config.experimental.get_device_details(gpu)
        capability = details.get("compute_capability", _FLOAT16_CAPABILITY)
        if capability < _FLOAT16_CAPABILITY:
            raise SettingError(
                "{{precision}}=float16 needs GPUs of compute capability "
                f"{_join(_FLOAT16_CAPABILITY)} or more, but "
                f"{details.get('device_name', gpu.name)} has {_join(capability)}: use "
                "{{precision}}=float32."
            )


def _join(capability: Sequence[int]) -> str:
    return ".".join(map(str, capability))


def _explain_xla_on_cpu() -> str:
    if _XLA_ON_CPU in os.environ.get("TF_XLA_FLAGS", ""):
        return "--xla makes convolutions slower on the CPU: compare the speed without."
    return (
        "--xla has no effect on the CPU, where it makes convolutions slower; "
        f"TF_XLA_FLAGS={_XLA_ON_CPU} in the environment has TensorFlow use it anyway."
    )


def configure(session_config: tf.ConfigProto, config: TrainingConfig) -> tf.ConfigProto:
    """Sets XLA in the configuration of sessions, and returns it.

    TensorFlow itself takes the layout of images that suits the GPU: NCHW in float32,
    NHWC in float16 (its layout optimizer).
    """
    if config.xla:
        options = session_config.graph_options.optimizer_options
        options.global_jit_level = tf.OptimizerOptions.GlobalJitLevel.ON_1
    return session_config


def build_batch_source(
    deployment: DeploymentConfig,
    batches: "tf.data.Dataset | tuple[tf.Tensor, tf.Tensor]",
) -> Callable[[str], tuple[tf.Tensor, tf.Tensor]]:
    """Adds an iterator to the graph, to be initialized with the tables.

    Batches for GPUs of this process are sent there while the step before computes.

    Args:
      deployment: where the clones are.
      batches: endless dataset of `(images, labels)`; or a pair of tensors, which are
        a batch already.

    Returns:
      A function that adds the next batch for a clone on a device.
    """
    if isinstance(batches, tuple):
        return lambda device: batches
    sends_ahead = not (deployment.clone_on_cpu or deployment.num_ps_tasks)
    if not sends_ahead:
        iterator = tf.data.make_initializable_iterator(batches)
        tf.add_to_collection(tf.GraphKeys.TABLE_INITIALIZERS, iterator.initializer)
        return lambda device: iterator.get_next()
    from tensorflow.python.data.ops import multi_device_iterator_ops

    devices = [deployment.clone_device(i) for i in range(deployment.num_clones)]
    iterator = multi_device_iterator_ops.MultiDeviceIterator(
        batches, devices, source_device=deployment.inputs_device()
    )
    tf.add_to_collection(tf.GraphKeys.TABLE_INITIALIZERS, iterator.initializer)
    return iterator.get_next
