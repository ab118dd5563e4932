"""EXIF orientation is applied in a graph as image viewers do."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageOps

from deployment.formats import exif_orientation
from tf_slim_compat import tf

SHAPE = (24, 40, 3)
RAMP = np.linspace(0, 255, np.prod(SHAPE)).reshape(SHAPE).astype(np.uint8)
ORIENTATION = 0x0112


def encode(exif=b"", kind="JPEG"):
    buffer = io.BytesIO()
    Image.fromarray(RAMP).save(buffer, kind, exif=exif)
    return buffer.getvalue()


def build_exif(orientation, order="<"):
    """Builds EXIF data of the camera's maker, the orientation and the width."""
    entries = [
        struct.pack(order + "HHII", 0x010F, 2, 4, 0),
        struct.pack(order + "HHIHH", ORIENTATION, 3, 1, orientation, 0),
        struct.pack(order + "HHII", 0x0100, 4, 1, ORIENTATION),
    ]
    start = struct.pack(order + "2sHIH", {"<": b"II", ">": b"MM"}[order], 42, 8, 3)
    return b"Exif\0\0" + start + b"".join(entries) + bytes(4)


def run(files):
    """Returns stored pixels, oriented pixels and orientation of each file."""
    results = []
    with tf.Graph().as_default(), tf.Session() as session:
        encoded = tf.placeholder(tf.string, [])
        image = tf.io.decode_image(encoded, 3, expand_animations=False)
        upright = exif_orientation.apply_orientation(image, encoded)
        orientation = exif_orientation.read_orientation(encoded)
        for data in files:
            fetches = (image, upright, orientation)
            results.append(session.run(fetches, {encoded: data}))
    return results


def apply_with_pillow(pixels, orientation):
    image = Image.fromarray(pixels)
    image.getexif()[ORIENTATION] = orientation
    return np.asarray(ImageOps.exif_transpose(image))


@pytest.mark.parametrize("order", "<>")
def test_each_orientation_is_applied_as_pillow_does(order):
    files = [encode(build_exif(i, order)) for i in range(1, 9)]
    results = run(files)
    for i, (stored, upright, orientation) in enumerate(results, 1):
        assert orientation == i
        np.testing.assert_array_equal(
            upright, apply_with_pillow(stored, i), f"orientation {i}"
        )
    shapes = {upright.shape for _, upright, _ in results}
    assert shapes == {SHAPE, (40, 24, 3)}


def test_exif_data_of_pillow_is_read_after_other_segments():
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    data = encode(exif.tobytes())
    profile = b"\xff\xe2" + struct.pack(">H", 2 + 40000) + bytes(40000)
    results = run([data, data[:2] + profile + data[2:]])
    assert [orientation for *_, orientation in results] == [6, 6]


def test_without_valid_exif_data_of_a_jpeg_pixels_stay_as_they_are():
    valid = build_exif(6)
    files = {
        "none": encode(),
        "beyond 8": encode(build_exif(9)),
        "zero": encode(build_exif(0)),
        "another order": encode(build_exif(6, ">").replace(b"MM", b"XX")),
        "a distant directory": encode(b"Exif\0\0II*\0\xff\xff\xff\xff"),
        "truncated": encode(valid[:17]),
        "nothing": encode(b"Exif\0\0"),
        "PNG": encode(valid, "PNG"),
        "BMP": encode(valid, "BMP"),
    }
    for name, (stored, upright, orientation) in zip(
        files, run(files.values()), strict=True
    ):
        assert orientation == 1, name
        np.testing.assert_array_equal(upright, stored, name)
