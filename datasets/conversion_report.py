"""Describes a converted dataset as text."""

import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from datasets.dataset_info import CLASSIFICATION, DatasetInfo

_MAX_ROWS = 30


def describe(info: DatasetInfo, dataset_dir: str) -> str:
    """Returns a table of the labels by split, and the command to train on them."""
    summaries = [info.labels[split] for split in info.splits]
    has_counts = all("class_counts" in summary for summary in summaries)
    rows = _list_counts(info) if has_counts else _list_statistics(info)
    lines = list(_align(rows))
    if info.num_skipped:
        lines.append(f"Left out, as listed above: {info.num_skipped}.")
    task = "" if info.task == CLASSIFICATION else f" --task={info.task}"
    lines += [
        f"Written to {dataset_dir}. Next:",
        "  python train_image_classifier.py --dataset_name=image_folder "
        f"--dataset_dir={shlex.quote(dataset_dir)} --train_dir=train_dir{task}",
    ]
    return "\n".join(lines).encode(errors="backslashreplace").decode()


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
