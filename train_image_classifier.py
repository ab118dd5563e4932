r"""Trains an image classifier, or resumes training.

From a folder that convert_dataset.py wrote:

  python train_image_classifier.py --train_dir=run --dataset_name=image_folder \
      --dataset_dir=data --model_name=mobilenet_v1_025 --max_number_of_steps=1500

Fine-tuning the last layers of a public checkpoint:

  python train_image_classifier.py --train_dir=run --dataset_name=image_folder \
      --dataset_dir=data --model_name=inception_v3 \
      --checkpoint_path=inception_v3.ckpt \
      --checkpoint_exclude_scopes=InceptionV3/Logits,InceptionV3/AuxLogits \
      --trainable_scopes=InceptionV3/Logits,InceptionV3/AuxLogits

Add --eval_split_name=validation to validate after every epoch and keep the best
checkpoint, and --early_stopping_patience=5 to stop early. Run the same command again
to resume, however the last run ended. Ctrl-C saves a checkpoint and ends.
--train_dir/run.json describes the run.
"""

import dataclasses
import functools
import os
from collections.abc import Callable, Sequence
from typing import Any

from absl import flags

import remote_files
from datasets import dataset_lookup, dataset_utils, downloads, input_pipeline
from deployment import (
    cluster,
    config_flags,
    durations,
    entry,
    flag_errors,
    recipes,
    remote,
    settings,
    tasks,
    user_modules,
    versions,
)
from deployment.cluster import ClusterConfig
from deployment.config_flags import from_flags
from deployment.evaluate import evaluation
from deployment.formats import exporting, freezing
from deployment.models.run_card import RunCard
from deployment.models.spec import ModelSpec
from deployment.optimize import learning_rates, optimizers
from deployment.tasks.base import Task
from deployment.train import advice, batch_size, modes, pretrained
from deployment.train.config import TrainingConfig, ValidationConfig
from deployment.train.input_config import InputConfig
from deployment.train.warm_start import OtherVariablesError
from nets import network_lookup, published
from preprocessing import preprocessing_factory
from tf_slim_compat import slim

# The model and its data.
flags.DEFINE_string("model_name", "inception_v3", "Network to train.")
flags.DEFINE_multi_string(
    "task",
    [],
    "What the labels mean: classification (one class per image), multilabel (any "
    "number of labels per image) or regression (numbers); if unset, the dataset's. A "
    "number is, as in TF-Slim, the index of this worker; 0 is the chief, which saves "
    "checkpoints. Both may be given.",
)
flags.DEFINE_string(
    "train_dir",
    "/tmp/tfmodel/",
    "Folder of checkpoints and summaries; training resumes from its newest checkpoint.",
)
flags.DEFINE_string(
    "dataset_name", "imagenet", "Dataset; image_folder is convert_dataset.py's output."
)
flags.DEFINE_string("dataset_split_name", "train", "Split to train on.")
flags.DEFINE_string("dataset_dir", None, "Folder of the dataset's TFRecord files.")
flags.DEFINE_integer(
    "labels_offset",
    0,
    "Subtracted from the labels: 1 for networks without a background class (VGG and "
    "ResNet) on datasets with one (ImageNet).",
)
flags.DEFINE_string(
    "preprocessing_name", None, "Preprocessing. If unset, the network's own."
)
flags.DEFINE_integer(
    "train_image_size",
    None,
    "Image size in pixels. If unset, the network's own.",
    lower_bound=1,
)
flags.DEFINE_float(
    "moving_average_decay",
    None,
    "Decay of the moving averages of the weights, such as 0.999. If unset, there are "
    "none.",
    lower_bound=0,
    upper_bound=0.999999,
)
flags.DEFINE_boolean("use_grayscale", False, "Whether to convert images to grayscale.")
flags.DEFINE_enum(
    "class_weights",
    "none",
    ["none", "balanced"],
    "Weights of the classes in the loss; balanced gives rare classes (or labels) "
    "larger ones.",
)
flags.DEFINE_float(
    "max_number_of_epochs",
    None,
    "Stop after this many epochs (instead of --max_number_of_steps).",
)

# Validation during training.
flags.DEFINE_string(
    "eval_split_name", None, "Split to validate on. If unset, there is no validation."
)
for config_class in (
    TrainingConfig, ValidationConfig, InputConfig, learning_rates.Schedule,
    ClusterConfig, modes.Mode, pretrained.PretrainedConfig,
):  # fmt: skip
    config_flags.define_flags(config_class, __name__)
config_flags.define_flags(optimizers.OptimizerConfig, __name__, weight_decay=0.00004)
recipes.define_flag(__name__)
entry.define_user_module(__name__)
entry.define_ignore_run_card(__name__)

FLAGS = flags.FLAGS


def spec_from_flags(dataset: slim.dataset.Dataset) -> ModelSpec:
    """Returns the specification of the model to train."""
    wanted, found = tasks.split_flag(FLAGS.task)[0], getattr(dataset, "task", None)
    task = tasks.get_task(settings.choose_task(wanted, found))
    network = network_lookup.get_network(FLAGS.model_name)
    num_outputs = task.count_outputs(dataset.num_classes, FLAGS.labels_offset)
    return ModelSpec(
        task=task.name,
        model_name=FLAGS.model_name,
        num_outputs=num_outputs,
        labels_offset=FLAGS.labels_offset,
        image_size=FLAGS.train_image_size or network.default_image_size,
        use_grayscale=FLAGS.use_grayscale,
        preprocessing_name=preprocessing_factory.get_full_name(
            FLAGS.preprocessing_name or network.preprocessing, FLAGS.augment
        ),
        moving_average_decay=FLAGS.moving_average_decay,
        quantize=FLAGS.quantize_delay >= 0,
        quantize_per_channel=FLAGS.quantize_per_channel,
        task_state=task.initial_state(summarize_labels(dataset, task), num_outputs),
        user_modules=user_modules.load(FLAGS.user_module),
    )


def summarize_labels(dataset: slim.dataset.Dataset, task: Task) -> dict[str, list]:
    """Returns the task's summary of the training labels; reads them if need be."""
    summary = getattr(dataset, "label_summary", None)
    if summary is not None or task.label_dtype == "int64":
        return summary or {}
    values = dataset_utils.read_all_labels(dataset)
    return task.summarize(values, dataset.num_classes)


def config_from_flags(
    dataset: slim.dataset.Dataset, task: cluster.Task | None = None
) -> TrainingConfig:
    """Returns the training configuration, once the processes of `task` are there."""
    spec = spec_from_flags(dataset)
    schedule = from_flags(learning_rates.Schedule, FLAGS)
    optimizer = from_flags(optimizers.OptimizerConfig, FLAGS)
    validation = validation_from_flags()
    placement = from_flags(ClusterConfig, FLAGS).join(
        tasks.split_flag(FLAGS.task)[1], FLAGS.master, task, FLAGS.sync_replicas
    )
    config = from_flags(
        TrainingConfig,
        FLAGS,
        train_dir=FLAGS.train_dir,
        spec=spec,
        num_samples=dataset.num_samples,
        deployment=placement.deployment,
        master=placement.master,
        workers=placement.workers,
        schedule=schedule,
        optimizer=optimizer,
        validation=validation,
        class_weights=compute_class_weights(dataset, spec),
    )
    network_fn = build_network_fn(spec, is_training=True)
    config = batch_size.settle(config, network_fn, train_batches_fn(dataset, config))
    steps = durations.choose_steps(
        FLAGS.max_number_of_steps, FLAGS.max_number_of_epochs, config.steps_per_epoch
    )
    return dataclasses.replace(config, number_of_steps=steps)


def validation_from_flags() -> ValidationConfig | None:
    """Returns how to validate during training; None if not."""
    if FLAGS.eval_split_name:
        return from_flags(ValidationConfig, FLAGS, split_name=FLAGS.eval_split_name)
    for name in ("export_best", "early_stopping_patience", "best_metric", "eval_every"):
        if FLAGS[name].present and FLAGS[name].value:
            raise ValueError(
                f"--{name} depends on validation: give the split to validate on with "
                "--eval_split_name."
            )
    return None


def compute_class_weights(
    dataset: slim.dataset.Dataset, spec: ModelSpec
) -> tuple[float, ...] | None:
    """Returns the weight of each output in the loss; None for equal weights."""
    if FLAGS.class_weights == "none":
        return None
    task = tasks.get_task(spec.task)
    if task.label_dtype == "int64":
        counts = dataset_utils.count_labels(dataset)[spec.labels_offset :]
        return task.balance({"class_counts": counts}, dataset.num_samples)
    return task.balance(summarize_labels(dataset, task), dataset.num_samples)


def card_from_flags(dataset: slim.dataset.Dataset, config: TrainingConfig) -> RunCard:
    """Returns the run card at the start of training."""
    names = dataset.labels_to_names
    return dataclasses.replace(
        RunCard.from_spec(config.spec),
        labels_offset=config.spec.labels_offset,
        class_names=tuple(names[i] for i in sorted(names)) if names else None,
        weight_decay=FLAGS.weight_decay,
        dataset_name=FLAGS.dataset_name,
        dataset_dir=remote_files.get_absolute(FLAGS.dataset_dir),
        dataset_split_name=FLAGS.dataset_split_name,
        eval_split_name=FLAGS.eval_split_name,
        num_samples=dataset.num_samples,
        data_fingerprint=dataset_utils.fingerprint(dataset),
        seed=config.seed,
        deterministic=config.deterministic,
        flags=remote.describe_flags(FLAGS),
        versions=versions.list_versions(),
    )


def build_network_fn(spec: ModelSpec, is_training: bool) -> Callable:
    """Returns the network as a function of images."""
    in_update = optimizers.is_decoupled(FLAGS.optimizer)
    return network_lookup.get_network_fn(
        spec.model_name,
        num_classes=spec.num_outputs,
        # Such an optimizer decays the weights itself, not through the loss.
        weight_decay=0.0 if in_update else FLAGS.weight_decay,
        is_training=is_training,
        drop_path=FLAGS.drop_path,
    )


def batches_fn(
    dataset: slim.dataset.Dataset, spec: ModelSpec, is_training: bool,
    is_distorting: bool = True, **options: Any
) -> Callable:  # fmt: skip
    """Returns the input pipeline as a function that adds it to a graph."""
    return functools.partial(
        input_pipeline.build_batches,
        dataset,
        preprocessing_factory.get_preprocessing(
            spec.preprocessing_name,
            is_training=is_training and is_distorting,
            use_grayscale=spec.use_grayscale,
            augment=FLAGS.augment if is_training else None,
        ),
        image_height=spec.image_size,
        image_width=spec.image_size,
        is_training=is_training,
        num_preprocessing_threads=FLAGS.num_preprocessing_threads,
        labels_offset=spec.labels_offset,
        **options,
    )


def train_batches_fn(dataset: slim.dataset.Dataset, config: TrainingConfig) -> Callable:
    """Returns the input pipeline of training."""
    options = from_flags(InputConfig, FLAGS)
    counts = dataset_utils.count_labels(dataset) if options.balanced_sampling else None
    return batches_fn(
        dataset,
        config.spec,
        is_training=True,
        is_distorting=config.feature_copies != 1,
        batch_size=config.batch_size,
        class_counts=counts,
        part=config.part,
        **options.list_reading_options(FLAGS.master),
    )


def evaluator_fn(config: TrainingConfig) -> Callable | None:
    """Returns what builds the evaluator of the validation; None if there is none."""
    if config.validation is None:
        return None
    dataset = dataset_lookup.get_dataset(
        FLAGS.dataset_name, FLAGS.eval_split_name, FLAGS.dataset_dir
    )
    return functools.partial(
        evaluation.Evaluator,
        evaluation.EvaluationConfig(
            checkpoint_path=config.train_dir,
            eval_dir=None,
            spec=config.spec,
            num_images=dataset.num_samples,
            batch_size=config.validation.eval_batch_size,
            show_progress=False,
        ),
        build_network_fn(config.spec, is_training=False),
        batches_fn(
            dataset,
            config.spec,
            is_training=False,
            batch_size=config.validation.eval_batch_size,
            part=config.part,
            most_images=config.validation.num_images,
        ),
    )


def exporter_fn(config: TrainingConfig, card: RunCard) -> Callable | None:
    """Returns what exports a new best checkpoint; None if that is not wanted."""
    if config.validation is None or not config.validation.export_best:
        return None

    def export(checkpoint_path: str, spec: ModelSpec) -> str:
        return exporting.export_checkpoint(
            freezing.ExportConfig(
                network_fn=build_network_fn(spec, is_training=False),
                preprocessing_fn=preprocessing_factory.get_preprocessing(
                    spec.preprocessing_name, use_grayscale=spec.use_grayscale
                ),
                spec=spec.replace(output_names=card.output_names),
            ),
            checkpoint_path,
            output_dir=os.path.join(config.train_dir, "export", "best"),
        )

    return export


def suggest_new_run() -> str:
    """Returns the command that trains on from the weights of the run."""
    command = flag_errors.format_command(
        "train_image_classifier.py",
        train_dir=os.path.join(FLAGS.train_dir, "all"),
        checkpoint_path=FLAGS.train_dir,
        checkpoint_exclude_scopes=None,
    )
    return f"To train on from its weights, start a new run:\n  {command}"


def main(_: Sequence[str]) -> None:
    task = cluster.read_task(os.environ)
    if task is not None and task.is_parameter_server:
        cluster.serve(task, from_flags(ClusterConfig, FLAGS).worker_timeout.value)
        return
    dataset = dataset_lookup.get_dataset(
        FLAGS.dataset_name, FLAGS.dataset_split_name, FLAGS.dataset_dir
    )
    pretrained.settle(FLAGS, dataset.num_classes, downloads, published)
    command = recipes.apply(FLAGS, dataset, dataset_lookup.get_dataset, network_lookup)
    config = config_from_flags(dataset, task)
    advice.log_warnings(config)
    card = card_from_flags(dataset, config)
    card = dataclasses.replace(card, command=remote_files.to_urls(command))
    is_evaluator = task is not None and task.is_evaluator
    run = from_flags(modes.Mode, FLAGS).get_function(is_evaluator)
    try:
        with input_pipeline.naming_broken_files(dataset):
            run(
                config,
                build_network_fn(config.spec, is_training=True),
                train_batches_fn(dataset, config),
                card=card,
                ignore_card=FLAGS.ignore_run_card,
                build_evaluator=evaluator_fn(config),
                on_new_best=exporter_fn(config, card),
            )
    except OtherVariablesError as error:
        raise ValueError(f"{error} {suggest_new_run()}") from error


if __name__ == "__main__":
    entry.run(main)
