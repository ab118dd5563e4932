"""ImageNet: the names of its labels, and what its records tell of objects."""

import local_site
import numpy as np
import pytest

from datasets import dataset_factory, dataset_utils, imagenet
from tf_slim_compat import tf

NAMES = {0: "background", **{i: f"class {i}, or so" for i in range(1, 1001)}}


@pytest.fixture
def site(tmp_path, monkeypatch):
    """Returns the folder of a server of the public files, and the list of requests."""
    folder, requested = tmp_path / "site", []
    folder.mkdir()
    ids = [f"n{i:08d}" for i in range(1000, 0, -1)]
    (folder / imagenet.CLASSES_FILE).write_text("\n".join(ids) + "\n")
    names = dict(zip(ids, list(NAMES.values())[1:], strict=True))
    names["n99999999"] = "something else"
    lines = [f"{key}\t{name}\n" for key, name in sorted(names.items())]
    (folder / imagenet.NAMES_FILE).write_text("".join(lines))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with local_site.serve(folder, requested) as url:
        monkeypatch.setattr(imagenet, "NAMES_URL", f"{url}/")
        yield folder, requested


def test_names_are_downloaded_once(site):
    for _ in range(2):
        assert imagenet.create_readable_names_for_imagenet_labels() == NAMES
    assert len(site[1]) == 2


def test_without_network_it_says_what_to_do(site):
    folder, _ = site
    (folder / imagenet.NAMES_FILE).unlink()
    with pytest.raises(OSError, match="Cannot download .* Without network give a file"):
        imagenet.create_readable_names_for_imagenet_labels()


def test_public_files_that_lack_a_class(site):
    folder, _ = site
    path = folder / imagenet.CLASSES_FILE
    path.write_text(path.read_text().replace("n00000001", "n77777777"))
    with pytest.raises(ValueError, match="has 999 labels, but ImageNet has 1000"):
        imagenet.create_readable_names_for_imagenet_labels()


def test_names_are_read_from_given_files(tmp_path):
    dataset_utils.write_label_file(NAMES, str(tmp_path))
    read = imagenet.create_readable_names_for_imagenet_labels
    assert read(str(tmp_path)) == read(str(tmp_path / "labels.txt")) == NAMES
    bare = tmp_path / "names.txt"
    bare.write_text("\n".join(list(NAMES.values())[1:]))
    assert read(str(bare)) == NAMES
    bare.write_text("cat\ndog")
    with pytest.raises(ValueError, match="has 2 labels"):
        read(str(bare))
    with pytest.raises(FileNotFoundError, match="There is no file '.*none'"):
        read(str(tmp_path / "none"))


@pytest.mark.parametrize("has_objects", [True, False])
def test_items_of_objects(tmp_path, has_objects):
    example = dataset_utils.image_to_tfexample(bytes(12), b"raw", 2, 2, 7)
    if has_objects:
        feature = example.features.feature
        feature["image/class/text"].bytes_list.value.append(b"cat")
        feature["image/object/class/label"].int64_list.value.extend([7, 7])
        for i, side in enumerate(("xmin", "ymin", "xmax", "ymax")):
            values = [i / 8, (i + 1) / 8]
            feature[f"image/object/bbox/{side}"].float_list.value.extend(values)
    path = tmp_path / "train-00000-of-00001"
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(example.SerializeToString())
    decoder = dataset_factory.get_dataset("imagenet", "train", str(tmp_path)).decoder
    items = ["label", "label_text", "object/bbox", "object/label"]
    assert decoder.list_items() == ["image", *items]
    with tf.Graph().as_default(), tf.Session() as session:
        found = session.run(decoder.decode(example.SerializeToString(), items))
    label, text, boxes, labels = found
    assert (label, text) == (7, b"cat" if has_objects else b"")
    expected = [[1, 0, 3, 2], [2, 1, 4, 3]] if has_objects else np.zeros([0, 4])
    np.testing.assert_array_equal(boxes * 8, expected)
    assert labels.tolist() == ([7, 7] if has_objects else [])
