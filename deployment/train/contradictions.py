"""Settings of a training run that contradict each other."""

import itertools
from collections.abc import Sequence
from typing import Any

from deployment.config_flags import SettingError


def check(config: Any) -> None:
    """Checks a `TrainingConfig`.

    Raises:
      SettingError: if two of its settings contradict each other.
    """
    _check_workers(config)
    if config.head_first is not None:
        _check_head_first(config)
    if config.progressive_sizes:
        _check_progressive_sizes(config)
    if config.feature_copies:
        _check_feature_copies(config)
    if config.quantize_delay >= 0:
        _check_quantization(config)
    elif config.quantize_per_channel or config.quantize_freeze_bn_delay is not None:
        raise SettingError(
            "{{quantize_per_channel}} and {{quantize_freeze_bn_delay}} are for "
            "quantization-aware training: also give {{quantize_delay}}, 0 or more."
        )
    if config.sync_replicas and (
        config.gradient_accumulation_steps > 1 or config.on_bad_numbers == "skip"
    ):
        raise SettingError(
            "Synchronous replicas aggregate gradients themselves: with "
            "{{sync_replicas}} leave {{gradient_accumulation_steps}} at 1 and "
            "{{on_bad_numbers}} at stop, and raise {{replicas_to_aggregate}} "
            "instead."
        )


def _check_feature_copies(config: Any) -> None:
    """Raises SettingError if no layer can be computed once for the whole run."""
    deployment = config.deployment
    reasons = {
        "all layers are trained: give {{trainable_scopes}}": (
            not config.trainable_scopes
        ),
        "batch normalization changes in all layers: set {{freeze_batch_norm}}": (
            not config.freeze_batch_norm
        ),
        "images are mixed anew in every step: leave {{mixup_alpha}} and "
        "{{cutmix_alpha}} at 0": config.mixup_alpha or config.cutmix_alpha,
        "one clone in one process reads them: leave {{num_clones}} at 1, and "
        "{{master}} and TF_CONFIG out": (
            deployment.num_clones > 1 or not config.is_alone
        ),
    }
    for reason, is_so in reasons.items():
        if is_so:
            raise SettingError(
                f"{{{{feature_copies}}}}={config.feature_copies} keeps the features "
                f"of images for the whole run, but {reason}, or set "
                "{{feature_copies}} to 0."
            )


def _check_quantization(config: Any) -> None:
    what = f"{{{{quantize_delay}}}}={config.quantize_delay}"
    if config.precision in ("bfloat16", "float16"):
        raise SettingError(
            f"{what} simulates 8 bits in float32, which {config.precision} has not: "
            "leave {{precision}} out."
        )
    _check_others(config, what, ("feature_copies",))


def _check_head_first(config: Any) -> None:
    if config.head_first.is_time or not config.head_first.value:
        raise SettingError(
            "{{head_first}} must be above 0, in steps (500) or epochs (2epochs), "
            f"but is {config.head_first}."
        )
    if not config.checkpoint_exclude_scopes or config.trainable_scopes:
        raise SettingError(
            "{{head_first}} trains {{checkpoint_exclude_scopes}} first and then "
            "all layers: give these scopes, and leave {{trainable_scopes}} out."
        )


def _check_progressive_sizes(config: Any) -> None:
    sizes = (*config.progressive_sizes, config.spec.image_size)
    listed = ",".join(map(str, config.progressive_sizes))
    what = f"{{{{progressive_sizes}}}}={listed}"
    if sizes[0] < 1 or any(later <= size for size, later in itertools.pairwise(sizes)):
        raise SettingError(
            f"{what} must increase from 1 or more and stay below the image size, "
            f"{config.spec.image_size} pixels, of the end of the run."
        )
    _check_others(config, what, ("head_first", "feature_copies"))


def _check_workers(config: Any) -> None:
    if config.workers is None and config.sync_batch_norm:
        raise SettingError(
            "{{sync_batch_norm}} is for workers that train together by all-reduce: "
            "start them with TF_CONFIG, or leave it out."
        )
    if config.workers is not None and config.time_budget is not None:
        raise SettingError(
            "{{time_budget}} follows the clock of one process, but several train "
            "together (TF_CONFIG): give {{number_of_steps}}."
        )
    if config.workers is not None and config.sync_replicas:
        raise SettingError(
            "{{sync_replicas}} is for parameter servers; workers that train together "
            "by all-reduce are synchronous: leave it out."
        )


def _check_others(config: Any, what: str, names: Sequence[str]) -> None:
    """Raises SettingError if an option is combined with others, or with workers."""
    for name in names:
        if getattr(config, name):
            raise SettingError(
                f"{what} and {{{{{name}}}}} cannot be combined: leave one of them out."
            )
    if not config.is_alone:
        raise SettingError(
            f"{what} is for training in one process, but several train together "
            "(TF_CONFIG, {{master}}): leave it out."
        )
