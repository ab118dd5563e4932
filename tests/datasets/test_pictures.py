"""Every kind of picture becomes a JPEG or PNG that TensorFlow decodes."""

import io

import numpy as np
import pytest
from PIL import Image

from datasets import pictures
from tf_slim_compat import tf

ORIENTATION = 0x0112
# Four flat quarters, so that turning shows and lossy encoding hardly matters.
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


def load(tmp_path, data, name="picture"):
    path = tmp_path / name
    path.write_bytes(data)
    return pictures.load_picture(str(path))


def decode(picture):
    """Decodes as training does, and compares with what the picture says of itself."""
    with tf.Graph().as_default(), tf.Session() as session:
        is_jpeg, image = session.run(
            [
                tf.io.is_jpeg(picture.encoded),
                tf.io.decode_image(picture.encoded, 3, expand_animations=False),
            ]
        )
    assert picture.format == ("jpeg" if is_jpeg else "png")
    assert image.shape == (picture.height, picture.width, 3)
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
    ids=["jpeg", "progressive", "grey jpeg", "two pictures", "png", "grey png"],
)
def test_plain_files_are_kept_byte_for_byte(tmp_path, data, kind):
    picture = load(tmp_path, data, "misnamed.gif")
    assert picture == pictures.Picture(data, kind, HEIGHT, WIDTH)
    decode(picture)


GREY = np.linspace(0, 255, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.uint8)


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
def test_other_files_are_encoded_anew(tmp_path, image, kind, stored, tolerance):
    data = encode(image, kind)
    picture = load(tmp_path, data)
    assert picture.format == stored
    assert picture.encoded != data
    assert_close(decode(picture), PIXELS, tolerance)


@pytest.mark.parametrize(("lossless", "stored"), [(True, "png"), (False, "jpeg")])
@pytest.mark.parametrize("extended", [True, False])
def test_webp(tmp_path, lossless, stored, extended):
    options = {"exif": Image.Exif().tobytes()} if extended else {}
    data = encode(PHOTO, "WEBP", lossless=lossless, **options)
    picture = load(tmp_path, data)
    assert picture.format == stored
    assert_close(decode(picture), PIXELS, 0 if lossless else 6)


def test_one_bit_png_is_grey(tmp_path):
    picture = load(tmp_path, encode(Image.fromarray(GREY > 99), "PNG"))
    assert Image.open(io.BytesIO(picture.encoded)).mode == "L"
    assert np.array_equal(decode(picture)[..., 0], np.where(GREY > 99, 255, 0))


def test_sixteen_bits_keep_the_upper_eight(tmp_path):
    deep = GREY.astype(np.uint16) * 256 + 77
    picture = load(tmp_path, encode(Image.fromarray(deep), "PNG"))
    assert np.array_equal(decode(picture), np.stack([GREY] * 3, -1))


def test_transparent_pictures_are_laid_on_white(tmp_path):
    for kind, options in [("PNG", {}), ("WEBP", {"lossless": True})]:
        image = PHOTO.copy()
        image.putalpha(Image.fromarray(np.where(GREY > 99, 255, 0).astype(np.uint8)))
        picture = load(tmp_path, encode(image, kind, **options))
        expected = np.where(GREY[..., None] > 99, PIXELS, 255)
        assert np.array_equal(decode(picture), expected), kind


def test_transparent_colour_of_a_grey_png_and_of_a_gif(tmp_path):
    grey = Image.fromarray(np.where(GREY > 99, 40, 7).astype(np.uint8))
    expected = np.where(GREY > 99, 40, 255)
    for kind in "PNG", "GIF":
        picture = load(tmp_path, encode(grey, kind, transparency=7))
        assert np.array_equal(decode(picture)[..., 0], expected), kind


def test_grey_with_alpha_stays_grey(tmp_path):
    image = Image.merge("LA", [Image.fromarray(GREY), Image.new("L", (WIDTH, HEIGHT))])
    picture = load(tmp_path, encode(image, "PNG"))
    assert Image.open(io.BytesIO(picture.encoded)).mode == "L"
    assert (decode(picture) == 255).all()


def test_an_animation_gives_its_first_picture(tmp_path):
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
    picture = load(tmp_path, data)
    assert_close(decode(picture), upright, 0 if kind == "PNG" else 6)
    assert (picture.encoded == data) == (orientation == 1 and kind != "WEBP")


def test_damaged_exif_is_passed_over(tmp_path):
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
def test_damaged_files_are_refused(tmp_path, data, reason):
    with pytest.raises(ValueError, match=reason):
        load(tmp_path, data)


@pytest.mark.parametrize("cut", [4, 12, 16])
def test_png_without_its_end_is_mended(tmp_path, cut):
    # All pixels are there for Pillow, but TensorFlow would refuse the file.
    picture = load(tmp_path, PNG[:-cut])
    assert np.array_equal(decode(picture), PIXELS)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        pictures.load_picture(str(tmp_path / "none.jpg"))
