"""Trains layers on features that the frozen layers below them computed once.

    trunk = Trunk(config, checkpoint, network_fn, build_batches)
    network_fn, build_batches = trunk.replace(config)

Where only the layers above some point are trained, what they read is computed once per
image, or for several differently distorted copies of it, and kept on disk. The training
graph is the usual one, except that no step runs the layers below, so checkpoints are
the usual ones of the whole network.
"""

import dataclasses
import hashlib
import os
import types
from collections.abc import Callable
from typing import Any

import numpy as np
from absl import logging

from deployment import files, text
from deployment.config_flags import SettingError
from deployment.evaluate.evaluation import EvaluationConfig
from deployment.models import restoring
from deployment.models.checkpoint import Checkpoint
from deployment.train import feature_batches, feature_cut, feature_extraction
from deployment.train.config import TrainingConfig
from deployment.train.feature_store import FeatureStore
from tf_slim_compat import slim, tf

# Of the copies' distortions. Not the run's, so that runs share their features.
_SEED = 0
_ROWS_PER_CHUNK = 8 * feature_cut.BATCH_SIZE


class Trunk:
    """The layers that are not trained, with what they compute for every image.

    Args:
      config: the configuration of the run, with `feature_copies`.
      checkpoint: that which the run resumes; None for that of its warm start.
      network_fn: see `training.train`.
      build_batches: see `training.train`.
      data: identifies the training data; None if unknown.

    Raises:
      ValueError: if there is no checkpoint.
    """

    def __init__(
        self,
        config: TrainingConfig,
        checkpoint: Checkpoint | None,
        network_fn: Callable[..., Any],
        build_batches: Callable[..., "tf.data.Dataset"],
        data: str | None = None,
    ):
        if checkpoint is None and not config.checkpoint_path:
            raise SettingError(
                "{{feature_copies}} keeps what the layers below {{trainable_scopes}} "
                "compute, but here they would be random: give a trained network with "
                "{{checkpoint_path}}, or set {{feature_copies}} to 0."
            )
        self._checkpoint = checkpoint or Checkpoint(config.checkpoint_path)
        self._is_own = checkpoint is not None
        self._data = data
        self._config = config
        self._network_fn = network_fn
        self._build_batches = build_batches
        self._changing = frozenset()

    def build_trial(self, config: TrainingConfig) -> types.SimpleNamespace:
        """Adds the computation of a batch's features to the default graph.

        Returns:
          An object whose `train_op` computes them, for `precision_choice.choose`.
        """
        source = self._find_training_source(config)
        images, _ = feature_extraction.read_first(source)
        network = feature_extraction.build_network(
            source, tf.random_uniform(images.shape)
        )
        return types.SimpleNamespace(train_op=network.features)

    def replace(
        self, config: TrainingConfig
    ) -> tuple[Callable[..., Any], Callable[..., "tf.data.Dataset"]]:
        """Computes the features of the training images, unless they are cached.

        Args:
          config: the configuration of the run, with its precision.

        Returns:
          `(network_fn, build_batches)` that train on the features in the usual graph.

        Raises:
          ValueError: if no layer can be computed once, or the disk is too small.
          OSError: if the features cannot be written.
        """
        source = self._find_training_source(config)
        network_fn, rows, self._changing = self._prepare(source, "training")

        def build_batches(seed, start_image, batch_size=config.batch_size):
            return feature_batches.build_stream(
                *rows,
                _count_images(config),
                batch_size=batch_size,
                seed=seed,
                start_image=start_image,
            )

        return network_fn, build_batches

    def replace_in_evaluation(
        self,
        config: EvaluationConfig,
        network_fn: Callable[..., Any],
        build_batches: Callable[[], "tf.data.Dataset"],
    ) -> tuple[Callable[..., Any], Callable[[], "tf.data.Dataset"]]:
        """Does for an evaluation what `replace`, which comes first, does for training.

        Args:
          config: the configuration of the evaluation.
          network_fn: see `evaluation.Evaluator`.
          build_batches: see `evaluation.Evaluator`.

        Returns:
          `(network_fn, build_batches)`; those given if the number of images is unknown.
        """
        if config.num_images is None:
            return network_fn, build_batches
        most = (config.max_num_batches or config.num_images) * config.batch_size
        is_reduced = config.precision in ("bfloat16", "float16")

        def read_from(start_image):
            return feature_extraction.read_batches(
                lambda: build_batches().repeat(), start_image
            )

        source = feature_extraction.Source(
            dataclasses.replace(
                self._config,
                precision=config.precision if is_reduced else "float32",
            ),
            network_fn,
            read_from,
            min(config.num_images, most),
            self._changing,
        )
        network_fn, rows, _ = self._prepare(source, "validation")

        def build_rows():
            return feature_batches.build_pass(*rows, config.batch_size)

        return network_fn, build_rows

    def _find_training_source(self, config):
        def read_from(start_image):
            return feature_extraction.read_batches(
                lambda: self._build_batches(seed=_SEED, start_image=start_image)
            )

        num_rows = _count_images(config) * config.feature_copies
        return feature_extraction.Source(config, self._network_fn, read_from, num_rows)

    def _prepare(self, source, what):
        """Computes features, unless they are cached.

        Returns:
          `(network_fn, rows, changing)`: the network as a function of the features,
          features and labels of all images, and the names of the variables that
          training changes.
        """
        first = feature_extraction.read_first(source)
        with tf.Graph().as_default() as graph:
            # Initial values are never used, but deterministic sessions want a seed.
            tf.set_random_seed(0)
            shape = first[0].shape
            network = feature_extraction.build_network(
                source, tf.placeholder(tf.float32, shape)
            )
            restore_fn = self._build_restore_fn(source.config, network.cut)
        name = self._compute_fingerprint(source, network.cut, first)
        store = FeatureStore(
            os.path.join(files.get_cache_folder(), "features", name),
            source.num_rows,
            _ROWS_PER_CHUNK,
            network.cut.num_values,
            first[1].dtype,
            first[1].shape[1:],
        )
        with store.held():
            count = store.recover()
            logging.info(
                "Features for %s: %s, %d values each, %s, in %r%s.",
                what,
                text.format_count(source.num_rows, "image"),
                network.cut.num_values,
                text.format_bytes(store.num_bytes),
                store.folder,
                "" if count < source.num_rows else ", as computed before",
            )
            if count < source.num_rows:
                store.check_space(count)
                with feature_extraction.open_session(graph, source.config) as session:
                    restore_fn(session)
                    feature_extraction.extract(session, network, source, store, count)
        network_fn = feature_extraction.cut_network(
            source.network_fn, network.cut, shape[1:]
        )
        return network_fn, store.open(), network.changing

    def _build_restore_fn(self, config, cut):
        """Returns what restores the layers below the cut, all of them."""
        scopes = restoring.split_scopes(config.checkpoint_exclude_scopes)
        excluded = []
        if not self._is_own and scopes:
            excluded = restoring.get_variables_in_scopes(
                slim.get_model_variables(), scopes, "--checkpoint_exclude_scopes"
            )
        names = {variable.op.name for variable in cut.trunk}
        random = [v.op.name for v in excluded if v.op.name in names]
        if random:
            raise SettingError(
                f"{{{{checkpoint_exclude_scopes}}}} leaves {text.shorten(random)} "
                "random, which are not trained either: add them to "
                "{{trainable_scopes}}, or set {{feature_copies}} to 0."
            )
        fitted = restoring.fit(self._checkpoint, list(cut.trunk))
        restoring.check_fit(
            fitted, "Cached features need all layers that are not trained from there."
        )
        return restoring.build_restore_fn(fitted)

    def _compute_fingerprint(self, source, cut, first):
        """Returns a text that changes with whatever the features depend on."""
        hashed = hashlib.sha256()
        facts = {
            "tensorflow": tf.version.VERSION,
            "model": source.config.spec.model_name,
            "precision": source.config.precision,
            "cut": cut.taps,
            "data": self._data,
            "images": [source.num_rows, source.changing is None],
        }
        hashed.update(files.to_json(facts).encode())
        # Covers the preprocessing, its options and the size of the images.
        for part in first:
            hashed.update(np.ascontiguousarray(part))
        for variable in cut.trunk:
            hashed.update(variable.op.name.encode())
            hashed.update(np.ascontiguousarray(self._checkpoint.read(variable.op.name)))
        return hashed.hexdigest()[:32]


def _count_images(config):
    """Returns the images per epoch; a rehearsal makes do with some."""
    if config.is_rehearsal:
        return min(config.num_samples, _ROWS_PER_CHUNK)
    return config.num_samples
