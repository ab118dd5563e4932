"""The text that `--help` prints: the flags of a script by theme.

This module does not import TensorFlow.
"""

import re
import shutil
import textwrap
from collections.abc import Iterable

from absl import flags

# Themes and their flags, over all scripts, in the order in which they are listed.
GROUPS = {
    "Data": (
        "source source_dir labels file_column label_columns dataset_name dataset_dir "
        "dataset_split_name train_split_name image_file image_dir label_path "
        "labels_offset validation_fraction on_bad_image on_bad_record shards workers "
        "overwrite batch_size balanced_sampling num_readers num_preprocessing_threads "
        "cache small_object_area_threshold foreground_class_of_interest"
    ),
    "Model and weights": (
        "model_path model_name task num_classes image_size train_image_size "
        "progressive_sizes eval_image_size use_grayscale preprocessing_name "
        "is_training is_video_model num_frames pretrained pretrained_dir "
        "checkpoint_path checkpoint checkpoint_exclude_scopes ignore_missing_vars "
        "trainable_scopes head_first freeze_batch_norm feature_copies "
        "moving_average_decay input_graph input_binary input_checkpoint input_saver "
        "input_meta_graph input_saved_model_dir saved_model_tags use_moving_averages "
        "initializer_nodes variable_names_whitelist variable_names_blacklist "
        "output_node signature trust_model"
    ),
    "Learning rate": (
        "learning_rate learning_rate_decay_type learning_rate_decay_factor "
        "num_epochs_per_decay num_steps_per_decay end_learning_rate "
        "learning_rate_boundaries learning_rate_values warmup_epochs warmup_steps "
        "warmup_fraction learning_rate_factors layer_decay find_learning_rate"
    ),
    "Optimizer": (
        "optimizer opt_epsilon momentum rmsprop_momentum rmsprop_decay adam_beta1 "
        "adam_beta2 adadelta_rho adagrad_initial_accumulator_value "
        "ftrl_learning_rate_power ftrl_initial_accumulator_value ftrl_l1 ftrl_l2 "
        "lars_trust_coefficient gradient_accumulation_steps clip_gradient_norm "
        "clip_gradient_value"
    ),
    "Loss, regularization and augmentation": (
        "weight_decay decay_all_variables label_smoothing class_weights "
        "regression_loss huber_delta augment mixup_alpha cutmix_alpha "
        "drop_path"
    ),
    "Quantization": (
        "quantize quantize_delay quantize_per_channel quantize_freeze_bn_delay"
    ),
    "Validation and best checkpoints": (
        "eval_split_name validate_on eval_every eval_batch_size eval_num_batches "
        "best_metric "
        "num_best_checkpoints early_stopping_patience early_stopping_min_change "
        "export_best"
    ),
    "Evaluation": (
        "max_num_batches tta soup soup_candidates all_checkpoints metric "
        "eval_interval_secs eval_timeout_secs"
    ),
    "Inspection": (
        "list_networks list_pretrained count statistics values compare_to filters_png "
        "filters_variable secs graph_path node names_file tensorboard_dir "
        "show_augmentation augmentation_png quantization_noise noise_png"
    ),
    "Edits": (
        "from_keras add_background average best last strip_optimizer rename to_v2"
    ),
    "Checkpoints and summaries": (
        "train_dir max_checkpoints_to_keep save_interval_secs save_summaries_secs"
    ),
    "Output": (
        "output_file output_format output_shards num_top_predictions output_dir "
        "formats check_images calibration_images calibration_method output_path "
        "output_graph output_node_names checkpoint_version clear_devices "
        "write_text_graphdef eval_dir predictions_csv gallery gallery_size x metrics "
        "smoothing compare"
    ),
    "Devices and distribution": (
        "num_clones clone_on_cpu distribution worker_timeout sync_batch_norm "
        "worker_replicas num_ps_tasks sync_replicas replicas_to_aggregate master xla "
        "runner runner_options"
    ),
    "Run": (
        "recipe time_budget max_number_of_steps max_number_of_epochs dry_run "
        "log_every_n_steps precision seed deterministic on_bad_numbers "
        "max_skipped_steps ignore_run_card user_module verbosity"
    ),
    "Accepted for old commands": ("restore_op_name filename_tensor_name"),
}
UNGROUPED = "Other flags"
_MOST_COLUMNS = 88


def format_help(usage: str, description: str, module: str) -> str:
    """Returns the help of a script.

    Args:
      usage: how to call it, such as "train_image_classifier.py [--flag=value ...]".
      description: what it does, with examples.
      module: the module whose key flags are listed, as absl names it.
    """
    found = {flag.name: flag for flag in flags.FLAGS.get_key_flags_for_module(module)}
    width = min(shutil.get_terminal_size().columns, _MOST_COLUMNS)
    parts = [f"usage: {usage}", description.strip()]
    for title, names in group_flags(found).items():
        lines = (_describe_flag(found[name], width) for name in names)
        parts.append("\n".join([f"{title}:", *lines]))
    parts.append("--helpfull also lists the flags of absl, such as --flagfile.")
    return "\n\n".join(parts)


def group_flags(names: Iterable[str]) -> dict[str, list[str]]:
    """Returns theme -> flags, both in the order of `GROUPS`; no theme is empty."""
    rest = set(names)
    groups = {}
    for title, members in GROUPS.items():
        groups[title] = [name for name in members.split() if name in rest]
        rest.difference_update(groups[title])
    groups[UNGROUPED] = sorted(rest)
    return {title: members for title, members in groups.items() if members}


def _describe_flag(flag: flags.Flag, width: int) -> str:
    """Returns the lines of one flag: its value, meaning and default."""
    # absl adds the choices in front and, on a line of its own, that flags may repeat.
    text = re.sub(r"^<.*?>: |;\n.*$", "", flag.help)
    if flag.default not in (None, "", []):
        default = flag.default_as_str.strip("'")
        text += f" (default: {default})"
    value = "" if flag.boolean else f"={_describe_value(flag)}"
    name = f"[no]{flag.name}" if flag.boolean else flag.name
    body = textwrap.wrap(
        text, width - 6, break_on_hyphens=False, break_long_words=False
    )
    return "\n".join([f"  --{name}{value}", *(f"      {line}" for line in body)])


def _describe_value(flag: flags.Flag) -> str:
    """Returns what stands for the value of a flag: its choices or its type."""
    if isinstance(flag.parser, flags.EnumParser):
        return "|".join(flag.parser.enum_values)
    if isinstance(flag, flags.MultiFlag):
        return "TEXT"
    if isinstance(flag.parser, flags.ListParser):
        return "A,B,..."
    types = {"int": "INTEGER", "int or auto": "INTEGER|auto", "float": "NUMBER"}
    return types.get(flag.flag_type(), "TEXT")
