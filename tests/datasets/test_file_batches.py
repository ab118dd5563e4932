"""Image files: listed, recognized as plain, and preprocessed as in evaluation."""

import io
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from datasets import dataset_factory, file_batches, image_files, input_pipeline
from preprocessing import preprocessing_factory
from tf_slim_compat import tf

SIZE = 24


def encode(image, image_format, **options):
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def orient(value):
    exif = Image.Exif()
    exif[0x0112] = value
    exif[0x010F] = "camera"
    return exif.tobytes()


@pytest.fixture(scope="module")
def photo(pictures_dir):
    return Image.open(pictures_dir / "dots" / "0.jpg").convert("RGB")


def list_cases(photo):
    """(name, bytes, whether TensorFlow should decode them as they are)."""
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "words")
    jpeg, png = encode(photo, "JPEG"), encode(photo, "PNG")
    wrong_checksum = bytearray(png)
    wrong_checksum[-14] ^= 1
    transparent = photo.convert("RGBA")
    transparent.putalpha(128)
    xmp = b'http://ns.adobe.com/xap/1.0/\0<a tiff:Orientation="6"/>'
    return [
        ("plain.jpg", jpeg, True),
        ("progressive.jpg", encode(photo, "JPEG", progressive=True), True),
        ("gray.jpg", encode(photo.convert("L"), "JPEG"), True),
        ("upright.jpg", encode(photo, "JPEG", exif=orient(1)), True),
        ("rotated.jpg", encode(photo, "JPEG", exif=orient(6)), False),
        ("xmp.jpg", encode(photo, "JPEG", xmp=xmp), False),
        ("cmyk.jpg", encode(photo.convert("CMYK"), "JPEG"), False),
        ("cut.jpg", jpeg[: len(jpeg) // 2], False),
        ("header.jpg", jpeg[:30], False),
        ("padded.jpg", jpeg + bytes(20), True),
        ("plain.png", png, True),
        ("gray.png", encode(photo.convert("L"), "PNG"), True),
        ("palette.png", encode(photo.convert("P"), "PNG"), False),
        ("transparent.png", encode(transparent, "PNG"), False),
        ("rotated.png", encode(photo, "PNG", exif=orient(3)), False),
        ("text.png", encode(photo, "PNG", pnginfo=text), False),
        ("cut.png", png[:-30], False),
        ("checksum.png", bytes(wrong_checksum), False),
        ("photo.webp", encode(photo, "WEBP"), False),
        ("photo.bmp", encode(photo, "BMP"), False),
        ("empty.jpg", b"", False),
        ("text.jpg", b"no image", False),
    ]


def test_plain_files_are_recognized(photo):
    for name, data, expected in list_cases(photo):
        assert image_files.is_plain(data) == expected, name


def test_plain_files_are_those_that_the_converter_keeps(photo, tmp_path):
    for name, data, expected in list_cases(photo):
        if expected:
            (tmp_path / name).write_bytes(data)
            assert image_files.load(str(tmp_path / name)).encoded == data, name


def test_folders_patterns_and_files_are_listed_once(pictures_dir, tmp_path):
    for name in ("b.png", "a.JPG", "c.txt", ".hidden.jpg", "sub/d.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "linked").symlink_to(pictures_dir / "dots")
    (tmp_path / "[1].jpg").touch()
    (tmp_path / "nothing").mkdir()
    failed = {}
    paths = file_batches.list_images(
        [
            str(tmp_path / "c.txt"),
            str(tmp_path),
            str(tmp_path / "*.png"),
            str(tmp_path / "sub" / "**" / "d.jpg"),
            str(tmp_path / "[1].jpg"),
            str(tmp_path / "*.bmp"),
            str(tmp_path / "nothing"),
        ],
        failed.__setitem__,
    )
    names = [path[len(str(tmp_path)) + 1 :] for path in paths]
    assert names[:4] == ["c.txt", "[1].jpg", "a.JPG", "b.png"], names
    assert "sub/d.jpg" in names and "linked/0.jpg" in names
    assert len(names) == 5 + 20
    assert set(failed) == {str(tmp_path / "*.bmp"), str(tmp_path / "nothing")}


def run(build_batches):
    with tf.Graph().as_default(), tf.Session() as session:
        iterator = tf.data.make_initializable_iterator(build_batches())
        next_batch = iterator.get_next()
        session.run([iterator.initializer, tf.tables_initializer()])
        batches = []
        while True:
            try:
                batches.append(session.run(next_batch))
            except tf.errors.OutOfRangeError:
                return [np.concatenate(part) for part in zip(*batches, strict=True)]


@pytest.mark.parametrize("family", ["inception", "vgg"])
def test_images_are_those_of_evaluation(family, pictures_dir, data_dir):
    preprocessing_fn = preprocessing_factory.get_preprocessing(family)
    dataset = dataset_factory.get_dataset("image_folder", "validation", str(data_dir))
    expected, labels = run(
        lambda: input_pipeline.build_batches(
            dataset, preprocessing_fn, SIZE, SIZE, 7, is_training=False
        )
    )
    paths = file_batches.list_images([str(pictures_dir)], print)
    images, indices = run(
        lambda: file_batches.build_batches(preprocessing_fn, SIZE, SIZE, paths, 7, {})
    )
    assert list(indices) == list(range(100)) and images.shape == (100, SIZE, SIZE, 3)
    for image, label in zip(expected, labels, strict=True):
        own = images[20 * label : 20 * label + 20]
        assert np.abs(own - image).max(axis=(1, 2, 3)).min() == 0


def test_what_cannot_be_read_leaves_a_gap_and_a_reason(photo, tmp_path):
    paths = []
    for name, data, _ in list_cases(photo):
        (tmp_path / name).write_bytes(data)
        paths.append(str(tmp_path / name))
    paths += [str(tmp_path / "gone.jpg"), str(tmp_path)]
    reasons = {}
    preprocessing_fn = preprocessing_factory.get_preprocessing("inception")
    _, indices = run(
        lambda: file_batches.build_batches(
            preprocessing_fn, SIZE, SIZE, paths, 5, reasons
        )
    )
    results = list(file_batches.fill_gaps(((i, "seen") for i in indices), len(paths)))
    assert [index for index, _ in results] == list(range(len(paths)))
    unseen = {paths[i].split("/")[-1]: reasons[i] for i, r in results if r is None}
    bad = {"cut.jpg", "header.jpg", "empty.jpg", "text.jpg", "gone.jpg", tmp_path.name}
    assert bad <= set(unseen) <= bad | {"cut.png"}
    assert unseen["empty.jpg"] == "the file is empty"
    assert unseen["gone.jpg"] == "No such file or directory"


def test_damage_that_only_the_decoder_finds_leaves_a_gap_too(photo, tmp_path):
    data = encode(photo, "PNG")
    start = data.index(b"IDAT") + 4
    broken = data[:start] + bytes(40) + data[start + 40 :]
    chunk = broken[start - 4 : broken.rindex(b"IEND") - 8]
    place = broken.rindex(b"IEND") - 8
    checksum = zlib.crc32(chunk).to_bytes(4, "big")
    (tmp_path / "a.png").write_bytes(broken[:place] + checksum + broken[place + 4 :])
    (tmp_path / "b.png").write_bytes(data)
    paths = [str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    preprocessing_fn = preprocessing_factory.get_preprocessing("inception")
    _, indices = run(
        lambda: file_batches.build_batches(preprocessing_fn, SIZE, SIZE, paths, 2, {})
    )
    assert list(indices) == [1]


def test_undecoded_files_come_as_tensorflow_can_decode_them(photo, tmp_path):
    (tmp_path / "a.webp").write_bytes(encode(photo, "WEBP"))
    (tmp_path / "b.jpg").write_bytes(encode(photo, "JPEG"))
    paths = [str(tmp_path / "a.webp"), str(tmp_path / "b.jpg")]
    files, _ = run(lambda: file_batches.build_encoded_batches(paths, 2, {}))
    assert files[1] == (tmp_path / "b.jpg").read_bytes()
    assert files[0].startswith((b"\xff\xd8", b"\x89PNG"))
