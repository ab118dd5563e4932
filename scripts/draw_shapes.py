"""Draws a small labelled image folder: one class to a shape, any colour, any place.

    python scripts/draw_shapes.py drawn_shapes

Colours, sizes, places and angles are random and alike in all classes, so that
nothing but the shape tells them apart: a mean colour says nothing.
"""

import argparse
import colorsys
import math
import pathlib
import random

from PIL import Image, ImageDraw

SIZE_PX = 96


def _polygon(angles_and_radii):
    return [(r * math.cos(a), r * math.sin(a)) for a, r in angles_and_radii]


def _regular(corners, inner=None):
    """A regular polygon, or a star whose inner corners lie at radius `inner`."""
    if inner is None:
        return _polygon((2 * math.pi * i / corners, 1.0) for i in range(corners))
    return _polygon(
        (math.pi * i / corners, inner if i % 2 else 1.0) for i in range(2 * corners)
    )


_ARM = 0.32
# Outlines within a circle of radius 1.
SHAPES = {
    "circle": _regular(48),
    "cross": [
        (-_ARM, -1), (_ARM, -1), (_ARM, -_ARM), (1, -_ARM), (1, _ARM), (_ARM, _ARM),
        (_ARM, 1), (-_ARM, 1), (-_ARM, _ARM), (-1, _ARM), (-1, -_ARM), (-_ARM, -_ARM),
    ],
    "bar": [(-1, -0.22), (1, -0.22), (1, 0.22), (-1, 0.22)],
    "star": _regular(5, inner=0.4),
    "triangle": _regular(3),
}  # fmt: skip


def _random_colours(rng):
    """Two colours of any hue whose brightness differs enough to be seen."""
    dark, light = rng.uniform(0.1, 0.4), rng.uniform(0.65, 1.0)
    values = [dark, light]
    rng.shuffle(values)
    return [
        tuple(round(255 * c) for c in colorsys.hsv_to_rgb(rng.random(), 0.6, value))
        for value in values
    ]


def draw(shape, rng):
    """A picture of one shape: a Pillow image of 96×96 pixels, RGB."""
    background, foreground = _random_colours(rng)
    image = Image.new("RGB", (SIZE_PX, SIZE_PX), background)
    radius = rng.uniform(0.22, 0.38) * SIZE_PX
    centre = [rng.uniform(radius, SIZE_PX - radius) for _ in range(2)]
    angle = rng.uniform(0, 2 * math.pi)
    cos, sin = math.cos(angle) * radius, math.sin(angle) * radius
    corners = [
        (centre[0] + x * cos - y * sin, centre[1] + x * sin + y * cos)
        for x, y in SHAPES[shape]
    ]
    ImageDraw.Draw(image).polygon(corners, fill=foreground)
    noise = Image.effect_noise((SIZE_PX, SIZE_PX), 40).convert("RGB")
    return Image.blend(image, noise, 0.12)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=pathlib.Path, help="the folder to make")
    parser.add_argument("--images_per_class", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    for shape in SHAPES:
        folder = options.folder / shape
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(options.images_per_class):
            draw(shape, rng).save(folder / f"{shape}_{number:04d}.jpg", quality=92)
    print(f"Drew {len(SHAPES) * options.images_per_class} images in {options.folder}.")


if __name__ == "__main__":
    main()
