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

The same command again goes on from the newest checkpoint in --train_dir. Ctrl-C
saves one and ends.
"""

import functools

from absl import flags

from datasets import dataset_factory, input_pipeline
from deployment import entry, learning_rates, model_deploy, optimizers, training
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

# Optimisation.
flags.DEFINE_float("weight_decay", 0.00004, "Weight of the L2 loss on the weights.")
flags.DEFINE_string(
    "optimizer", "rmsprop", f"One of {', '.join(sorted(optimizers.OPTIMIZERS))}."
)
flags.DEFINE_float("adadelta_rho", 0.95, "Decay rate of adadelta.")
flags.DEFINE_float(
    "adagrad_initial_accumulator_value", 0.1, "Start of adagrad's accumulators."
)
flags.DEFINE_float("adam_beta1", 0.9, "Decay of adam's first moments.")
flags.DEFINE_float("adam_beta2", 0.999, "Decay of adam's second moments.")
flags.DEFINE_float(
    "opt_epsilon",
    None,
    "The term that keeps divisions finite. Unset: 1.0 for rmsprop and adadelta, "
    "1e-8 for adam.",
)
flags.DEFINE_float("ftrl_learning_rate_power", -0.5, "Learning rate power of ftrl.")
flags.DEFINE_float(
    "ftrl_initial_accumulator_value", 0.1, "Start of ftrl's accumulators."
)
flags.DEFINE_float("ftrl_l1", 0.0, "L1 strength of ftrl.")
flags.DEFINE_float("ftrl_l2", 0.0, "L2 strength of ftrl.")
flags.DEFINE_float("momentum", 0.9, "Momentum of the momentum optimizer.")
flags.DEFINE_float("rmsprop_momentum", 0.9, "Momentum of rmsprop.")
flags.DEFINE_float("rmsprop_decay", 0.9, "Decay of rmsprop's mean squares.")
flags.DEFINE_integer(
    "quantize_delay",
    -1,
    "Steps before training imitates 8-bit arithmetic; only -1 (never) is built yet.",
)

# The learning rate.
flags.DEFINE_string(
    "learning_rate_decay_type",
    "exponential",
    f"One of {', '.join(learning_rates.DECAY_TYPES)}.",
)
flags.DEFINE_float("learning_rate", 0.01, "Learning rate at the start.")
flags.DEFINE_float("end_learning_rate", 0.0001, "Where the polynomial decay ends.")
flags.DEFINE_float(
    "label_smoothing", 0.0, "Share of the target spread evenly over the classes."
)
flags.DEFINE_float(
    "learning_rate_decay_factor", 0.94, "Factor of each exponential decay."
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
    "ignore_missing_vars",
    False,
    "Whether variables that the checkpoint does not hold are initialised afresh.",
)

FLAGS = flags.FLAGS


def config_from_flags(dataset):
    """The training configuration that the flags ask for."""
    return training.TrainingConfig(
        train_dir=FLAGS.train_dir,
        num_classes=dataset.num_classes - FLAGS.labels_offset,
        num_samples=dataset.num_samples,
        batch_size=FLAGS.batch_size,
        number_of_steps=FLAGS.max_number_of_steps,
        deployment=model_deploy.choose_deployment(
            num_clones=FLAGS.num_clones,
            clone_on_cpu=FLAGS.clone_on_cpu,
            replica_id=FLAGS.task,
            num_replicas=FLAGS.worker_replicas,
            num_ps_tasks=FLAGS.num_ps_tasks,
        ),
        schedule=learning_rates.Schedule(
            decay_type=FLAGS.learning_rate_decay_type,
            initial=FLAGS.learning_rate,
            end=FLAGS.end_learning_rate,
            decay_factor=FLAGS.learning_rate_decay_factor,
            epochs_per_decay=FLAGS.num_epochs_per_decay,
            warmup_epochs=FLAGS.warmup_epochs,
        ),
        optimizer=optimizers.OptimizerConfig(
            name=FLAGS.optimizer,
            adadelta_rho=FLAGS.adadelta_rho,
            adagrad_initial_accumulator_value=FLAGS.adagrad_initial_accumulator_value,
            adam_beta1=FLAGS.adam_beta1,
            adam_beta2=FLAGS.adam_beta2,
            opt_epsilon=FLAGS.opt_epsilon,
            ftrl_learning_rate_power=FLAGS.ftrl_learning_rate_power,
            ftrl_initial_accumulator_value=FLAGS.ftrl_initial_accumulator_value,
            ftrl_l1=FLAGS.ftrl_l1,
            ftrl_l2=FLAGS.ftrl_l2,
            momentum=FLAGS.momentum,
            rmsprop_momentum=FLAGS.rmsprop_momentum,
            rmsprop_decay=FLAGS.rmsprop_decay,
        ),
        label_smoothing=FLAGS.label_smoothing,
        moving_average_decay=FLAGS.moving_average_decay,
        sync_replicas=FLAGS.sync_replicas,
        replicas_to_aggregate=FLAGS.replicas_to_aggregate,
        quantize_delay=FLAGS.quantize_delay,
        master=FLAGS.master,
        checkpoint_path=FLAGS.checkpoint_path,
        checkpoint_exclude_scopes=FLAGS.checkpoint_exclude_scopes,
        ignore_missing_vars=FLAGS.ignore_missing_vars,
        trainable_scopes=FLAGS.trainable_scopes,
        log_every_n_steps=FLAGS.log_every_n_steps,
        save_summaries_secs=FLAGS.save_summaries_secs,
        save_interval_secs=FLAGS.save_interval_secs,
    )


def main(_):
    dataset = dataset_factory.get_dataset(
        FLAGS.dataset_name, FLAGS.dataset_split_name, FLAGS.dataset_dir
    )
    config = config_from_flags(dataset)
    network_fn = nets_factory.get_network_fn(
        FLAGS.model_name,
        num_classes=config.num_classes,
        weight_decay=FLAGS.weight_decay,
        is_training=True,
    )
    preprocessing_fn = preprocessing_factory.get_preprocessing(
        FLAGS.preprocessing_name
        or nets_factory.get_network(FLAGS.model_name).preprocessing,
        is_training=True,
        use_grayscale=FLAGS.use_grayscale,
    )
    image_size = FLAGS.train_image_size or network_fn.default_image_size
    build_batches = functools.partial(
        input_pipeline.build_batches,
        dataset,
        preprocessing_fn,
        image_size,
        image_size,
        FLAGS.batch_size,
        is_training=True,
        num_readers=FLAGS.num_readers,
        num_preprocessing_threads=FLAGS.num_preprocessing_threads,
        labels_offset=FLAGS.labels_offset,
    )
    with input_pipeline.naming_broken_files(dataset):
        training.train(config, network_fn, build_batches)


if __name__ == "__main__":
    entry.run(main)
