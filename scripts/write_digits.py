"""Writes scikit-learn's 1,797 handwritten digits as an image folder.

    python scripts/write_digits.py digits

`digits` then holds a folder for each digit. Needs scikit-learn.
"""

import pathlib
import sys

from PIL import Image

SIZE_PX = 28


def write_digits(folder: str) -> int:
    """Writes the digits as grayscale PNG files of 28 by 28 pixels; returns how many."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    for number, (pixels, label) in enumerate(
        zip(digits.images, digits.target, strict=True)
    ):
        path = pathlib.Path(folder, str(label), f"{number:04d}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray((pixels * (255 / 16)).astype("uint8"))
        image.resize((SIZE_PX, SIZE_PX), Image.Resampling.BICUBIC).save(path)
    return len(digits.target)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: write_digits.py FOLDER")
    print(f"Wrote {write_digits(sys.argv[1])} images to {sys.argv[1]}.")
