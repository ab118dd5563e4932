r"""Evaluates a trained model on every image of a split.

  python eval_image_classifier.py --checkpoint_path=run
  python eval_image_classifier.py --checkpoint_path=run --checkpoint=latest

Of a training folder, it evaluates the best checkpoint if the run kept one, else the
newest. Settings come from the run card, run.json in the training folder. For a
checkpoint without one, give those that it was trained with:

  python eval_image_classifier.py --checkpoint_path=model.ckpt --eval_dir=eval \
      --dataset_name=image_folder --dataset_dir=data \
      --dataset_split_name=validation --model_name=mobilenet_v1_025

Prints the metrics of the model's task, for classification per-class precision, recall
and F1, the confusion matrix, the accuracy and the mean loss. Writes the same to
--eval_dir, for TensorBoard and as eval.json. --predictions_csv lists all images,
--gallery shows the largest mistakes.

--tta=flip averages the predictions of each image and its mirror image, in twice the
time; its results are in --eval_dir=run/eval_flip.

To compare all checkpoints of a run, or to follow a run while it trains:

  python eval_image_classifier.py --checkpoint_path=run --all_checkpoints
  python eval_image_classifier.py --checkpoint_path=run --eval_interval_secs=60

To average those checkpoints of one or several runs that make the average better:

  python eval_image_classifier.py --checkpoint_path=run --soup=soup/model.ckpt \
      --soup_candidates=run,run2/best
"""

import functools
import os
from collections.abc import Sequence

from absl import flags, logging

from datasets import dataset_lookup, input_pipeline, record_reader
from deployment import cluster, config_flags, entry, settings, tasks
from deployment.evaluate import evaluation_runs
from deployment.evaluate.evaluation import EvaluationConfig
from deployment.evaluate.evaluation_reports import Records
from deployment.evaluate.run_config import RunConfig
from deployment.models import run_card
from deployment.models.run_card import RunCard
from deployment.models.spec import ModelSpec
from nets import network_lookup
from preprocessing import preprocessing_factory
from tf_slim_compat import slim

config_flags.define_flags(EvaluationConfig, __name__)
config_flags.define_flags(RunConfig, __name__)
flags.DEFINE_string(
    "checkpoint_path",
    "/tmp/tfmodel/",
    "A checkpoint, or a training folder; see --checkpoint.",
)
settings.define_checkpoint(__name__)
flags.DEFINE_string(
    "eval_dir",
    "/tmp/tfmodel/",
    "Folder for summaries, eval.json, tables and charts; '': none. If unset and there "
    "is a run card: eval in the training folder, or eval_flip with --tta=flip.",
)
flags.DEFINE_integer(
    "num_preprocessing_threads",
    4,
    "Number of images to decode in parallel.",
    lower_bound=1,
)
flags.DEFINE_string(
    "dataset_name", "imagenet", "The dataset; image_folder for convert_dataset.py's."
)
flags.DEFINE_string(
    "dataset_split_name",
    "test",
    "The split to evaluate. If unset and there is a run card: the split that training "
    "evaluated, or validation.",
)
flags.DEFINE_string("dataset_dir", None, "Folder of the dataset's TFRecord files.")
flags.DEFINE_integer(
    "labels_offset", 0, "Number subtracted from all labels, as in training."
)
flags.DEFINE_string("model_name", "inception_v3", "The network to evaluate.")
flags.DEFINE_string(
    "preprocessing_name", None, "The preprocessing. If unset: the network's own."
)
flags.DEFINE_float(
    "moving_average_decay",
    None,
    "Decay of the weights' moving averages in training. If set, the moving averages "
    "are evaluated.",
)
flags.DEFINE_integer(
    "eval_image_size",
    None,
    "Image size in pixels. If unset: the network's own.",
    lower_bound=1,
)
flags.DEFINE_boolean(
    "quantize", False, "Whether the network was trained with --quantize_delay."
)
flags.DEFINE_boolean(
    "quantize_per_channel",
    False,
    "Whether each output channel of the weights has its own range, with --quantize.",
)
flags.DEFINE_boolean("use_grayscale", False, "Whether to convert images to grayscale.")
entry.define_user_module(__name__)
entry.define_ignore_run_card(__name__)

FLAGS = flags.FLAGS


def find_card() -> RunCard | None:
    """Returns the checkpoint's run card; waits for it when following a run."""
    if FLAGS.eval_interval_secs is not None:
        evaluation_runs.wait_for_start(
            FLAGS.checkpoint_path,
            FLAGS.eval_interval_secs,
            FLAGS.eval_timeout_secs or None,
        )
    return run_card.find(FLAGS.checkpoint_path)


def choose_checkpoint() -> str:
    """Returns the checkpoint to evaluate, or the folder to follow or to compare.

    Raises:
      ValueError: if there is none, or --checkpoint chooses one of several to evaluate.
    """
    for name in ("eval_interval_secs", "all_checkpoints", "soup"):
        if FLAGS[name].value not in (None, False, ""):
            if FLAGS.checkpoint is not None:
                raise ValueError(
                    f"--checkpoint={FLAGS.checkpoint} chooses one checkpoint, but "
                    f"--{name} evaluates several: leave one of the two out."
                )
            return FLAGS.checkpoint_path
    return settings.choose_checkpoint(FLAGS, "Evaluating")


def get_dataset(card: RunCard | None) -> tuple[slim.dataset.Dataset, str]:
    """Returns the dataset of the split to evaluate, and the split's name."""
    if card is None or FLAGS["dataset_split_name"].present:
        split_name = FLAGS.dataset_split_name
    else:
        split_name = card.eval_split_name or "validation"
    data = settings.read_data(FLAGS, card)
    dataset = dataset_lookup.get_dataset(
        data.dataset_name, split_name, data.dataset_dir
    )
    return dataset, split_name


def complete_spec(
    spec: ModelSpec, card: RunCard | None, dataset: slim.dataset.Dataset
) -> ModelSpec:
    """Returns the specification with the task, outputs and names of the dataset.

    Raises:
      ValueError: if dataset and run card contradict each other.
    """
    task_name = getattr(dataset, "task", None) or spec.task
    if card is not None and task_name != spec.task:
        raise ValueError(
            f"The dataset is for task {task_name}, but the run was trained for "
            f"{spec.task}: give the --dataset_dir of data for {spec.task}."
        )
    task = tasks.get_task(task_name)
    return spec.replace(
        task=task_name,
        num_outputs=task.count_outputs(dataset.num_classes, spec.labels_offset),
        output_names=name_outputs(card, dataset, spec.labels_offset),
    )


def name_outputs(
    card: RunCard | None, dataset: slim.dataset.Dataset, labels_offset: int
) -> tuple[str, ...]:
    """Returns the names of the network's outputs, in order.

    Raises:
      ValueError: if the dataset's names are not those of the run card.
    """
    names = dataset.labels_to_names or {}
    trained = dict(enumerate(card.class_names or ())) if card else {}
    if names and trained and not FLAGS.ignore_run_card:
        for label in sorted({*names, *trained}):
            here, there = names.get(label), trained.get(label)
            if here != there:
                raise ValueError(
                    f"The dataset has other labels than the run: label {label} is "
                    f"{here!r}, but was {there!r} in training. Give the --dataset_dir "
                    "of matching data, or add --ignore_run_card."
                )
    return tuple(
        (names or trained).get(label, f"class {label}")
        for label in range(labels_offset, dataset.num_classes)
    )


def config_from_flags(
    checkpoint_path: str,
    card: RunCard | None,
    spec: ModelSpec,
    dataset: slim.dataset.Dataset,
    split_name: str,
) -> RunConfig:
    """Returns the configuration that the flags and the run card give."""
    if FLAGS["batch_size"].present and FLAGS.batch_size > dataset.num_samples:
        logging.warning(
            "--batch_size=%d is larger than the split %s: its %d images are one batch.",
            FLAGS.batch_size, split_name, dataset.num_samples,
        )  # fmt: skip
    eval_dir = FLAGS.eval_dir
    if card is not None and not FLAGS["eval_dir"].present:
        # Metrics with views do not replace those without.
        name = "eval" if FLAGS.tta == "none" else f"eval_{FLAGS.tta}"
        eval_dir = os.path.join(run_card.find_train_dir(FLAGS.checkpoint_path), name)
    evaluation = config_flags.from_flags(
        EvaluationConfig,
        FLAGS,
        checkpoint_path=checkpoint_path,
        eval_dir=eval_dir,
        spec=spec,
        num_images=dataset.num_samples,
    )
    return config_flags.from_flags(
        RunConfig, FLAGS, evaluation=evaluation, split_name=split_name
    )


def main(_: Sequence[str]) -> None:
    cluster.wait_for_servers(FLAGS.master)
    card = find_card()
    checkpoint_path = choose_checkpoint()
    spec = settings.read_spec(FLAGS, card, network_lookup.get_network)
    dataset, split_name = get_dataset(card)
    spec = complete_spec(spec, card, dataset)
    config = config_from_flags(checkpoint_path, card, spec, dataset, split_name)
    network_fn = network_lookup.get_network_fn(
        spec.model_name, spec.num_outputs, is_training=False
    )
    preprocessing_fn = preprocessing_factory.get_preprocessing(
        spec.preprocessing_name, is_training=False, use_grayscale=spec.use_grayscale
    )
    build_batches = functools.partial(
        input_pipeline.build_batches,
        dataset,
        preprocessing_fn,
        spec.image_size,
        spec.image_size,
        FLAGS.batch_size,
        is_training=False,
        num_preprocessing_threads=FLAGS.num_preprocessing_threads,
        labels_offset=spec.labels_offset,
    )
    records = Records(
        functools.partial(record_reader.read_file_names, dataset),
        functools.partial(record_reader.read_images, dataset),
    )
    with input_pipeline.naming_broken_files(dataset):
        evaluation_runs.run(config, network_fn, build_batches, records)


if __name__ == "__main__":
    entry.run(main)
