"""Parses flags; mistakes in them are answered in one sentence that names the remedy.

This module does not import TensorFlow.
"""

import math
import os
import re
import shlex
from collections.abc import Sequence
from typing import Any

from absl import flags

from deployment import text

# Names from Keras, timm, Ultralytics and Hugging Face, and the flags that have their
# meaning here. Of several, the first that the script has is suggested.
_SYNONYMS = {
    "max_number_of_steps": "max_steps steps num_steps train_steps iterations max_iter",
    "max_number_of_epochs": "epochs epoch num_epochs max_epochs num_train_epochs",
    "learning_rate": "lr lr0 base_lr init_lr",
    "batch_size": "batch bs b train_batch_size per_device_train_batch_size",
    "eval_batch_size": "val_batch_size validation_batch_size vbs",
    "model_path": "model model_file weights checkpoint checkpoint_path saved_model",
    "model_name": "model arch architecture net network backbone",
    "source": "data data_dir image_dir images input input_dir folder path",
    "image_file": "source image images input img file path",
    "dataset_dir": "data data_dir data_path dataset output output_dir out out_dir dst",
    "train_dir": "output output_dir model_dir log_dir logdir save_dir project run_dir "
    "job_dir checkpoint_dir experiment out run",
    "output_dir": "output out out_dir save_dir export_dir",
    "output_file": "output out output_graph save out_file",
    "output_graph": "output out output_file",
    "output_path": "output out output_file output_dir",
    "checkpoint_path": "checkpoint ckpt weights pretrained initial_checkpoint resume "
    "restore load train_dir model init_checkpoint checkpoint_dir",
    "input_checkpoint": "checkpoint ckpt weights checkpoint_path",
    "input_graph": "graph graph_path graph_def input",
    "graph_path": "graph graph_file input_graph",
    "formats": "format export_format include",
    "train_image_size": "image_size imgsz img_size input_size size crop_size",
    "eval_image_size": "image_size imgsz img_size input_size size crop_size",
    "image_size": "imgsz img_size input_size size train_image_size eval_image_size",
    "optimizer": "opt optim solver",
    "weight_decay": "wd l2 l2_reg regularization decay",
    "learning_rate_decay_type": "sched scheduler lr_scheduler lr_schedule schedule "
    "lr_scheduler_type",
    "warmup_epochs": "warmup warmup_ratio lr_warmup_epochs",
    "early_stopping_patience": "patience early_stopping patience_epochs",
    "eval_split_name": "val val_split validation validation_split validation_data "
    "eval_split",
    "dataset_split_name": "split split_name eval_split_name train_split",
    "validation_fraction": "validation_split val_split val_fraction test_size split",
    "eval_every": "eval_steps eval_interval validation_freq val_freq",
    "save_interval_secs": "save_steps save_freq save_period checkpoint_every",
    "log_every_n_steps": "logging_steps log_interval log_every print_freq",
    "max_checkpoints_to_keep": "save_total_limit keep max_to_keep",
    "label_smoothing": "smoothing label_smoothing_factor",
    "mixup_alpha": "mixup",
    "cutmix_alpha": "cutmix",
    "augment": "aa augmentation augmentations auto_augment data_augmentation",
    "moving_average_decay": "ema ema_decay model_ema model_ema_decay",
    "clip_gradient_norm": "clip_grad grad_clip clipnorm max_grad_norm clip_norm",
    "gradient_accumulation_steps": "grad_accum_steps accumulate accum_iter",
    "trainable_scopes": "trainable freeze fine_tune finetune train_layers",
    "num_preprocessing_threads": "workers num_workers j threads",
    "num_clones": "gpus num_gpus n_gpus devices",
    "clone_on_cpu": "cpu device no_cuda use_cpu",
    "num_top_predictions": "top_k topk top k num_predictions",
    "label_path": "labels label_file labels_file class_names names",
    "labels": "label_file labels_file csv label_path",
    "on_bad_numbers": "terminate_on_nan nan",
    "class_weights": "class_weight balanced",
    "smoothing": "smooth",
}


def parse(argv: Sequence[str]) -> list[str]:
    """Parses the flags of a script.

    Args:
      argv: the command line, the script's name first.

    Returns:
      The script's name and the arguments that are not flags.

    Raises:
      ValueError: if a flag is unknown, lacks its value, or has a value of another type
        or range, or a number is NaN or infinite.
    """
    try:
        arguments = flags.FLAGS(argv)
    except flags.UnrecognizedFlagError:
        raise ValueError(_explain_unknown(argv)) from None
    except flags.IllegalFlagValueError as error:
        raise ValueError(_explain_value(str(error))) from None
    except flags.Error as error:
        name = str(error).rpartition(" ")[2].strip("-")
        raise ValueError(f"--{name} needs a value: give --{name}=VALUE.") from None
    for name in flags.FLAGS:
        value = flags.FLAGS[name].value
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"--{name} must be a finite number, but is {value}.")
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise ValueError(f"--{name} must be a 64-bit integer, but is {value}.")
    return arguments


def suggest(name: str, known: Sequence[str]) -> list[str]:
    """Returns the flags that an unknown name most likely stands for, the best first.

    Args:
      name: what the user typed, without dashes in front.
      known: the flags of the script.
    """
    name = name.lower().replace("-", "_")
    if name in known:
        return [name]
    synonyms = [
        flag for flag in _SYNONYMS if name in _SYNONYMS[flag].split() and flag in known
    ]
    return synonyms[:1] or text.nearest(name, known)


def format_command(script: str, **changes: Any) -> str:
    """Returns the command line of this process with some flags changed.

    Args:
      script: the script's file name.
      **changes: values of flags that differ; None leaves a flag out.
    """
    parts = [f"--{name}={value}" for name, value in changes.items() if value]
    for name in sorted(list_own_flags()):
        if flags.FLAGS[name].present and name not in changes:
            parts += flags.FLAGS[name].serialize().split("\n")
    return " ".join(["python", script, *map(shlex.quote, parts)])


def _explain_unknown(argv):
    """Returns a sentence on all unknown flags of a command line."""
    program = os.path.basename(argv[0])
    known = list_own_flags()
    # The rest is not parsed: the names of flags without their values, and arguments.
    rest = flags.FLAGS(argv, known_only=True)[1:]
    parts = []
    for argument in rest:
        name, has_value, value = argument.lstrip("-").partition("=")
        if not argument.startswith("-") or not name:
            continue
        hints = [
            f"--{hint}={value}" if has_value and index == 0 else f"--{hint}"
            for index, hint in enumerate(suggest(name, known))
        ]
        end = f"; did you mean {' or '.join(hints)}?" if hints else "."
        parts.append(f"There is no flag --{name}{end}")
    return f"{' '.join(parts)} {program} --help lists all flags."


def list_own_flags() -> list[str]:
    """Returns the names of all flags but those that absl defines."""
    by_module = flags.FLAGS.flags_by_module_dict()
    return [
        flag.name
        for module, found in by_module.items()
        for flag in found
        if not module.startswith("absl.") or flag.name == "verbosity"
    ]


def _explain_value(message):
    """Returns a sentence on a flag's value that absl's parser refuses."""
    match = re.match(r"flag --(\w+)=(.*?): ", message, re.DOTALL)
    if match is None or match[1] not in flags.FLAGS:
        return message
    name, value = match.groups()
    if value.startswith("--"):  # The next flag, taken for the value.
        return f"--{name} needs a value: give --{name}=VALUE before {value}."
    flag = flags.FLAGS[name]
    values = getattr(flag.parser, "enum_values", None)
    if values:
        near = text.nearest(value, values, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        return f"--{name} must be one of {', '.join(values)}, but is {value!r}.{hint}"
    if flag.boolean:
        return f"--{name} must be true or false, but is {value!r}."
    return f"--{name} must be {flag.parser.syntactic_help}, but is {value!r}."
