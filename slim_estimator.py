"""This project's networks, tasks and datasets as `tf.estimator.Estimator`s.

    import slim_estimator
    from tf_slim_compat import tf

    model = slim_estimator.ImageModel(
        "mobilenet_v1_025", "image_folder", "data",
        max_number_of_steps=1500, optimizer="momentum", learning_rate=0.05,
    )
    tf.estimator.train_and_evaluate(
        model.build_estimator("run"),
        tf.estimator.TrainSpec(model.input_fn("train"), max_steps=1500),
        tf.estimator.EvalSpec(model.input_fn("validation"), steps=None),
    )

trains what train_image_classifier.py trains with the same settings: the variables have
the same names, and the other scripts read the folder.
"""

import dataclasses
import secrets
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import remote_files
from datasets import dataset_factory, dataset_utils, input_pipeline, remote_data
from deployment import settings, tasks, text
from deployment.config_flags import SettingError
from deployment.evaluate import streaming
from deployment.formats import freezing, saved_model
from deployment.model_deploy import DeploymentConfig
from deployment.models import checkpoint, graph_files, run_card
from deployment.models.run_card import RunCard
from deployment.models.spec import ModelSpec
from deployment.optimize import learning_rates, optimizers
from deployment.quantize import networks
from deployment.tasks.base import LossOptions
from deployment.train import gpu, precision_choice, step, warm_start
from deployment.train.config import TrainingConfig
from deployment.train.input_config import InputConfig
from nets import nets_factory
from preprocessing import preprocessing_factory
from tf_slim_compat import slim, tf

_Config = TypeVar("_Config")
_WEIGHT_DECAY = 0.00004
# Settings that only the loop of train_image_classifier.py knows.
_SETTINGS_OF_THE_LOOP = (
    *("time_budget", "head_first", "progressive_sizes", "feature_copies"),
    *("gradient_accumulation_steps", "sync_replicas", "on_bad_numbers", "master"),
)


class ImageModel:
    """A network of this project with its data, for `tf.estimator`.

    Args:
      model_name: a network of `nets_factory`.
      dataset_name: a dataset of `dataset_factory`.
      dataset_dir: folder of the shards.
      split_name: the split to train on.
      task: the task; None for the dataset's own.
      labels_offset: subtracted from the labels.
      image_size: height and width in pixels; None for the network's own.
      preprocessing_name: None for the network's own.
      use_grayscale: whether to convert images to grayscale.
      moving_average_decay: decay of the moving averages of the weights, which are
        evaluated and exported; None for none.
      **options: further flags of train_image_classifier.py without their dashes, such
        as `learning_rate=0.05`.

    Raises:
      ValueError: if an option is unknown, or only train_image_classifier.py has it.
      OSError: if the dataset does not exist.
    """

    def __init__(
        self,
        model_name: str,
        dataset_name: str,
        dataset_dir: str,
        *,
        split_name: str = "train",
        task: str | None = None,
        labels_offset: int = 0,
        image_size: int | None = None,
        preprocessing_name: str | None = None,
        use_grayscale: bool = False,
        moving_average_decay: float | None = None,
        **options: Any,
    ) -> None:
        self._data = (dataset_name, remote_files.get_absolute(dataset_dir), split_name)
        dataset = self._get_dataset(split_name)
        network = nets_factory.get_network(model_name)
        known = dict(options)
        self._inputs = _take(InputConfig, options)
        name = preprocessing_name or network.preprocessing
        spec = ModelSpec(
            task=settings.choose_task(task, getattr(dataset, "task", None)),
            model_name=model_name,
            num_outputs=1,
            labels_offset=labels_offset,
            image_size=image_size or network.default_image_size,
            use_grayscale=use_grayscale,
            preprocessing_name=preprocessing_factory.get_full_name(
                name, self._inputs.augment
            ),
            moving_average_decay=moving_average_decay,
            quantize=options.get("quantize_delay", -1) >= 0,
            quantize_per_channel=options.get("quantize_per_channel", False),
        )
        self._class_names, spec = _describe_outputs(dataset, spec)
        self.config = _take(
            TrainingConfig,
            options,
            train_dir="",
            spec=spec,
            num_samples=dataset.num_samples,
            deployment=DeploymentConfig(
                clone_on_cpu=not tf.config.list_physical_devices("GPU")
            ),
            schedule=_take(learning_rates.Schedule, options),
            optimizer=_take(
                optimizers.OptimizerConfig, options, weight_decay=_WEIGHT_DECAY
            ),
        )
        if self.config.precision == "auto":
            self.config = dataclasses.replace(self.config, precision="float32")
        _check(self.config, options, known)

    def build_estimator(
        self, model_dir: str, config: "tf.estimator.RunConfig | None" = None
    ) -> "tf.estimator.Estimator":
        """Returns the Estimator of a folder, and writes its run card.

        Args:
          model_dir: folder of checkpoints; training resumes from the newest.
          config: None for the defaults. If it has no seed, that of the run card is
            taken, or a random one; if it has no session_config, that of the options.

        Raises:
          ValueError: if the folder belongs to a run with other settings.
        """
        config = config or tf.estimator.RunConfig()
        old = RunCard.load(model_dir)
        seeds = (self.config.seed, config.tf_random_seed, old.seed if old else None)
        seed = next((s for s in seeds if s is not None), None)
        seed = secrets.randbelow(2**31) if seed is None else seed
        session_config = config.session_config or gpu.configure(
            precision_choice.build_session_config(self.config), self.config
        )
        config = config.replace(
            model_dir=model_dir, tf_random_seed=seed, session_config=session_config
        )
        if config.is_chief:
            self._write_card(model_dir, old, seed)
        return tf.estimator.Estimator(self.model_fn, config=config)

    def input_fn(
        self, split_name: str, batch_size: int | None = None
    ) -> Callable[..., tf.data.Dataset]:
        """Returns an input_fn: endless and distorted in training, else one pass.

        In training it continues after the images that the newest checkpoint has seen.

        Args:
          split_name: the split.
          batch_size: images per batch; None for that of training.
        """

        def build(mode: str, config: "tf.estimator.RunConfig") -> tf.data.Dataset:
            is_training = mode == tf.estimator.ModeKeys.TRAIN
            options = self._inputs.list_reading_options()
            if is_training:
                # Another order per worker.
                options["seed"] = (config.tf_random_seed or 0) + config.task_id
                options["start_image"] = self._count_images_seen(config.model_dir)
            dataset = self._get_dataset(split_name)
            if self._inputs.balanced_sampling:
                options["class_counts"] = dataset_utils.count_labels(dataset)
            spec = self.config.spec
            return input_pipeline.build_batches(
                dataset,
                self._get_preprocessing(is_training),
                spec.image_size,
                spec.image_size,
                batch_size or self.config.batch_size,
                is_training=is_training,
                num_preprocessing_threads=self._inputs.num_preprocessing_threads,
                labels_offset=spec.labels_offset,
                **options,
            )

        return build

    def serving_input_receiver_fn(self) -> Any:
        """Returns a receiver of image files, `image_bytes`, string [n]."""
        spec = self.config.spec
        encoded = tf.placeholder(tf.string, [None], "image_bytes")
        prepare = saved_model.define_preparation(
            (spec.image_size, spec.image_size, spec.channels),
            3,
            self._get_preprocessing(is_training=False),
        )
        return tf.estimator.export.TensorServingInputReceiver(
            prepare(encoded), {"image_bytes": encoded}
        )

    def model_fn(
        self,
        features: tf.Tensor,
        labels: tf.Tensor | None,
        mode: str,
        config: "tf.estimator.RunConfig",
    ) -> "tf.estimator.EstimatorSpec":
        """Builds the network for training, evaluation or prediction.

        Args:
          features: images, float32 [n, height, width, channels].
          labels: int64 [n], or float32 [n, num_outputs]; None for prediction.
          mode: of `tf.estimator.ModeKeys`.
          config: its `model_dir` and `tf_random_seed` are used.
        """
        if mode == tf.estimator.ModeKeys.TRAIN:
            return self._build_training(features, labels, config)
        logits, end_points = self._build_network_fn(is_training=False)(features)
        saver = streaming.build_saver(self.config.spec)
        if mode == tf.estimator.ModeKeys.EVAL:
            return self._build_evaluation(labels, logits, saver)
        return self._build_prediction(logits, end_points, saver)

    def _build_training(self, images, labels, run_config):
        config = dataclasses.replace(
            self.config,
            train_dir=run_config.model_dir,
            seed=run_config.tf_random_seed,
            save_summaries_secs=0,
        )
        graph = step.build_training_graph(
            config, self._build_network_fn(is_training=True), lambda: (images, labels)
        )
        newest = checkpoint.find_newest(config.train_dir)
        start = warm_start.Start(newest.step if newest else 0, newest)
        init_fn = start.build_init_fn(config, graph)
        metric = tasks.get_task(config.spec.task).batch_metric
        tf.summary.scalar("learning_rate", graph.learning_rate)
        tf.summary.scalar(f"training_{metric}", graph.batch_metric)
        return tf.estimator.EstimatorSpec(
            tf.estimator.ModeKeys.TRAIN,
            loss=graph.train_op,
            train_op=graph.train_op,
            scaffold=tf.train.Scaffold(
                init_fn=init_fn and (lambda scaffold, session: init_fn(session))
            ),
        )

    def _build_evaluation(self, labels, logits, saver):
        config, spec = self.config, self.config.spec
        task = tasks.get_task(spec.task)
        options = LossOptions(
            regression_loss=config.regression_loss, huber_delta=config.huber_delta
        )
        task.build_loss(task.build_targets(labels, spec), logits, options)
        return tf.estimator.EstimatorSpec(
            tf.estimator.ModeKeys.EVAL,
            loss=tf.losses.get_losses()[-1],
            eval_metric_ops=streaming.build_metrics(task, spec, labels, logits),
            scaffold=tf.train.Scaffold(saver=saver),
        )

    def _build_prediction(self, logits, end_points, saver):
        spec = self.config.spec
        scores = freezing.add_scores(logits, end_points, spec)
        outputs = tasks.get_task(spec.task).build_signature(scores, spec)
        # The other scripts find it in exported models.
        tf.constant(spec.to_json(), name=graph_files.SPEC_NAME)
        signature = tf.estimator.export.PredictOutput(outputs)
        return tf.estimator.EstimatorSpec(
            tf.estimator.ModeKeys.PREDICT,
            predictions={"logits": logits, **outputs},
            export_outputs={"serving_default": signature, "image_bytes": signature},
            scaffold=tf.train.Scaffold(saver=saver),
        )

    def _build_network_fn(self, is_training):
        optimizer = self.config.optimizer
        in_update = optimizers.is_decoupled(optimizer.name)
        network_fn = nets_factory.get_network_fn(
            self.config.spec.model_name,
            num_classes=self.config.spec.num_outputs,
            weight_decay=0.0 if in_update else optimizer.weight_decay,
            is_training=is_training,
            drop_path=self.config.drop_path,
        )
        if is_training:
            return network_fn
        return networks.in_evaluation(network_fn, self.config.spec)

    def _get_dataset(self, split_name):
        dataset_name, dataset_dir, _ = self._data
        folder = remote_data.localize(dataset_dir, split_name)
        return dataset_factory.get_dataset(dataset_name, split_name, folder)

    def _get_preprocessing(self, is_training):
        return preprocessing_factory.get_preprocessing(
            self.config.spec.preprocessing_name,
            is_training=is_training,
            use_grayscale=self.config.spec.use_grayscale,
            augment=self._inputs.augment if is_training else None,
        )

    def _count_images_seen(self, model_dir):
        newest, card = checkpoint.find_newest(model_dir), RunCard.load(model_dir)
        if newest is None or card is None:
            return newest.step * self.config.images_per_step if newest else 0
        return run_card.images_seen(card, newest.step)

    def _write_card(self, model_dir, old, seed):
        dataset_name, dataset_dir, split_name = self._data
        newest = checkpoint.find_newest(model_dir)
        card = dataclasses.replace(
            RunCard.from_spec(self.config.spec.replace(output_names=None)),
            labels_offset=self.config.spec.labels_offset,
            class_names=self._class_names,
            weight_decay=self.config.optimizer.weight_decay,
            dataset_name=dataset_name,
            dataset_dir=dataset_dir,
            dataset_split_name=split_name,
            num_samples=self.config.num_samples,
            data_fingerprint=dataset_utils.fingerprint(self._get_dataset(split_name)),
            seed=seed,
            precision=self.config.precision,
        )
        if old is not None and newest is not None:
            run_card.check_resume(old, card)
            card = run_card.continue_card(old, card)
        first = newest.step if newest else 0
        images_per_step = self.config.images_per_step
        run_card.with_session(card, first, images_per_step).save(model_dir)


def _take(
    config_class: type[_Config], options: dict[str, Any], **values: Any
) -> _Config:
    """Returns a configuration with those options that are its flags, and removes them.

    Args:
      config_class: a dataclass with fields made by `config_flags.setting`.
      options: flag's name -> value.
      **values: further fields.
    """
    for field in dataclasses.fields(config_class):
        name = field.metadata.get("flag") or field.name
        if "help" in field.metadata and name in options:
            value, parse = options.pop(name), field.metadata["parse"]
            is_text = parse is not None and isinstance(value, str)
            values[field.name] = parse(value) if is_text else value
    return config_class(**values)


def _check(config: TrainingConfig, unknown: Mapping, options: Mapping) -> None:
    """Raises ValueError if there are unknown options, or some for the other loop."""
    if unknown:
        configs = (TrainingConfig, learning_rates.Schedule, InputConfig)
        known = {
            field.metadata.get("flag") or field.name
            for config_class in (*configs, optimizers.OptimizerConfig)
            for field in dataclasses.fields(config_class)
            if "help" in field.metadata
        }
        raise ValueError(text.unknown("option", next(iter(unknown)), sorted(known)))
    defaults = {field.name: field.default for field in dataclasses.fields(config)}
    for name in _SETTINGS_OF_THE_LOOP:
        if getattr(config, name) != defaults[name]:
            raise SettingError(
                f"An Estimator has no {{{{{name}}}}}={options.get(name)}: leave it "
                "out, or train with train_image_classifier.py."
            )


def _describe_outputs(
    dataset: slim.dataset.Dataset, spec: ModelSpec
) -> tuple[tuple[str, ...] | None, ModelSpec]:
    """Returns the dataset's class names, and the specification with its outputs."""
    task = tasks.get_task(spec.task)
    count = task.count_outputs(dataset.num_classes, spec.labels_offset)
    summary = getattr(dataset, "label_summary", None)
    if summary is None and task.label_dtype != "int64":
        values = dataset_utils.read_all_labels(dataset)
        summary = task.summarize(values, dataset.num_classes)
    labels = dataset.labels_to_names
    names = tuple(labels[i] for i in sorted(labels)) if labels else None
    return names, spec.replace(
        num_outputs=count,
        output_names=names[spec.labels_offset :] if names else None,
        task_state=task.initial_state(summary or {}, count),
    )
