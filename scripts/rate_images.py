"""Rates images from 1 to 5 by their brightness: labels for trying out regression.

    python scripts/rate_images.py photos ratings.csv

The file has a line `file,score` for every image below the folder. Replace the scores
with ratings of your own.
"""

import csv
import pathlib
import sys

import numpy as np
from PIL import Image

_ENDINGS = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp"}


def rate(path: pathlib.Path) -> float:
    """Returns the mean brightness of an image, from 1 (black) to 5 (white)."""
    with Image.open(path) as image:
        return 1 + 4 * float(np.mean(np.asarray(image.convert("L")))) / 255


def write_ratings(folder: str, csv_path: str) -> int:
    """Rates all images below a folder; returns how many."""
    root = pathlib.Path(folder)
    paths = sorted(p for p in root.rglob("*") if p.suffix.lower() in _ENDINGS)
    with open(csv_path, "w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("file", "score"))
        for path in paths:
            rows.writerow((path.relative_to(root).as_posix(), f"{rate(path):.4f}"))
    return len(paths)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: rate_images.py FOLDER CSV_FILE")
    print(f"Rated {write_ratings(*sys.argv[1:])} images in {sys.argv[2]}.")
