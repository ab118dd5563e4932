"""Computes features: what a network gives at a cut, for many images, on disk."""

import contextlib
import dataclasses
import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tqdm
from absl import logging

from deployment import text
from deployment.config_flags import SettingError
from deployment.train import feature_cut, gpu, layer_modes, precision_choice, step
from deployment.train.config import TrainingConfig
from deployment.train.feature_store import FeatureStore
from tf_slim_compat import tf

_PREFETCHED_BATCHES = 2
# A scope of its own gives the network the same names in every graph.
_SCOPE = "network"

Batch = tuple[np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Source:
    """Images, and the network that computes their features.

    Attributes:
      config: the configuration of the run, with the precision of the features.
      network_fn: the network.
      read_from: generates batches of BATCH_SIZE images and labels, from one image on.
      num_rows: the number of images.
      changing: the names of the variables that training changes; None for training,
        where the graph tells.
    """

    config: TrainingConfig
    network_fn: Callable[..., Any]
    read_from: Callable[[int], Iterator[Batch]]
    num_rows: int
    changing: frozenset[str] | None = None


@dataclasses.dataclass(frozen=True)
class Network:
    """A graph that computes features.

    Attributes:
      images: its input.
      features: its output, float32 [BATCH_SIZE, values].
      cut: where the network is cut.
      changing: the names of the variables that training changes.
    """

    images: tf.Tensor
    features: tf.Tensor
    cut: feature_cut.Cut
    changing: frozenset[str]


def read_first(source: Source) -> Batch:
    """Returns the first batch of images and labels."""
    with contextlib.closing(source.read_from(0)) as batches:
        return next(batches)


def read_batches(
    build_batches: Callable[[], "tf.data.Dataset"], skipped: int = 0
) -> Iterator[Batch]:
    """Generates images and labels, BATCH_SIZE at a time.

    Args:
      build_batches: adds the input and returns a `tf.data.Dataset` of batches.
      skipped: the number of images to leave out at the beginning.
    """
    with tf.Graph().as_default() as graph:
        tf.set_random_seed(0)  # Deterministic sessions want one.
        batches = build_batches().unbatch().skip(skipped)
        batches = batches.batch(feature_cut.BATCH_SIZE, drop_remainder=True)
        iterator = tf.data.make_initializable_iterator(
            batches.prefetch(_PREFETCHED_BATCHES)
        )
        batch = iterator.get_next()
        initializers = [iterator.initializer, tf.tables_initializer()]
    config = tf.ConfigProto(device_count={"GPU": 0})
    with tf.Session(graph=graph, config=config) as session:
        session.run(initializers)
        while True:
            yield session.run(batch)


def build_network(source: Source, images: tf.Tensor) -> Network:
    """Adds the network, and its output at the cut, to the default graph.

    Raises:
      ValueError: if no layer can be computed once.
    """
    is_training = source.changing is None
    config = source.config
    with contextlib.ExitStack() as stack:
        stack.enter_context(tf.device(config.deployment.clone_device(0)))
        if is_training:
            global_step = tf.train.get_or_create_global_step()
            batch_number = tf.cast(global_step, tf.int64)
            stack.enter_context(
                layer_modes.in_training(config, global_step, batch_number)
            )
        stack.enter_context(tf.name_scope(_SCOPE))
        logits, end_points = source.network_fn(images)
    outputs, changing = [logits], source.changing
    if is_training:
        trained = step.get_variables_to_train(config.trainable_scopes)
        changing = frozenset(feature_cut.list_changing(trained))
        if "AuxLogits" in end_points:
            outputs.append(end_points["AuxLogits"])
    try:
        cut = feature_cut.find_cut(images, outputs, changing)
    except ValueError as error:
        raise SettingError(
            f"{{{{trainable_scopes}}}}={config.trainable_scopes} leaves no layers that "
            f"{{{{feature_copies}}}} could compute once, because {error}: set "
            "{{feature_copies}} to 0."
        ) from error
    return Network(images, feature_cut.pack(tf.get_default_graph(), cut), cut, changing)


def cut_network(
    network_fn: Callable[..., Any], cut: feature_cut.Cut, image_shape: Sequence[int]
) -> Callable[[tf.Tensor], tuple[tf.Tensor, Mapping[str, tf.Tensor]]]:
    """Returns the network as a function of features instead of images."""

    def build(features: tf.Tensor) -> tuple[tf.Tensor, Mapping[str, tf.Tensor]]:
        with tf.name_scope("cached_features"):
            # Running anything below the cut is an error: this is never fed.
            images = tf.placeholder(tf.float32, [features.shape[0], *image_shape])
            replacements = feature_cut.unpack(features, cut)
        with tf.name_scope(_SCOPE):
            logits, end_points = network_fn(images)
        below = feature_cut.reconnect(cut, replacements, images)
        return logits, {
            name: value
            for name, value in end_points.items()
            if getattr(value, "op", None) not in below
        }

    return build


def open_session(graph: tf.Graph, config: TrainingConfig) -> tf.Session:
    """Opens a session in the precision and on the devices of a run."""
    session_config = precision_choice.build_session_config(config)
    return tf.Session(graph=graph, config=gpu.configure(session_config, config))


def extract(
    session: tf.Session,
    network: Network,
    source: Source,
    store: FeatureStore,
    count: int,
) -> None:
    """Computes the rows of a store from number `count` on, with a progress bar.

    Raises:
      OSError: if they cannot be written.
    """
    began, first = time.monotonic(), count
    bar = tqdm.tqdm(
        total=source.num_rows,
        initial=count,
        desc="features",
        unit="image",
        disable=None,
        dynamic_ncols=True,
    )
    with contextlib.closing(source.read_from(count)) as batches, bar:
        while count < source.num_rows:
            size = min(store.rows_per_chunk, source.num_rows - count)
            parts = []
            for images, labels in itertools.islice(
                batches, -(-size // feature_cut.BATCH_SIZE)
            ):
                features = session.run(network.features, {network.images: images})
                parts.append((features, labels))
                bar.update(min(len(labels), source.num_rows - bar.n))
            features, labels = (
                np.concatenate(p)[:size] for p in zip(*parts, strict=True)
            )
            store.append(features, labels)
            count += size
    secs = time.monotonic() - began
    logging.info(
        "Computed the features of %s in %.1f s (%.1f images/s).",
        text.format_count(count - first, "image"),
        secs,
        (count - first) / max(secs, 1e-9),
    )
