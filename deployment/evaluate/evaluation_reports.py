"""What an evaluation found, as text for people and as files for programs."""

import csv
import io
import os

import numpy as np

from deployment import files
from deployment.tasks import metrics

JSON_FILE = "eval.json"
CONFUSION_FILE = "confusion_matrix.csv"
# More would not fit on a screen.
_MAX_MATRIX_CLASSES = 20
_MAX_TABLE_CLASSES = 100
_NUM_WORST = 20
_MAX_NAME_LETTERS = 30


def printable(name):
    """A name without what cannot be written as UTF-8 or would break a line."""
    name = name.encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in name)


def format_report(report, class_names):
    """The report as text: classes, averages, confusion matrix, then the totals.

    More than 100 classes are cut down to the 20 of the lowest F1, and more than 20
    have no matrix.

    Args:
      report: a `metrics.Report`.
      class_names: the classes' names, in order.
    """
    parts = [_format_classes(report, class_names)]
    if len(class_names) <= _MAX_MATRIX_CLASSES:
        parts.append(_format_confusion(report.confusion, class_names))
    width = max(map(len, report.values))
    parts.append(
        "\n".join(f"{name:<{width}}  {v:.4f}" for name, v in report.values.items())
    )
    return "\n\n".join(parts) + "\n"


def format_table(rows, is_text=(0,)):
    """Rows of strings in columns of even width.

    Args:
      rows: lists of strings, all of one length.
      is_text: the columns that are aligned to the left.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i in is_text else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def write_report(eval_dir, report, class_names, facts):
    """Writes `eval.json` and `confusion_matrix.csv`.

    Args:
      eval_dir: the folder; made if there is none.
      report: a `metrics.Report`.
      class_names: the classes' names, in order.
      facts: a dict of what else `eval.json` should say first, such as the step.

    Raises:
      OSError: if they cannot be written.
    """
    files.make_folder(eval_dir)
    classes = [
        {
            "class": i,
            "name": name,
            "precision": report.precision[i],
            "recall": report.recall[i],
            "f1": report.f1[i],
            "count": report.counts[i],
        }
        for i, name in enumerate(class_names)
    ]
    record = {
        **facts,
        "num_images": report.num_images,
        **report.values,
        "macro": report.macro,
        "classes": classes,
    }
    path = os.path.join(eval_dir, JSON_FILE)
    files.write_text(path, files.to_json(record, indent=1) + "\n")
    if report.confusion is not None:
        rows = [["label \\ prediction", *class_names]]
        rows += zip(class_names, *report.confusion.T.tolist(), strict=True)
        files.write_text(os.path.join(eval_dir, CONFUSION_FILE), format_csv(rows))


def write_predictions(path, predictions, file_names, class_names):
    """Writes a CSV file with a line for each image, in the order of evaluation.

    Its columns: `file_name`, `label`, `label_name`, `prediction`, `prediction_name`
    and `score`, the probability of the prediction. Labels and predictions are the
    network's outputs, counted from 0.

    Args:
      path: the file.
      predictions: `evaluation.Predictions` of n images.
      file_names: n strings.
      class_names: the classes' names, in order.

    Raises:
      OSError: if it cannot be written.
    """
    predicted = predictions.logits.argmax(axis=1)
    scores = metrics.compute_scores(predictions.logits, predicted)
    header = "file_name", "label", "label_name", "prediction", "prediction_name"
    rows = [(*header, "score")]
    rows += (
        (name, label, class_names[label], best, class_names[best], f"{score:.6f}")
        for name, label, best, score in zip(
            file_names, predictions.labels, predicted, scores, strict=True
        )
    )
    files.write_text(path, format_csv(rows))


def format_csv(rows):
    """Rows as the text of a CSV file."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _format_classes(report, class_names):
    shown, more = range(len(class_names)), ""
    if len(shown) > _MAX_TABLE_CLASSES:
        (occurring,) = np.nonzero(report.counts)
        order = np.argsort(report.f1[occurring], kind="stable")
        shown = occurring[order[:_NUM_WORST]]
        more = (
            f"\n(The {len(shown)} classes of the lowest F1 out of {len(class_names)}; "
            f"{JSON_FILE} in the evaluation's folder has them all.)"
        )
    rows = [["class", "images", "precision", "recall", "F1"]]
    for i in shown:
        values = report.precision[i], report.recall[i], report.f1[i]
        rows.append([_shorten(class_names[i]), str(report.counts[i]), *_format(values)])
    macro = [report.macro[name] for name in ("precision", "recall", "f1")]
    rows.append(["macro average", str(report.num_images), *_format(macro)])
    return format_table(rows) + more


def _format_confusion(confusion, class_names):
    names = [_shorten(name) for name in class_names]
    keys = [str(i) for i in range(len(names))]
    rows = [["label \\ prediction", "", *keys]]
    rows += (
        [name, key, *map(str, counts)]
        for name, key, counts in zip(names, keys, confusion, strict=True)
    )
    return format_table(rows)


def _format(values):
    return [f"{value:.4f}" for value in values]


def _shorten(name):
    is_long = len(name) > _MAX_NAME_LETTERS
    return name[: _MAX_NAME_LETTERS - 1] + "…" if is_long else name
