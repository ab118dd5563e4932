"""Classifies image files by a model of any format."""

import dataclasses
import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from absl import logging

from deployment import formats, tasks, text, user_modules
from deployment.formats.base import FileType
from deployment.models import output_names, run_card
from deployment.models.spec import ModelSpec
from deployment.predict import output, running
from deployment.predict.predictor import CheckpointPredictor, Predictor
from deployment.tasks.base import Task


class Parts(NamedTuple):
    """Functions of the rooms below that classification needs.

    Attributes:
      get_network_fn: `network_lookup.get_network_fn`.
      get_network: `network_lookup.get_network`.
      list_networks: `network_lookup.list_networks`.
      get_preprocessing: `preprocessing_factory.get_preprocessing`.
      build_batches: `file_batches.build_batches`.
      build_encoded_batches: `file_batches.build_encoded_batches`.
      fill_gaps: `file_batches.fill_gaps`.
    """

    get_network_fn: Callable
    get_network: Callable[[str], Any]
    list_networks: Callable[[], Sequence[str]]
    get_preprocessing: Callable
    build_batches: Callable
    build_encoded_batches: Callable
    fill_gaps: Callable


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassifyConfig:
    """A model, and how to run it.

    Attributes:
      model_path: the model as the user gave it, for messages.
      path: the file, folder or checkpoint to open; see `formats.find_file_type`.
      spec: what the flags and the run card say of the model.
      has_card: whether there is a run card.
      labels: label to name, from a file; None without one.
      labels_file: path of that file.
      are_labels_given: whether the user named that file.
      checkpoint: the choice among the checkpoints of a training folder, for messages.
      model_name: network that the user gave; None for the model's own.
      preprocessing_name: preprocessing that the user gave; None for the model's own.
      image_size: in pixels, that the user gave; None for the model's own.
      output_node: node or name of the scores; None for the only one.
      signature: signature of a SavedModel; None chooses.
      trust_model: whether the model may do more than compute.
      ignore_run_card: whether flags override the run card.
      num_top_predictions: most classes or labels of an image.
      batch_size: None chooses it by the number and the size of the images.
      precision: see `running.predict_all`.
      num_preprocessing_threads: number of images decoded in parallel.
    """

    model_path: str
    path: str
    spec: ModelSpec
    has_card: bool
    labels: Mapping[int, str] | None
    labels_file: str
    are_labels_given: bool = False
    checkpoint: str | None = None
    model_name: str | None = None
    preprocessing_name: str | None = None
    image_size: int | None = None
    output_node: str | None = None
    signature: str | None = None
    trust_model: bool = False
    ignore_run_card: bool = False
    num_top_predictions: int = 5
    batch_size: int | None = None
    precision: str = running.AUTO
    num_preprocessing_threads: int = 4


class Classifier:
    """A model that is open. Close it, or use it in a `with` statement.

    Attributes:
      task: the model's task.
    """

    def __init__(self, config: ClassifyConfig, parts: Parts):
        """Opens the model.

        Raises:
          ValueError: if it cannot be opened, or flags are missing or contradict it.
        """
        self._config, self._parts = config, parts
        user_modules.load(config.spec.user_modules)
        self._predictor = _open_predictor(config, parts)
        self.task: Task = tasks.get_task(self._own_spec.task)

    def __enter__(self) -> "Classifier":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Releases the model; it cannot be used afterwards."""
        self._predictor.close()

    @property
    def _own_spec(self) -> ModelSpec:
        return self._predictor.spec or self._config.spec

    def classify(
        self,
        paths: Sequence[str],
        writer: output.Writer,
        on_error: Callable[[str, str], None],
        names: Sequence[str] | None = None,
        num_images: int | None = None,
        show: Callable[[Iterator], Iterator] = iter,
    ) -> int:
        """Writes the predictions of each image; returns how many could be read.

        Args:
          paths: image files.
          writer: gets predictions and failures, in the order of `paths`.
          on_error: called with the name of each unreadable image and the reason.
          names: what files are called in the output; None for their paths.
          num_images: number of images in all, if `paths` are some of them.
          show: called with the iterator over all images; shows the progress.

        Raises:
          ValueError: if scores are not finite.
        """
        config, names, reasons = self._config, names or paths, {}
        num_images = num_images or len(paths)
        complete, count, broken = None, 0, []
        build_batches = functools.partial(
            self._choose_batches(),
            paths,
            config.batch_size or running.choose_batch_size(num_images, self._predictor),
            reasons,
            config.num_preprocessing_threads,
        )
        results = running.predict_all(
            self._predictor, build_batches, len(paths), config.precision
        )
        for index, scores in show(self._parts.fill_gaps(results, len(paths))):
            name = names[index]
            if scores is None:
                reason = reasons.pop(index, "TensorFlow cannot decode it")
                on_error(name, reason)
                writer.write_failure(name, reason)
                continue
            if not np.isfinite(scores).all():
                broken.append(name)
                writer.write_failure(name, "its scores are not finite numbers")
                continue
            if complete is None:
                complete = self._complete_spec(len(scores))
            rows = self.task.interpret(scores, complete, config.num_top_predictions)
            writer.write(name, rows)
            count += 1
        if broken:
            raise ValueError(
                f"{config.model_path!r} returns scores that are not finite numbers for "
                f"{len(broken)} of {len(paths)} images ({text.shorten(broken)}): the "
                "model is damaged, or its training diverged."
            )
        return count

    def _complete_spec(self, num_outputs: int) -> ModelSpec:
        own = self._own_spec
        names = _name_outputs(own, self._config, num_outputs)
        return own.replace(num_outputs=num_outputs, output_names=names)

    def _choose_batches(self) -> Callable:
        """Returns a function of (paths, batch size, ...) that builds the input."""
        if self._predictor.takes_files:
            return self._parts.build_encoded_batches
        height, width = self._choose_image_size()
        name = self._config.preprocessing_name or self._get_own_preprocessing()
        if name is None:
            name = self._recognize_preprocessing()
            logging.warning(
                "%s contains no model specification and has no run card: guessing the "
                "preprocessing %s from the names of its nodes (--preprocessing_name "
                "overrides it), and images of %dx%d pixels from its input.",
                self._config.model_path, name, height, width,
            )  # fmt: skip
        preprocessing_fn = self._parts.get_preprocessing(
            name, use_grayscale=self._predictor.channels == 1
        )
        return functools.partial(
            self._parts.build_batches, preprocessing_fn, height, width
        )

    def _choose_image_size(self) -> list[int]:
        """Returns height and width of the images in pixels.

        Raises:
          ValueError: if they are unknown, or a flag or the run contradicts the model.
        """
        config, spec, predictor = self._config, self._config.spec, self._predictor
        fixed = {size for size in predictor.image_size if size is not None}
        if fixed - {config.image_size or spec.image_size}:
            message = f"{config.model_path!r} takes images of {max(fixed)} pixels, but "
            if config.image_size:
                raise ValueError(
                    f"{message}--image_size is {config.image_size}: leave the flag out."
                )
            # The run card beside the file counts if the file contains nothing else.
            if predictor.spec == spec and not config.ignore_run_card:
                raise ValueError(
                    f"{message}the run was trained with {spec.image_size} (image_size "
                    f"in {run_card.FILE_NAME}): export it again with export_model.py, "
                    "or add --ignore_run_card."
                )
        known = config.image_size, self._own_spec.image_size
        sizes = [known[0] or size or known[1] for size in predictor.image_size]
        if None in sizes:
            raise ValueError(
                "The model's input has a variable image size: give --image_size."
            )
        return sizes

    def _get_own_preprocessing(self) -> str | None:
        """Returns the preprocessing of the model's specification or its run; or None.

        Raises:
          ValueError: if the network that the user gave contradicts the model.
        """
        config, own = self._config, self._own_spec
        if config.model_name and own.model_name not in (None, config.model_name):
            if not config.ignore_run_card:
                raise ValueError(
                    f"--model_name is {config.model_name!r}, but "
                    f"{config.model_path!r} contains {own.model_name!r}: leave the "
                    "flag out, or add --ignore_run_card to override it."
                )
            own = config.spec
        return own.preprocessing_name or config.spec.preprocessing_name

    def _recognize_preprocessing(self) -> str:
        """Returns the preprocessing of the network that the model's nodes belong to."""
        scopes = self._predictor.scopes
        networks = map(self._parts.get_network, self._parts.list_networks())
        names = {n.preprocessing for n in networks if n.scope in scopes}
        if len(names) != 1:
            raise ValueError(
                "The names of the model's nodes do not identify its network "
                f"({', '.join(scopes[:5])}): give --model_name or "
                "--preprocessing_name."
            )
        return names.pop()


def _open_predictor(config: ClassifyConfig, parts: Parts) -> Predictor:
    """Opens the model; its specification, where it has none, is that of its run."""
    file_type, path = formats.find_file_type(config.path)
    spec = config.spec
    if file_type.open_predictor is not None:
        _check_no_checkpoint(config, file_type)
        return file_type.open(
            path,
            config.output_node,
            config.signature,
            spec if config.has_card else None,
            config.trust_model,
        )
    num_names = len(config.labels or ())
    num_outputs = spec.num_outputs or max(num_names - spec.labels_offset, 0)
    spec = spec.replace(num_outputs=num_outputs)
    if not spec.model_name or not spec.num_outputs:
        raise ValueError(
            f"{path!r} is a checkpoint without a run card (run.json), so it needs "
            "--model_name (the network) and --label_path (the names of the outputs)."
        )
    get_network_fn = functools.partial(
        parts.get_network_fn, spec.model_name, is_training=False
    )
    return CheckpointPredictor(path, get_network_fn, spec)


def _check_no_checkpoint(config: ClassifyConfig, file_type: FileType) -> None:
    if config.checkpoint is not None:
        raise ValueError(
            f"--checkpoint={config.checkpoint} chooses among the checkpoints of a "
            f"training folder, but --model_path is a {file_type.name}: leave one "
            "of the two out."
        )


def _name_outputs(
    own: ModelSpec, config: ClassifyConfig, num_outputs: int
) -> tuple[str, ...] | None:
    """Returns the names of the model's outputs; None if they are unknown.

    Args:
      own: the specification that the model contains, or else that of its run.
      config: the model.
      num_outputs: number of scores per image.

    Raises:
      ValueError: if names are not as many as the outputs, or the given labels
        contradict the names that the model or its run card contains.
    """
    path = config.path
    known, source = own.output_names, path
    if own == config.spec:
        source = os.path.join(run_card.find_train_dir(path) or "", run_card.FILE_NAME)
    if known and len(known) != num_outputs:
        if not config.ignore_run_card:
            raise ValueError(
                f"The model has {num_outputs} outputs, but {source} describes one with "
                f"{len(known)}: move the model away from it, or add --ignore_run_card."
            )
        known = None
    if config.labels is None or (known and not config.are_labels_given):
        return known
    file = config.labels_file
    try:
        names = output_names.from_labels(
            config.labels, num_outputs, own.labels_offset, file
        )
    except ValueError as error:
        if config.are_labels_given:
            raise
        logging.warning("%s Classes are numbered instead.", error)
        return None
    if not config.are_labels_given:
        logging.warning("%s contains no names: using those of %s.", path, file)
    elif known and not config.ignore_run_card:
        output_names.check_same(names, known, file, source)
    return names
