"""The precisions that inference can compute in on this machine."""

import functools

from tf_slim_compat import tf

FLOAT32, BFLOAT16 = "float32", "bfloat16"
AUTO = "auto"
CHOICES = (AUTO, FLOAT32, BFLOAT16)
_FLAGS = {"amx_bf16", "avx512_bf16"}  # As Linux names the instructions.


@functools.cache
def candidates() -> tuple[str, ...]:
    """Returns what the processor has instructions for, float32 first."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            words = set(file.read().split())
    except OSError:
        words = set()
    return (FLOAT32, BFLOAT16) if words & _FLAGS else (FLOAT32,)


def configure(config: tf.ConfigProto, precision: str) -> None:
    """Sets the precision of a session's convolutions and matrix products."""
    if precision == BFLOAT16:
        options = config.graph_options.rewrite_options
        options.auto_mixed_precision_onednn_bfloat16 = 1  # ON
