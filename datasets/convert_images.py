"""Converts labeled images into TFRecord shards.

Labels are the names of folders, or come from a label file. Worker processes read the
images and re-encode some; then TensorFlow decodes each once, to find damaged ones. An
engine such as Apache Beam does the same on many machines: see `distributed_conversion`.

TensorFlow is imported late, which keeps worker processes quick to start.
"""

import contextlib
import os
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from tqdm import tqdm

from datasets import (
    class_folders,
    convert_config,
    dataset_folder,
    dataset_info,
    duplicate_images,
    image_pool,
    image_source,
    label_table,
    labeled_images,
)
from datasets.conversion_plan import ConversionPlan
from datasets.convert_config import ConvertConfig

__all__ = ["ConvertConfig", "convert", "show_progress"]


def convert(
    config: ConvertConfig,
    task: Any = None,
    distribute: Callable[..., list] | None = None,
) -> dataset_info.DatasetInfo:
    """Converts the images; prints unreadable ones and the progress on stderr.

    Args:
      config: see `ConvertConfig`.
      task: a task with `name`, `label_dtype`, `read_labels`, `choose_validation` and
        `summarize`; None for classification by folder names.
      distribute: called as `distribute(function, tasks, folder)`, returns the results
        of the function for each task, computed on machines that see the folders of
        `config` and this one by the same paths. None converts here. The dataset is the
        same.

    Returns:
      What was written.

    Raises:
      ValueError: if the settings or the source make no dataset; nothing is written.
      OSError: if a folder cannot be read or written.
    """
    convert_config.check_config(config, task)
    source = _find_images(config, task)
    if source.others:
        kinds = image_source.describe_kinds(source.others)
        print(f"Skipped files that are no images: {kinds}.", file=sys.stderr)
    _check_names(source.names)
    old_files = dataset_folder.find_old_files(
        config.dataset_dir, config.dataset_name, config.overwrite
    )
    with dataset_folder.stage(config.dataset_dir, config.dataset_name) as staging:
        plan = ConversionPlan(config, source, task)
        is_replacing = bool(old_files)
        if distribute is None:
            written = _write_dataset(config, plan, staging, is_replacing)
        else:
            from datasets import distributed_conversion  # Imports TensorFlow.

            written = distributed_conversion.write_dataset(
                config, plan, staging, is_replacing, distribute
            )
        info = plan.describe(*written)
        dataset_folder.write_descriptions(staging, info)
        dataset_folder.publish(staging, config.dataset_dir, old_files)
    return info


def _find_images(config: ConvertConfig, task: Any) -> image_source.ImageSource:
    if not config.labels:
        return class_folders.scan(config.source)
    table = label_table.read(config.labels, config.file_column, config.label_columns)
    source = labeled_images.scan(
        config.source, table, config.labels, task, config.skip_bad_images
    )
    return labeled_images.choose_splits(
        source, task, config.validation_fraction, config.seed
    )


def _check_names(names: Sequence[str]) -> None:
    """Raises ValueError unless `labels.txt` reads back as exactly these names."""
    from datasets import dataset_utils  # Imports TensorFlow.

    for name in names:
        text = dataset_info.DatasetInfo("", (name,), {}, {}).to_label_text()
        found = dataset_utils.parse_labels(text.encode(errors="surrogateescape"))
        # Bytes that are not UTF-8 are read as replacement characters.
        expected = {0: os.fsencode(name).decode(errors="replace")}
        has_controls = any(unicodedata.category(char) == "Cc" for char in name)
        if has_controls or found != expected:
            raise ValueError(
                f"The class name {name!r} holds a line break or another control "
                "character, or ends with a space, which labels.txt cannot hold: rename "
                "the folder, or correct the label file."
            )


def _write_dataset(
    config: ConvertConfig, plan: ConversionPlan, staging: str, is_replacing: bool
) -> tuple[dict[str, tuple[dataset_info.Shard, ...]], str]:
    """Writes the shards into the folder `staging`; returns them and the fingerprint.

    If they replace another dataset, none has the name of an old one.
    """
    from datasets import shard_writer  # Imports TensorFlow.

    loaded = _load_images(config, plan.images)
    with (
        contextlib.closing(loaded),
        shard_writer.ShardWriter(staging, config.dataset_name, config.shards) as writer,
    ):
        for image, encoded, fault in loaded:
            digest = b"" if fault else duplicate_images.compute_digest(encoded.encoded)
            split = plan.add(image, fault, digest)
            if split is not None:
                writer.write(split, encoded, image.label, *plan.name(image))
        plan.check()
        return writer.finish(is_replacing)


def _load_images(
    config: ConvertConfig, images: Sequence[image_source.SourceImage]
) -> Iterator[tuple]:
    """Yields (source image, encoded image or None, the reason why it is None)."""
    from datasets import image_checks  # Imports TensorFlow.

    workers = config.workers or len(os.sched_getaffinity(0))
    loaded = image_pool.load_all((image.path for image in images), workers)
    checked = image_checks.check_all(loaded, workers)
    with contextlib.closing(loaded), contextlib.closing(checked):
        pairs = zip(images, checked, strict=True)
        for image, (encoded, fault) in show_progress(pairs, len(images)):
            yield image, encoded, fault


def show_progress(items: Iterable, total: int) -> Iterator:
    """Yields items; shows a bar on a terminal, a line every tenth elsewhere."""
    if sys.stderr.isatty():
        yield from tqdm(items, total=total, unit="image")
        return
    for done, item in enumerate(items, 1):
        yield item
        if done * 10 // total > (done - 1) * 10 // total:
            print(f"{done} of {total} images", file=sys.stderr, flush=True)
