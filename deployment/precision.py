"""The numeric precision of computations: float32, or bfloat16 where it is faster.

In bfloat16, TensorFlow's graph rewriter has convolutions and matrix products, and what
lies between them, computed with 8 bits of mantissa. Variables, checkpoints, statistics,
softmax, losses and updates stay float32, and no name changes.
"""

from collections.abc import Sequence

from deployment import processor
from deployment.config_flags import SettingError
from tf_slim_compat import tf

PRECISIONS = ("auto", "float32", "bfloat16", "float16")
_REWRITER_ON = 1


def list_candidates() -> Sequence[str]:
    """Returns the precisions that may be the fastest on this processor."""
    if processor.has_bfloat16():
        return "float32", "bfloat16"
    return ("float32",)


def check(precision: str, is_on_cpu: bool) -> None:
    """Raises SettingError if a precision is unknown or of no use on this machine."""
    if precision not in PRECISIONS:
        raise SettingError(
            f"{{{{precision}}}} must be one of {', '.join(PRECISIONS)}, but is "
            f"{precision!r}."
        )
    if precision == "float16" and is_on_cpu:
        raise SettingError(
            "{{precision}} float16 needs a GPU, but the network is on the processor: "
            "use bfloat16, or auto, which takes what is fastest here."
        )


def may_be_bfloat16(precision: str, is_on_cpu: bool) -> bool:
    """Returns whether this precision is, or may turn out to be, bfloat16 on the CPU."""
    return is_on_cpu and precision in ("auto", "bfloat16") and processor.has_bfloat16()


def configure(session_config: tf.ConfigProto, precision: str) -> None:
    """Sets the precision that sessions on the CPU compute in.

    Args:
      session_config: the configuration, changed in place.
      precision: float32 or bfloat16.
    """
    if precision == "bfloat16":
        options = session_config.graph_options.rewrite_options
        options.auto_mixed_precision_onednn_bfloat16 = _REWRITER_ON
