"""Draws a small labeled image folder: one class per pattern, in two random colors.

    python scripts/draw_patterns.py patterns

Colors, widths and angles are random with the same distribution in all classes, so a
classifier has to recognize the pattern: the mean color says nothing.
"""

import argparse
import colorsys
import pathlib
import random
from collections.abc import Iterator

from PIL import Image, ImageDraw

SIZE_PX = 96
# Patterns are drawn larger than the image, then rotated and cropped.
_CANVAS_PX = 2 * SIZE_PX

Color = tuple[int, int, int]


def _cells(step: int) -> Iterator[tuple[int, int, int, int]]:
    """Yields (row, column, x, y) of the upper left corners of a grid's cells."""
    for row, y in enumerate(range(0, _CANVAS_PX, step)):
        for column, x in enumerate(range(0, _CANVAS_PX, step)):
            yield row, column, x, y


def _stripes(pen: ImageDraw.ImageDraw, step: int, color: Color) -> None:
    for x in range(0, _CANVAS_PX, step):
        pen.rectangle([x, 0, x + step // 2, _CANVAS_PX], fill=color)


def _checks(pen: ImageDraw.ImageDraw, step: int, color: Color) -> None:
    for row, column, x, y in _cells(step):
        if (row + column) % 2:
            pen.rectangle([x, y, x + step - 1, y + step - 1], fill=color)


def _dots(pen: ImageDraw.ImageDraw, step: int, color: Color) -> None:
    for _, _, x, y in _cells(step):
        pen.ellipse([x, y, x + 0.7 * step, y + 0.7 * step], fill=color)


def _rings(pen: ImageDraw.ImageDraw, step: int, color: Color) -> None:
    for _, _, x, y in _cells(step):
        box = [x, y, x + 0.85 * step, y + 0.85 * step]
        pen.ellipse(box, outline=color, width=max(2, step // 7))


def _zigzags(pen: ImageDraw.ImageDraw, step: int, color: Color) -> None:
    for y in range(-step, _CANVAS_PX + step, step):
        corners = [
            (x, y + step * (0.6 if i % 2 else 0))
            for i, x in enumerate(range(0, _CANVAS_PX + step, step // 2))
        ]
        pen.line(corners, fill=color, width=max(3, step // 3))


PATTERNS = {
    "checks": _checks,
    "dots": _dots,
    "rings": _rings,
    "stripes": _stripes,
    "zigzags": _zigzags,
}


def _random_colors(rng: random.Random) -> list[Color]:
    """Returns two colors of any hue with clearly different brightness."""
    values = [rng.uniform(0.1, 0.4), rng.uniform(0.65, 1.0)]
    rng.shuffle(values)
    return [
        tuple(round(255 * c) for c in colorsys.hsv_to_rgb(rng.random(), 0.6, value))
        for value in values
    ]


def draw(pattern: str, rng: random.Random) -> Image.Image:
    """Draws a pattern.

    Args:
      pattern: a key of `PATTERNS`.
      rng: determines colors, width, angle and position.

    Returns:
      An RGB image of 96 by 96 pixels.
    """
    background, foreground = _random_colors(rng)
    canvas = Image.new("RGB", (_CANVAS_PX, _CANVAS_PX), background)
    PATTERNS[pattern](ImageDraw.Draw(canvas), rng.randrange(20, 31), foreground)
    canvas = canvas.rotate(rng.uniform(0, 360), Image.Resampling.BILINEAR)
    left, top = (_CANVAS_PX // 4 + rng.randrange(-8, 9) for _ in range(2))
    image = canvas.crop((left, top, left + SIZE_PX, top + SIZE_PX))
    noise = Image.effect_noise((SIZE_PX, SIZE_PX), 40).convert("RGB")
    return Image.blend(image, noise, 0.12)


def main() -> None:
    """Draws a folder of images."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=pathlib.Path, help="folder to create")
    parser.add_argument("--images_per_class", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    for pattern in PATTERNS:
        folder = options.folder / pattern
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(options.images_per_class):
            draw(pattern, rng).save(folder / f"{pattern}_{number:04d}.jpg", quality=92)
    print(f"Drew {len(PATTERNS) * options.images_per_class} images: {options.folder}")


if __name__ == "__main__":
    main()
