"""What classes pictures show, as a table, CSV or JSON; one picture at a time.

    with open_writer("json", "names.json") as writer:
        writer.write("a.jpg", rank_classes(probabilities, class_names, 5))
        writer.write_failure("b.jpg", "the file is empty")

Nothing is kept, so ten thousand pictures take no more memory than one.
"""

import contextlib
import csv
import json
import os
import sys
from typing import NamedTuple

import numpy as np


class RankedClass(NamedTuple):
    """A class that a picture may show.

    Attributes:
      number: of the model's output, from 0.
      name: of the class.
      score: its probability, a float.
    """

    number: int
    name: str
    score: float


def rank_classes(probabilities, class_names, count):
    """The best classes of a picture, a list of `RankedClass`, best first.

    Args:
      probabilities: float32, shape [num_classes].
      class_names: a list of num_classes names.
      count: how many classes at most.
    """
    order = np.argsort(-probabilities, kind="stable")[:count]
    return [RankedClass(int(i), class_names[i], float(probabilities[i])) for i in order]


class TableWriter:
    """The picture's path, then a line `  0.9876  name` for each class."""

    def __init__(self, file):
        self._file = file

    def write(self, path, ranking):
        """Adds a picture and its classes, a list of `RankedClass`."""
        self._file.write(f"{path}\n")
        for ranked in ranking:
            self._file.write(f"  {ranked.score:.4f}  {ranked.name}\n")

    def write_failure(self, path, reason):
        """Adds what is said of a picture that cannot be read: nothing in a table."""

    def close(self):
        """Adds what stands at the end."""


class CsvWriter(TableWriter):
    """A line for each picture and class: file, rank (from 1), class, name, score."""

    def __init__(self, file):
        super().__init__(file)
        self._rows = csv.writer(file, lineterminator="\n")
        self._rows.writerow(("file", "rank", "class", "name", "score"))

    def write(self, path, ranking):
        for i, ranked in enumerate(ranking):
            score = f"{ranked.score:.6f}"
            self._rows.writerow((path, i + 1, ranked.number, ranked.name, score))


class JsonWriter(TableWriter):
    """A list with an object for each picture, one a line.

    {"file": "a.jpg", "predictions": [{"class": 3, "name": "cat", "score": 0.987654}]}
    {"file": "b.jpg", "error": "the file is empty"}
    """

    def __init__(self, file):
        super().__init__(file)
        self._before = "[\n"

    def write(self, path, ranking):
        predictions = [
            {"class": r.number, "name": r.name, "score": round(r.score, 6)}
            for r in ranking
        ]
        self._add({"file": path, "predictions": predictions})

    def write_failure(self, path, reason):
        self._add({"file": path, "error": reason})

    def close(self):
        self._file.write("[]\n" if self._before == "[\n" else "\n]\n")

    def _add(self, record):
        self._file.write(self._before + json.dumps(record, ensure_ascii=False))
        self._before = ",\n"


FORMATS = {"table": TableWriter, "csv": CsvWriter, "json": JsonWriter}


@contextlib.contextmanager
def open_writer(output_format, output_file):
    """Yields a writer to a file, or to the screen if `output_file` is empty.

    Args:
      output_format: a key of FORMATS; None goes by the file's ending.
      output_file: replaced when all is written, and left alone after an error.

    Raises:
      OSError: if the file cannot be written.
    """
    if output_format is None:
        ending = os.path.splitext(output_file or "")[1].lower().lstrip(".")
        output_format = ending if ending in FORMATS else "table"
    if not output_file:
        # Names of files need not be Unicode.
        sys.stdout.reconfigure(errors="backslashreplace")
        writer = FORMATS[output_format](sys.stdout)
        yield writer
        writer.close()
        return
    folder, name = os.path.split(os.path.abspath(output_file))
    os.makedirs(folder, exist_ok=True)
    if os.path.isdir(output_file):
        raise OSError(f"{output_file!r} is a folder: give --output_file a file's name.")
    partial = os.path.join(folder, f".{name}.{os.getpid()}.partial")
    try:
        with open(partial, "w", encoding="utf-8", errors="backslashreplace") as file:
            writer = FORMATS[output_format](file)
            yield writer
            writer.close()
        os.replace(partial, output_file)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(partial)
