"""Describes a converted dataset as text."""

import math
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from datasets.dataset_info import DatasetInfo
from datasets.image_source import list_names

_MAX_ROWS = 30
# (most training images, image size in pixels) of the suggested training.
_IMAGE_SIZES = ((2_000, 96), (20_000, 128))
_LARGEST_IMAGE_SIZE = 224
_BATCH_SIZE = 32
_EPOCHS = 30
_FEWEST_STEPS = 1000


def describe(info: DatasetInfo, dataset_dir: str) -> str:
    """Returns a table of the labels by split, notes, and commands to go on with."""
    summaries = [info.labels[split] for split in info.splits]
    has_counts = all("class_counts" in summary for summary in summaries)
    rows = _list_counts(info) if has_counts else _list_statistics(info)
    lines = list(_align(rows))
    if info.num_skipped:
        lines.append(f"Left out, as listed above: {info.num_skipped}.")
    lines += [*info.notes, *(_list_gaps(info) if has_counts else ())]
    lines += [f"Written to {dataset_dir}. Next:", *_suggest_commands(info, dataset_dir)]
    return "\n".join(lines).encode(errors="backslashreplace").decode()


def _list_gaps(info: DatasetInfo) -> Iterator[str]:
    """Yields a sentence for each split that lacks images of some classes."""
    for split in info.splits:
        counts = info.labels[split]["class_counts"]
        missing = [
            name
            for name, count in zip(info.class_names, counts, strict=True)
            if not count
        ]
        if missing:
            yield f"Warning: no {split} images of {list_names(missing)}."
    if "validation" not in info.splits:
        yield "Warning: no validation images."


def _suggest_commands(info: DatasetInfo, dataset_dir: str) -> list[str]:
    """Returns the lines of commands that suit the number of training images."""
    num_images = info.num_samples("train")
    size = next((s for n, s in _IMAGE_SIZES if num_images <= n), _LARGEST_IMAGE_SIZE)
    hundreds = math.ceil(_EPOCHS * num_images / _BATCH_SIZE / 100)
    steps = max(_FEWEST_STEPS, 100 * hundreds)
    rows = [
        "python train_image_classifier.py --train_dir=run --dataset_name=image_folder",
        f"    --dataset_dir={shlex.quote(dataset_dir)} --model_name=mobilenet_v1",
        f"    --train_image_size={size} --max_number_of_steps={steps} --optimizer=adam",
        "    --learning_rate=0.002 --learning_rate_decay_type=cosine",
    ]
    evaluation = "python eval_image_classifier.py --checkpoint_path=run"
    if "validation" in info.splits:
        rows.append(f"    --eval_split_name=validation --eval_every={steps // 10}")
    else:
        evaluation += " --dataset_split_name=train"
    return [" \\\n".join(f"  {row}" for row in rows), f"  {evaluation}"]


def _list_counts(info: DatasetInfo) -> list[tuple[Any, ...]]:
    """One row per class or label with its images in each split, and the total."""
    counts = [info.labels[split]["class_counts"] for split in info.splits]
    rows = [
        (name, *numbers)
        for name, *numbers in zip(info.class_names, *counts, strict=True)
    ]
    return [
        ("class" if info.has_classes else "label", *info.splits),
        *_shorten(rows),
        (
            "total" if info.has_classes else "images",
            *(info.num_samples(split) for split in info.splits),
        ),
    ]


def _list_statistics(info: DatasetInfo) -> list[tuple[Any, ...]]:
    """One row per target and split with every statistic of the summary."""
    keys = list(next(iter(info.labels.values())))
    rows = [
        (
            name,
            split,
            info.num_samples(split),
            *(f"{info.labels[split][key][i]:.4g}" for key in keys),
        )
        for i, name in enumerate(info.class_names)
        for split in info.splits
    ]
    return [("target", "split", "images", *keys), *_shorten(rows)]


def _shorten(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    if len(rows) <= _MAX_ROWS:
        return rows
    more = (f"({len(rows) - _MAX_ROWS} more)", *("..." for _ in rows[0][1:]))
    return [*rows[:_MAX_ROWS], more]


def _align(rows: Sequence[Sequence[Any]]) -> Iterator[str]:
    """Yields the rows as lines, the first column aligned left, the others right."""
    columns = zip(*rows, strict=True)
    first, *widths = (max(len(str(cell)) for cell in column) for column in columns)
    for head, *cells in rows:
        right = (str(c).rjust(w) for c, w in zip(cells, widths, strict=True))
        yield "  ".join([str(head).ljust(first), *right])
