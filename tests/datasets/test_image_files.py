"""Image files of all kinds become JPEG or PNG that TensorFlow decodes."""

import io

import numpy as np
import pytest
from PIL import Image

from datasets import image_files
from tf_slim_compat import tf

ORIENTATION = 0x0112
# Four flat quarters: they show rotations and survive lossy encoding.
QUARTERS = np.array(
    [[[200, 30, 30], [30, 200, 30]], [[30, 30, 200], [220, 220, 30]]], np.uint8
)
PIXELS = QUARTERS.repeat(16, 0).repeat(24, 1)
HEIGHT, WIDTH = PIXELS.shape[:2]
PHOTO = Image.fromarray(PIXELS)


def encode(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def load(tmp_path, data, name="image"):
    path = tmp_path / name
    path.write_bytes(data)
    return image_files.load(str(path))


def decode(loaded):
    """Decodes as training does; checks the format and size against the attributes."""
    with tf.Graph().as_default(), tf.Session() as session:
        is_jpeg, image = session.run(
            [
                tf.io.is_jpeg(loaded.encoded),
                tf.io.decode_image(loaded.encoded, 3, expand_animations=False),
            ]
        )
    assert loaded.format == ("jpeg" if is_jpeg else "png")
    assert image.shape == (loaded.height, loaded.width, 3)
    return image


def assert_close(image, expected, tolerance):
    difference = np.abs(image.astype(int) - expected)
    # Lossy encoding blurs the borders of the quarters.
    assert np.median(difference) <= tolerance
    assert difference.mean() <= tolerance + 2


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (encode(PHOTO, "JPEG"), "jpeg"),
        (encode(PHOTO, "JPEG", progressive=True), "jpeg"),
        (encode(PHOTO.convert("L"), "JPEG"), "jpeg"),
        (encode(PHOTO, "MPO", save_all=True, append_images=[PHOTO]), "jpeg"),
        (encode(PHOTO, "PNG"), "png"),
        (encode(PHOTO.convert("L"), "PNG"), "png"),
    ],
    ids=["jpeg", "progressive", "gray jpeg", "two images", "png", "gray png"],
)
def test_plain_files_are_kept_byte_for_byte(tmp_path, data, kind):
    loaded = load(tmp_path, data, "misnamed.gif")
    assert loaded == image_files.EncodedImage(data, kind, HEIGHT, WIDTH)
    decode(loaded)


GRAY = np.linspace(0, 255, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.uint8)


@pytest.mark.parametrize(
    ("image", "kind", "stored", "tolerance"),
    [
        (PHOTO, "BMP", "png", 0),
        (PHOTO.quantize(16), "GIF", "png", 3),
        (PHOTO.quantize(16), "PNG", "png", 3),
        (PHOTO.convert("CMYK"), "JPEG", "jpeg", 4),
    ],
    ids=["bmp", "gif", "palette png", "cmyk jpeg"],
)
def test_other_files_are_reencoded(tmp_path, image, kind, stored, tolerance):
    data = encode(image, kind)
    loaded = load(tmp_path, data)
    assert loaded.format == stored
    assert loaded.encoded != data
    assert_close(decode(loaded), PIXELS, tolerance)


@pytest.mark.parametrize(("lossless", "stored"), [(True, "png"), (False, "jpeg")])
@pytest.mark.parametrize("extended", [True, False])
def test_webp(tmp_path, lossless, stored, extended):
    options = {"exif": Image.Exif().tobytes()} if extended else {}
    data = encode(PHOTO, "WEBP", lossless=lossless, **options)
    loaded = load(tmp_path, data)
    assert loaded.format == stored
    assert_close(decode(loaded), PIXELS, 0 if lossless else 6)


def test_one_bit_png_is_gray(tmp_path):
    loaded = load(tmp_path, encode(Image.fromarray(GRAY > 99), "PNG"))
    assert Image.open(io.BytesIO(loaded.encoded)).mode == "L"
    assert np.array_equal(decode(loaded)[..., 0], np.where(GRAY > 99, 255, 0))


def test_sixteen_bits_keep_the_upper_eight(tmp_path):
    deep = GRAY.astype(np.uint16) * 256 + 77
    loaded = load(tmp_path, encode(Image.fromarray(deep), "PNG"))
    assert np.array_equal(decode(loaded), np.stack([GRAY] * 3, -1))


def test_transparent_images_are_blended_onto_white(tmp_path):
    for kind, options in [("PNG", {}), ("WEBP", {"lossless": True})]:
        image = PHOTO.copy()
        image.putalpha(Image.fromarray(np.where(GRAY > 99, 255, 0).astype(np.uint8)))
        loaded = load(tmp_path, encode(image, kind, **options))
        expected = np.where(GRAY[..., None] > 99, PIXELS, 255)
        assert np.array_equal(decode(loaded), expected), kind


def test_transparent_color_of_a_gray_png_and_of_a_gif(tmp_path):
    gray = Image.fromarray(np.where(GRAY > 99, 40, 7).astype(np.uint8))
    expected = np.where(GRAY > 99, 40, 255)
    for kind in "PNG", "GIF":
        loaded = load(tmp_path, encode(gray, kind, transparency=7))
        assert np.array_equal(decode(loaded)[..., 0], expected), kind


def test_gray_with_alpha_stays_gray(tmp_path):
    image = Image.merge("LA", [Image.fromarray(GRAY), Image.new("L", (WIDTH, HEIGHT))])
    loaded = load(tmp_path, encode(image, "PNG"))
    assert Image.open(io.BytesIO(loaded.encoded)).mode == "L"
    assert (decode(loaded) == 255).all()


def test_an_animation_gives_its_first_frame(tmp_path):
    frames = [Image.new("RGB", (WIDTH, HEIGHT), "white")] * 2
    for kind, options in [("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {})]:
        data = encode(PHOTO, kind, save_all=True, append_images=frames, **options)
        assert_close(decode(load(tmp_path, data)), PIXELS, 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, kind, orientation):
    upright = PIXELS
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = encode(Image.fromarray(stored), kind, exif=exif.tobytes())
    loaded = load(tmp_path, data)
    assert_close(decode(loaded), upright, 0 if kind == "PNG" else 6)
    assert (loaded.encoded == data) == (orientation == 1 and kind != "WEBP")


def test_damaged_exif_is_ignored(tmp_path):
    data = encode(PHOTO, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert load(tmp_path, data).encoded == data


JPEG, PNG = encode(PHOTO, "JPEG"), encode(PHOTO, "PNG")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (b"hello", "not a JPEG, PNG"),
        (encode(PHOTO, "TIFF"), "not a JPEG, PNG"),
        (JPEG[:-2], "truncated"),
        (JPEG[: len(JPEG) // 2], "[Tt]runcated"),
        (PNG[: len(PNG) // 2], "truncated"),
        (PNG[:60] + bytes([PNG[60] ^ 255]) + PNG[61:], "broken"),
        (encode(PHOTO, "GIF")[:150], None),
        (encode(PHOTO, "BMP")[:400], None),
        (encode(PHOTO, "WEBP")[:100], None),
    ],
    ids=(
        "empty",
        "text",
        "tiff",
        "jpeg without end",
        "half jpeg",
        "half png",
        "damaged png",
        "cut gif",
        "cut bmp",
        "cut webp",
    ),
)
def test_damaged_files_are_rejected(tmp_path, data, reason):
    with pytest.raises(ValueError, match=reason):
        load(tmp_path, data)


@pytest.mark.parametrize("cut", [4, 12, 16])
def test_png_without_its_end_is_repaired(tmp_path, cut):
    # All pixels are there for Pillow, but TensorFlow would refuse the file.
    loaded = load(tmp_path, PNG[:-cut])
    assert np.array_equal(decode(loaded), PIXELS)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        image_files.load(str(tmp_path / "none.jpg"))
