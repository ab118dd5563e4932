r"""Trains an image classifier, or goes on training one.

From a folder that convert_dataset.py wrote:

  python train_image_classifier.py --train_dir=run --dataset_name=image_folder \
      --dataset_dir=data --model_name=mobilenet_v1_025 --max_number_of_steps=1500

Fine-tuning, only the last layers of a public checkpoint:

  python train_image_classifier.py --train_dir=run --dataset_name=image_folder \
      --dataset_dir=data --model_name=inception_v3 \
      --checkpoint_path=inception_v3.ckpt \
      --checkpoint_exclude_scopes=InceptionV3/Logits,InceptionV3/AuxLogits \
      --trainable_scopes=InceptionV3/Logits,InceptionV3/AuxLogits

Validated after every epoch, the best kept, stopped when it gets no better:

  python train_image_classifier.py --train_dir=run ... \
      --eval_split_name=validation --early_stopping_patience=5

The same command again goes on where the last one ended, however it ended. Ctrl-C
saves a checkpoint and ends. What the run was is in --train_dir/run.json.
"""

import dataclasses
import functools
import os
import platform
from importlib import metadata

from absl import flags

from datasets import dataset_factory, dataset_utils, input_pipeline
from deployment import durations, entry, model_deploy
from deployment.evaluate import evaluation
from deployment.formats import model_export
from deployment.models import run_card
from deployment.optimize import learning_rates, optimizers
from deployment.train import dry_run, training, validation
from nets import nets_factory
from preprocessing import preprocessing_factory

# Where, and on what machines.
flags.DEFINE_string("master", "", "Address of the TensorFlow server; '': this process.")
flags.DEFINE_string(
    "train_dir",
    "/tmp/tfmodel/",
    "Folder of checkpoints and summaries; training goes on from what is there.",
)
flags.DEFINE_integer(
    "num_clones", 1, "Copies of the network, one to a GPU, each with its own batch."
)
flags.DEFINE_boolean(
    "clone_on_cpu", None, "Whether clones run on the CPU. Unset: if there is no GPU."
)
flags.DEFINE_integer("worker_replicas", 1, "Workers that train together.")
flags.DEFINE_integer(
    "num_ps_tasks", 0, "Parameter servers; 0 keeps the variables on the worker."
)
flags.DEFINE_integer("num_readers", 4, "Files that are read at the same time.")
flags.DEFINE_integer(
    "num_preprocessing_threads", 4, "Images that are decoded at the same time."
)
flags.DEFINE_integer("task", 0, "Number of this worker; 0 is the chief, which saves.")
flags.DEFINE_integer(
    "log_every_n_steps", 10, "How often a line of progress is printed, in steps."
)
flags.DEFINE_integer(
    "save_summaries_secs",
    600,
    "How often summaries are written, in seconds; 0: never. They are spaced out "
    "where they would take more than 5 % of the time.",
)
flags.DEFINE_integer(
    "save_interval_secs", 600, "How often a checkpoint is saved, in seconds."
)
flags.DEFINE_integer(
    "max_checkpoints_to_keep", 5, "The newest checkpoints that are kept; 0: all."
)
flags.DEFINE_boolean(
    "dry_run",
    False,
    "Tries everything in three steps, a save and a restore, and says how long the "
    "run would take, and how much memory and disk it needs.",
)
flags.DEFINE_integer(
    "seed", None, "What all chance is drawn from. Unset: drawn, and kept in run.json."
)
flags.DEFINE_boolean(
    "deterministic",
    False,
    "Whether two runs with one --seed give the same bits; slower.",
)

entry.define_ignore_run_card()

# Validation while training.
flags.DEFINE_string(
    "eval_split_name", None, "The split to validate on. Unset: no validation."
)
flags.DEFINE_string(
    "eval_every",
    "1epoch",
    "How often to validate: steps (500), epochs (2epochs) or time (10mins).",
)
flags.DEFINE_integer("eval_batch_size", 100, "Images in a batch of the validation.")
flags.DEFINE_integer(
    "eval_num_batches", None, "Batches to validate on. Unset: the whole split."
)
flags.DEFINE_string(
    "best_metric", "accuracy", "What tells the best: accuracy, loss or top_5."
)
flags.DEFINE_integer(
    "num_best_checkpoints", 1, "The best checkpoints, kept in --train_dir/best."
)
flags.DEFINE_boolean(
    "export_best",
    False,
    "Whether each new best is exported, frozen and as a SavedModel, to "
    "--train_dir/export/best.",
)
flags.DEFINE_integer(
    "early_stopping_patience",
    0,
    "Stops after so many validations without a better one; 0: never.",
)
flags.DEFINE_float(
    "early_stopping_min_change", 0.0, "By how much a better one must be better."
)

# Optimisation.
flags.DEFINE_float(
    "weight_decay",
    0.00004,
    "Weight of the L2 loss on the weights. adamw, lamb and lars shrink the weights "
    "themselves instead; adamw wants 0.01 to 0.1.",
)
flags.DEFINE_string(
    "optimizer", "rmsprop", f"One of {', '.join(sorted(optimizers.OPTIMIZERS))}."
)
flags.DEFINE_float("adadelta_rho", 0.95, "Decay rate of adadelta.")
flags.DEFINE_float(
    "adagrad_initial_accumulator_value", 0.1, "Start of adagrad's accumulators."
)
flags.DEFINE_float("adam_beta1", 0.9, "Decay of first moments (adam, adamw, lamb).")
flags.DEFINE_float("adam_beta2", 0.999, "Decay of second moments (adam, adamw, lamb).")
flags.DEFINE_float(
    "opt_epsilon",
    None,
    "The term that keeps divisions finite. Unset: 1.0 for rmsprop and adadelta, "
    "1e-8 for adam and adamw, 1e-6 for lamb, 0 for lars.",
)
flags.DEFINE_float("ftrl_learning_rate_power", -0.5, "Learning rate power of ftrl.")
flags.DEFINE_float(
    "ftrl_initial_accumulator_value", 0.1, "Start of ftrl's accumulators."
)
flags.DEFINE_float("ftrl_l1", 0.0, "L1 strength of ftrl.")
flags.DEFINE_float("ftrl_l2", 0.0, "L2 strength of ftrl.")
flags.DEFINE_float("momentum", 0.9, "Momentum of momentum and lars.")
flags.DEFINE_float("rmsprop_momentum", 0.9, "Momentum of rmsprop.")
flags.DEFINE_float("rmsprop_decay", 0.9, "Decay of rmsprop's mean squares.")
flags.DEFINE_integer(
    "quantize_delay",
    -1,
    "Steps before training imitates 8-bit arithmetic; only -1 (never) is built yet.",
)

flags.DEFINE_float(
    "lars_trust_coefficient",
    0.001,
    "Relative change of a layer that a learning rate of 1 allows in a step of lars.",
)
flags.DEFINE_boolean(
    "decay_all_variables",
    False,
    "Whether adamw, lamb and lars apply --weight_decay to biases and batch "
    "normalization as well.",
)
flags.DEFINE_float(
    "clip_gradient_norm", None, "The largest norm of all gradients together."
)
flags.DEFINE_float("clip_gradient_value", None, "The largest value in a gradient.")
flags.DEFINE_integer(
    "gradient_accumulation_steps", 1, "Batches whose gradients make one step."
)
flags.DEFINE_enum(
    "on_bad_numbers",
    "stop",
    ["stop", "skip"],
    "What to do where a loss or gradient is not finite: stop, or skip the update.",
)
flags.DEFINE_integer("max_skipped_steps", 10, "Updates that may be skipped.")
flags.DEFINE_float("mixup_alpha", 0.0, "Strength of mixup, such as 0.2; 0: none.")
flags.DEFINE_float("cutmix_alpha", 0.0, "Strength of cutmix, such as 1.0; 0: none.")
flags.DEFINE_enum(
    "class_weights",
    "none",
    ["none", "balanced"],
    "balanced: rare classes weigh more in the loss.",
)
flags.DEFINE_boolean(
    "balanced_sampling", False, "Whether images of rare classes are shown as often."
)

# The learning rate.
flags.DEFINE_string(
    "learning_rate_decay_type",
    "exponential",
    f"One of {', '.join(learning_rates.DECAY_TYPES)}.",
)
flags.DEFINE_float("learning_rate", 0.01, "Learning rate at the start.")
flags.DEFINE_float(
    "end_learning_rate",
    None,
    "Where the polynomial and the cosine decay end. Unset: 0.0001 and 0.",
)
flags.DEFINE_float(
    "label_smoothing", 0.0, "Share of the target spread evenly over the classes."
)
flags.DEFINE_float(
    "learning_rate_decay_factor",
    None,
    "Factor of each exponential or piecewise decay. Unset: 0.94 and 0.1.",
)
flags.DEFINE_float(
    "num_epochs_per_decay",
    2.0,
    "Epochs from one decay to the next. Each clone counts its own epochs; "
    "synchronous replicas share them.",
)
flags.DEFINE_float(
    "warmup_epochs", 0, "Epochs in which the learning rate rises from 0."
)
flags.DEFINE_integer(
    "warmup_steps", None, "The same in steps, instead of --warmup_epochs."
)
flags.DEFINE_integer(
    "num_steps_per_decay", None, "Steps from one decay to the next, not epochs."
)
flags.DEFINE_string(
    "learning_rate_boundaries",
    None,
    "Where the piecewise decay changes, such as 30epochs,60epochs or 5000,8000.",
)
flags.DEFINE_list(
    "learning_rate_values",
    None,
    "The piecewise rates, one more than boundaries. Unset: --learning_rate times "
    "--learning_rate_decay_factor at each boundary.",
)
flags.DEFINE_string(
    "learning_rate_factors",
    None,
    "Factors of the learning rate by scope, such as InceptionV3/Logits:10,"
    "InceptionV3/Conv2d:0.1.",
)
flags.DEFINE_boolean("sync_replicas", False, "Whether workers step together.")
flags.DEFINE_integer(
    "replicas_to_aggregate", 1, "Gradients that make one step with --sync_replicas."
)
flags.DEFINE_float(
    "moving_average_decay",
    None,
    "Decay of the weights' moving averages. Unset: none are kept.",
)

# The data.
flags.DEFINE_string(
    "dataset_name", "imagenet", "A dataset; image_folder is convert_dataset.py's."
)
flags.DEFINE_string("dataset_split_name", "train", "The split to train on.")
flags.DEFINE_string("dataset_dir", None, "Folder of the dataset's TFRecord files.")
flags.DEFINE_integer(
    "labels_offset",
    0,
    "Subtracted from the labels: 1 for networks without a background class on "
    "datasets with one (VGG and ResNet on ImageNet).",
)
flags.DEFINE_string("model_name", "inception_v3", "The network to train.")
flags.DEFINE_string(
    "preprocessing_name", None, "The preprocessing. Unset: the network's own."
)
flags.DEFINE_integer("batch_size", 32, "Images in each clone's batch.")
flags.DEFINE_integer(
    "train_image_size", None, "Image size in pixels. Unset: the network's own."
)
flags.DEFINE_integer(
    "max_number_of_steps", None, "The step to stop at. Unset: train until stopped."
)
flags.DEFINE_float(
    "max_number_of_epochs", None, "The same in epochs, instead of steps."
)
flags.DEFINE_boolean("use_grayscale", False, "Whether to convert images to grey.")

# Fine-tuning.
flags.DEFINE_string(
    "checkpoint_path", None, "A checkpoint, or a folder of them, to start from."
)
flags.DEFINE_string(
    "checkpoint_exclude_scopes",
    None,
    "Comma-separated scopes of variables not to restore from it.",
)
flags.DEFINE_string(
    "trainable_scopes", None, "Comma-separated scopes to train. Unset: all."
)
flags.DEFINE_boolean(
    "freeze_batch_norm",
    True,
    "Whether batch normalization outside --trainable_scopes keeps and uses its moving "
    "statistics. The predecessor's went on to move: --nofreeze_batch_norm.",
)
flags.DEFINE_boolean(
    "ignore_missing_vars",
    False,
    "Whether variables that the checkpoint does not hold are initialised afresh.",
)

FLAGS = flags.FLAGS
# The packages whose versions a run card names.
_VERSIONED = ("tensorflow", "tf-slim", "numpy")


def _from_flags(config_class, **values):
    """A configuration: the values given, and the flags of the other fields' names."""
    for field in dataclasses.fields(config_class):
        if field.name not in values and field.name in FLAGS:
            values[field.name] = FLAGS[field.name].value
    return config_class(**values)


def config_from_flags(dataset):
    """The training configuration that the flags ask for."""
    config = _from_flags(
        training.TrainingConfig,
        num_classes=dataset.num_classes - FLAGS.labels_offset,
        num_samples=dataset.num_samples,
        number_of_steps=FLAGS.max_number_of_steps,
        deployment=model_deploy.choose_deployment(
            num_clones=FLAGS.num_clones,
            clone_on_cpu=FLAGS.clone_on_cpu,
            replica_id=FLAGS.task,
            num_replicas=FLAGS.worker_replicas,
            num_ps_tasks=FLAGS.num_ps_tasks,
        ),
        schedule=_schedule_from_flags(),
        optimizer=_from_flags(
            optimizers.OptimizerConfig,
            name=FLAGS.optimizer,
            learning_rate_factors=optimizers.parse_learning_rate_factors(
                FLAGS.learning_rate_factors
            ),
        ),
        validation=_validation_from_flags(),
        class_weights=None,
    )
    if FLAGS.class_weights == "balanced":
        counts = dataset_utils.count_labels(dataset)[FLAGS.labels_offset :]
        weights = dataset_utils.compute_class_weights(counts)
        config = dataclasses.replace(config, class_weights=tuple(weights))
    if FLAGS.max_number_of_epochs is None:
        return config
    if FLAGS.max_number_of_steps is not None:
        raise ValueError(
            "Give --max_number_of_steps or --max_number_of_epochs, not both."
        )
    length = durations.Duration(FLAGS.max_number_of_epochs, "epochs")
    steps = length.to_steps(config.steps_per_epoch)
    return dataclasses.replace(config, number_of_steps=steps)


def _schedule_from_flags():
    values = FLAGS.learning_rate_values
    return _from_flags(
        learning_rates.Schedule,
        decay_type=FLAGS.learning_rate_decay_type,
        initial=FLAGS.learning_rate,
        end=FLAGS.end_learning_rate,
        decay_factor=FLAGS.learning_rate_decay_factor,
        epochs_per_decay=FLAGS.num_epochs_per_decay,
        warmup_steps=FLAGS.warmup_steps or 0,
        steps_per_decay=FLAGS.num_steps_per_decay,
        boundaries=durations.parse_durations(
            FLAGS.learning_rate_boundaries, "--learning_rate_boundaries"
        ),
        values=tuple(map(float, values or ())),
    )


def _validation_from_flags():
    if not FLAGS.eval_split_name:
        for name in ("export_best", "early_stopping_patience"):
            if FLAGS[name].value:
                raise ValueError(
                    f"--{name} goes by what validation finds: give the split to "
                    "validate on with --eval_split_name."
                )
        return None
    return _from_flags(
        validation.ValidationConfig,
        split_name=FLAGS.eval_split_name,
        every=durations.parse_duration(FLAGS.eval_every, "--eval_every"),
        patience=FLAGS.early_stopping_patience,
        min_change=FLAGS.early_stopping_min_change,
    )


def card_from_flags(dataset, config):
    """What is to be known of the run afterwards."""
    network = nets_factory.get_network(FLAGS.model_name)
    names = dataset.labels_to_names
    return _from_flags(
        run_card.RunCard,
        num_classes=config.num_classes,
        class_names=tuple(names[i] for i in sorted(names)) if names else None,
        image_size=FLAGS.train_image_size or network.default_image_size,
        preprocessing_name=FLAGS.preprocessing_name or network.preprocessing,
        dataset_dir=os.path.abspath(FLAGS.dataset_dir),
        num_samples=dataset.num_samples,
        data_fingerprint=dataset_utils.fingerprint(dataset),
        flags=FLAGS.flag_values_dict(),
        versions={
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in _VERSIONED},
        },
    )


def network_from_flags(config, is_training):
    """The network as a function of images."""
    in_update = optimizers.is_decoupled(config.optimizer.name)
    return nets_factory.get_network_fn(
        FLAGS.model_name,
        num_classes=config.num_classes,
        # Such an optimizer decays the weights itself, not through the loss.
        weight_decay=0.0 if in_update else FLAGS.weight_decay,
        is_training=is_training,
    )


def batches_from_flags(dataset, card, is_training, **options):
    """The input pipeline as a function, which adds it to a graph."""
    return functools.partial(
        input_pipeline.build_batches,
        dataset,
        preprocessing_factory.get_preprocessing(
            card.preprocessing_name,
            is_training=is_training,
            use_grayscale=card.use_grayscale,
        ),
        card.image_size,
        card.image_size,
        is_training=is_training,
        num_preprocessing_threads=FLAGS.num_preprocessing_threads,
        labels_offset=card.labels_offset,
        **options,
    )


def training_batches(dataset, card):
    """What the network is trained on."""
    counts = dataset_utils.count_labels(dataset) if FLAGS.balanced_sampling else None
    return batches_from_flags(
        dataset,
        card,
        is_training=True,
        batch_size=FLAGS.batch_size,
        num_readers=FLAGS.num_readers,
        class_counts=counts,
    )


def evaluator_fn(config, card):
    """Builds what validates while training; None where that is not wanted."""
    if config.validation is None:
        return None
    dataset = dataset_factory.get_dataset(
        FLAGS.dataset_name, FLAGS.eval_split_name, FLAGS.dataset_dir
    )
    return functools.partial(
        evaluation.Evaluator,
        evaluation.EvaluationConfig(
            checkpoint_path=config.train_dir,
            eval_dir=None,
            num_classes=config.num_classes,
            num_images=dataset.num_samples,
            batch_size=FLAGS.eval_batch_size,
            max_num_batches=FLAGS.eval_num_batches,
            moving_average_decay=config.moving_average_decay,
            show_progress=False,
        ),
        network_from_flags(config, is_training=False),
        batches_from_flags(
            dataset, card, is_training=False, batch_size=FLAGS.eval_batch_size
        ),
    )


def exporter_fn(config, card):
    """Exports a checkpoint to the folder of the best; None where not wanted."""
    if not FLAGS.export_best:
        return None
    return functools.partial(
        model_export.export_checkpoint,
        model_export.ExportConfig(
            network_fn=network_from_flags(config, is_training=False),
            preprocessing_fn=preprocessing_factory.get_preprocessing(
                card.preprocessing_name,
                is_training=False,
                use_grayscale=card.use_grayscale,
            ),
            image_size=card.image_size,
            use_grayscale=card.use_grayscale,
            class_names=card.output_names,
            moving_average_decay=config.moving_average_decay,
        ),
        output_dir=os.path.join(config.train_dir, "export", "best"),
    )


def main(_):
    dataset = dataset_factory.get_dataset(
        FLAGS.dataset_name, FLAGS.dataset_split_name, FLAGS.dataset_dir
    )
    config = config_from_flags(dataset)
    card = card_from_flags(dataset, config)
    run = dry_run.dry_run if FLAGS.dry_run else training.train
    with input_pipeline.naming_broken_files(dataset):
        run(
            config,
            network_from_flags(config, is_training=True),
            training_batches(dataset, card),
            card=card,
            ignore_card=FLAGS.ignore_run_card,
            build_evaluator=evaluator_fn(config, card),
            on_new_best=exporter_fn(config, card),
        )


if __name__ == "__main__":
    entry.run(main)
