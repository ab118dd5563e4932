"""Damaged images: every door lets the same ones in, and no file hangs a reader."""

import io
import os
import socket
import struct
import zlib

import numpy as np
import pytest
from mutations import mutate
from PIL import Image

from datasets import convert_images, file_batches, image_checks, image_files, image_pool
from preprocessing import preprocessing_factory
from tf_slim_compat import tf

PIXELS = (np.indices([30, 40, 3]).sum(0) * 3 % 256).astype(np.uint8)
KINDS = {
    "jpg": ("JPEG", {}),
    "progressive.jpg": ("JPEG", {"progressive": True}),
    "png": ("PNG", {}),
    "gif": ("GIF", {}),
    "bmp": ("BMP", {}),
    "webp": ("WEBP", {}),
    "lossless.webp": ("WEBP", {"lossless": True}),
}


def encode(kind):
    name, options = KINDS[kind]
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, name, **options)
    return buffer.getvalue()


def run(batches_fn, *arguments):
    """Returns (the indices of the images that could be read, reasons of others)."""
    reasons, found = {}, []
    with tf.Graph().as_default(), tf.Session() as session:
        batches = batches_fn(*arguments, reasons)
        iterator = tf.data.make_initializable_iterator(batches)
        element = iterator.get_next()
        session.run(iterator.initializer)
        while True:
            try:
                found.extend(session.run(element)[1])
            except tf.errors.OutOfRangeError:
                return found, reasons


def test_conversion_and_classification_accept_the_same_images(tmp_path):
    paths = []
    random = np.random.RandomState(0)
    for kind in KINDS:
        data = encode(kind)
        cases = [data, data[:-1], data[:-2], data[:-1] + bytes([data[-1] ^ 1])]
        cases += [mutate(data, random) for _ in range(60)]
        for index, case in enumerate(cases):
            paths.append(str(tmp_path / f"{index}.{kind}"))
            with open(paths[-1], "wb") as file:
                file.write(case)
    loaded = image_checks.check_all(image_pool.load_all(paths, 1), 2)
    good = [index for index, (image, _) in enumerate(loaded) if image]
    assert len(paths) / 4 < len(good) < len(paths)
    for name in "inception", "cifarnet":
        preprocessing_fn = preprocessing_factory.get_preprocessing(
            name, is_training=False
        )
        found, reasons = run(
            file_batches.build_batches, preprocessing_fn, 24, 24, paths, 16
        )
        assert found == good, name
        assert not set(reasons) & set(good)
    found, reasons = run(file_batches.build_encoded_batches, paths, 16)
    assert found == good
    assert sorted([*good, *reasons]) == list(range(len(paths)))


def build_png(width, height, depth, color):
    """Returns a PNG of zeros with few bytes."""
    channels = {0: 1, 2: 3, 6: 4}[color]
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    row = bytes(1 + width * channels * depth // 8)
    packer = zlib.compressobj(1)
    rows = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body))
        + kind
        + body
        + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in ((b"IHDR", header), (b"IDAT", rows), (b"IEND", b""))
    )


@pytest.mark.parametrize(
    ("shape", "limit", "message"),
    [
        ((100, 50, 8, 2), 15_000, None),
        ((100, 51, 8, 2), 15_000, "its 100 x 51 pixels decode to"),
        ((100, 50, 8, 0), 15_000, None),
        ((100, 50, 16, 0), 15_000, "its 100 x 50 pixels"),
        ((100, 50, 16, 2), 15_000, "its 100 x 50 pixels"),
        ((100, 50, 8, 6), 15_000, "its 100 x 50 pixels"),
        ((10, 5, 8, 2), 20, "the file has"),
    ],
)
def test_large_images_are_refused(tmp_path, monkeypatch, shape, limit, message):
    path = tmp_path / "large.png"
    path.write_bytes(build_png(*shape))
    monkeypatch.setattr(image_files, "MAX_BYTES", limit)
    if message is None:
        assert image_files.load(str(path)).width == shape[0]
    else:
        with pytest.raises(ValueError, match=f"{message}.*: scale it down, as at most"):
            image_files.load(str(path))


def test_headers_that_promise_billions_of_pixels(tmp_path):
    path = tmp_path / "bomb.png"
    data = bytearray(build_png(8, 8, 8, 2))
    for width, height in (13_000, 13_001), (2**31 - 1, 2**31 - 1):
        data[16:24] = struct.pack(">II", width, height)
        data[24:26] = 16, 6
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
        path.write_bytes(data)
        with pytest.raises(ValueError, match="pixels.*: scale it down"):
            image_files.load(str(path))


@pytest.fixture
def others(tmp_path):
    """A folder of two classes with a named pipe and a socket among the images."""
    folder = tmp_path / "photos"
    for name in "cat", "dog":
        (folder / name).mkdir(parents=True)
        for index in range(3):
            image = Image.fromarray(PIXELS + index + len(list(folder.glob("dog"))))
            image.save(folder / name / f"{index}.png")
    os.mkfifo(folder / "cat" / "pipe.jpg")
    # The path of a socket must be short.
    before = os.getcwd()
    os.chdir(folder / "dog")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket.jpg")
    os.chdir(before)
    (folder / "dog" / "device.jpg").symlink_to("/dev/zero")
    return folder


def test_only_regular_files_are_read(others, tmp_path, capsys):
    config = convert_images.ConvertConfig(
        str(others), str(tmp_path / "data"), workers=1
    )
    info = convert_images.convert(config)
    assert info.num_samples("train") + info.num_samples("validation") == 6
    err = capsys.readouterr().err
    for kind in "1 named pipe", "1 socket", "1 device":
        assert kind in err
    paths = [
        str(others / name) for name in ("cat/pipe.jpg", "cat/0.png", "dog/device.jpg")
    ]
    found, reasons = run(file_batches.build_encoded_batches, paths, 16)
    assert found == [1]
    assert reasons[0] == "it is a named pipe, not a regular file"
    assert reasons[2] == "it is a device, not a regular file"
    listed = file_batches.list_images([str(others)], pytest.fail)
    assert len(listed) == 6
