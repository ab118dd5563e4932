"""Published datasets are downloaded, checked and converted."""

import gzip
import os
import pickle
import random
import re
import shutil
import subprocess

import numpy as np
import published_files
import pytest
from conftest import ROOT
from script_runner import load_flags, run_script

from datasets import (
    dataset_factory,
    dataset_utils,
    download_and_convert_cifar10,
    download_and_convert_flowers,
    download_and_convert_mnist,
    download_and_convert_visualwakewords,
)
from tf_slim_compat import tf

SCRIPT = "download_and_convert_data.py"
# Split to labels in the order of the files, which the first ones begin with.
LABELS = {
    "cifar10": {"train": [*range(10), 0, 1] * 5, "test": [*range(10), 0, 1]},
    "mnist": {"train": [*range(10), 0, 1], "test": [*range(10), 0, 1]},
    "visualwakewords": {"train": [1, 1, 0, 0, 0], "val": [1, 1, 0, 0, 0]},
}
FILES = {
    "cifar10": ["cifar10_test.tfrecord", "cifar10_train.tfrecord"],
    "flowers": [
        f"flowers_{split}_{i:05d}-of-00005.tfrecord"
        for split in ("train", "validation")
        for i in range(5)
    ],
    "mnist": ["mnist_test.tfrecord", "mnist_train.tfrecord"],
    "visualwakewords": [
        *(f"train.record-{i:05d}-of-00100" for i in range(100)),
        *(f"val.record-{i:05d}-of-00010" for i in range(10)),
    ],
}
NAMES = {
    "cifar10": (10, "airplane", "truck"),
    "flowers": (5, "daisy", "tulips"),
    "mnist": (10, "zero", "nine"),
    "visualwakewords": (2, "background", "person"),
}


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Folders of the published files by dataset."""
    folders = {}
    for name in published_files.NAMES:
        folders[name] = tmp_path_factory.mktemp(name)
        published_files.write(name, folders[name])
    return folders


def convert(name, folder, *options):
    return run_script(
        SCRIPT, f"--dataset_name={name}", f"--dataset_dir={folder}", *options
    )


def read(folder, split, name):
    """Returns the decoded images and labels of a split, in the order of the files."""
    dataset = dataset_factory.get_dataset(name, split, str(folder))
    with tf.Graph().as_default(), tf.Session() as session:
        record = tf.placeholder(tf.string, [])
        item = dataset.decoder.decode(record, ["image", "label"])
        found = [
            session.run(item, {record: serialized})
            for path in dataset.data_sources
            for serialized in tf.io.tf_record_iterator(path)
        ]
    return dataset, [image for image, _ in found], [label for _, label in found]


@pytest.mark.parametrize("name", published_files.NAMES)
def test_downloads_and_converts_once(published, tmp_path, name):
    requested = []
    data = tmp_path / "new" / "data"
    with published_files.serve(published[name], requested):
        assert convert(name, data)[:2] == (0, convert_report(name, data))
        assert len(requested) == len(os.listdir(published[name]))
        descriptions = ["dataset_info.json", "labels.txt"]
        assert sorted(os.listdir(data)) == sorted([*FILES[name], *descriptions])
        changed = [os.stat(path).st_mtime_ns for path in data.iterdir()]
        status, out, _ = convert(name, data)
        assert (status, "already holds" in out) == (0, True)
        assert changed == [os.stat(path).st_mtime_ns for path in data.iterdir()]
        assert len(requested) == len(os.listdir(published[name]))
    names = dataset_utils.read_label_file(str(data))
    assert (len(names), names[0], names[len(names) - 1]) == NAMES[name]
    for split, labels in LABELS.get(name, {}).items():
        dataset, images, found = read(data, split, name)
        assert dataset.num_samples == len(found) == len(labels)
        assert found == labels
        assert dataset.labels_to_names == names
        assert dataset_utils.count_labels(dataset).sum() == len(labels)
    if name == "mnist":
        np.testing.assert_array_equal(
            np.array(images)[..., 0], published_files.draw(len(split), (12, 28, 28))
        )
    elif name == "cifar10":
        pixels = published_files.draw(0, (12, 3, 32, 32))
        np.testing.assert_array_equal(images, pixels.transpose(0, 2, 3, 1))


def convert_report(name, folder):
    sizes = {
        "cifar10": "60 train and 12 test",
        "flowers": "30 train and 10 validation",
        "mnist": "12 train and 12 test",
        "visualwakewords": "5 train and 5 val",
    }[name]
    return (
        f"Wrote {sizes} images of {NAMES[name][0]} classes to {folder}. Use them with "
        f"--dataset_name={name} --dataset_dir={folder}.\n"
    )


def test_flowers_are_split_by_the_shuffle_with_seed_0(published, tmp_path):
    source = f"--source_dir={published['flowers']}"
    with published_files.small_flowers():
        assert convert("flowers", tmp_path / "data", source)[0] == 0
    photos = [(label, index) for label in range(5) for index in range(8)]
    random.Random(0).shuffle(photos)
    for split, expected in ("validation", photos[:10]), ("train", photos[10:]):
        dataset, _, labels = read(tmp_path / "data", split, "flowers")
        assert sorted(labels) == sorted(label for label, _ in expected)
        # Round robin over five files.
        assert labels[:2] == [expected[0][0], expected[5][0]]
        assert len(dataset.data_sources) == 5


@pytest.mark.parametrize("name", ["mnist", "cifar10", "visualwakewords"])
def test_files_that_are_there_are_not_downloaded(
    published, tmp_path, monkeypatch, name
):
    source = tmp_path / "source"
    source.mkdir()
    for path in published[name].iterdir():
        if name == "mnist":
            (source / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
        else:
            shutil.unpack_archive(path, source)
    before = sorted(os.listdir(source))
    monkeypatch.setattr("datasets.downloads.download_url", None)
    assert convert(name, tmp_path / "data", f"--source_dir={source}")[0] == 0
    assert sorted(os.listdir(source)) == before
    if name == "cifar10":
        folder = source / "cifar-10-batches-py"
        done = convert(name, tmp_path / "again", f"--source_dir={folder}")
        assert done[0] == 0


def test_run_takes_what_tf_slims_converters_took(published, tmp_path):
    folder = str(tmp_path / "vww")
    with published_files.serve(published["visualwakewords"]):
        download_and_convert_visualwakewords.run(folder, 0.0, "dog")
    with published_files.serve(published["mnist"]):
        download_and_convert_mnist.run(str(tmp_path / "mnist"))
    assert read(folder, "val", "visualwakewords")[2] == [0, 1, 0, 1, 0]
    assert dataset_utils.read_labels(folder) == {0: "background", 1: "dog"}
    with published_files.small_flowers():
        download_and_convert_flowers.run(
            str(tmp_path / "flowers"), str(published["flowers"])
        )
    download_and_convert_cifar10.run(str(tmp_path / "c"), str(published["cifar10"]))


def test_interrupted_downloads_continue_and_leave_no_dataset(published, tmp_path):
    site, data = tmp_path / "site", tmp_path / "data"
    shutil.copytree(published["mnist"], site)
    lost = site / "t10k-labels-idx1-ubyte.gz"
    contents = lost.read_bytes()
    with published_files.serve(site):
        lost.unlink()
        status, _, err = convert("mnist", data)
        assert status == 1 and "Run the same command again" in err
        assert os.listdir(data) == [".downloads"]
        # As if it had been killed amid a download.
        (data / ".downloads" / f"{lost.name}.partial").write_bytes(contents[:100])
        lost.write_bytes(contents)
        requested = []
    with published_files.serve(site, requested):
        assert convert("mnist", data)[0] == 0
    assert requested == [f"/{lost.name}"]
    assert not (data / ".downloads").exists()


def test_a_wrong_checksum_is_an_error_and_not_kept(published, tmp_path):
    data = tmp_path / "data"
    for name in "mnist", "cifar10":
        with published_files.serve(published[name]):
            for path in (tmp_path / "site", data):
                shutil.rmtree(path, ignore_errors=True)
            shutil.copytree(published[name], tmp_path / "site")
        with published_files.serve(tmp_path / "site"):
            for path in (tmp_path / "site").iterdir():
                path.write_bytes(path.read_bytes() + b"\0")
            status, _, err = convert(name, data)
        assert status == 1 and "another checksum" in err
        assert not data.exists()


def test_an_interrupted_conversion_is_repeated(published, tmp_path, monkeypatch):
    data = tmp_path / "data"
    source = f"--source_dir={published['mnist']}"
    with monkeypatch.context() as patch:
        patch.setattr(
            "datasets.dataset_folder.publish", lambda *_: (_ for _ in ()).throw(OSError)
        )
        assert convert("mnist", data, source)[0] == 1
    assert not data.exists()
    assert convert("mnist", data, source)[0] == 0
    # TF-Slim's converters leave no dataset_info.json.
    (data / "dataset_info.json").unlink()
    assert "already holds" in convert("mnist", data, source)[1]
    (data / "mnist_test.tfrecord").unlink()
    status, _, err = convert("mnist", data, source)
    assert status == 1 and "pass --overwrite" in err
    assert convert("mnist", data, source, "--overwrite")[0] == 0
    status, _, err = convert("cifar10", data)
    assert status == 1 and "already holds the dataset 'mnist'" in err


class Trap:
    def __reduce__(self):
        return os.system, ("touch trapped",)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({b"data": Trap(), b"labels": []}, "asks for posix.system"),
        ({b"data": np.zeros((1, 3072)), b"labels": [0]}, "not unsigned bytes"),
        ({b"data": np.zeros((1, 30), np.uint8), b"labels": [0]}, "the shape"),
        ({b"data": np.zeros((1, 3072), np.uint8), b"labels": [10]}, "its labels"),
        ({b"data": np.zeros((1, 3072), np.uint8), b"labels": []}, "its labels"),
        ({b"data": np.array([Trap()]), b"labels": []}, "asks for posix.system"),
        ([1], ""),
    ],
)
def test_pickles_run_nothing(tmp_path, monkeypatch, batch, message):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "data_batch_1"
    path.write_bytes(pickle.dumps(batch, protocol=2))
    with pytest.raises(ValueError, match=f"not a file of CIFAR-10 .*{message}"):
        download_and_convert_cifar10.read_batch(str(path))
    path.write_bytes(pickle.dumps(batch, protocol=2)[:-20])
    with pytest.raises(ValueError, match="is damaged"):
        download_and_convert_cifar10.read_batch(str(path))
    assert not (tmp_path / "trapped").exists()


def test_damaged_idx_files(tmp_path):
    whole = published_files.encode_idx(np.zeros((2, 28, 28)))
    labels = published_files.encode_idx(np.zeros(2))
    for name, contents in {
        "a": whole[:-1],
        "b": whole[:7],
        "c": labels,
        "d": b"",
        "e.gz": whole,
        "f": bytes(16) + whole,
    }.items():
        (tmp_path / name).write_bytes(contents)
        with pytest.raises(ValueError, match=f"{name}' is "):
            download_and_convert_mnist.read_idx(str(tmp_path / name), rank=3)
    for name, contents in zip(
        ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
        (whole, published_files.encode_idx(np.array([1, 10]))),
        strict=True,
    ):
        (tmp_path / name).write_bytes(contents)
    status, _, err = convert("mnist", tmp_path / "data", f"--source_dir={tmp_path}")
    assert status == 1 and "labels up to 10" in err


def test_mistakes_are_one_sentence(published, tmp_path):
    data = tmp_path / "data"
    coco = f"--source_dir={published['visualwakewords']}"
    for arguments, message in [
        ([], "--dataset_name is missing"),
        (["--dataset_name=mnist"], "--dataset_dir is missing"),
        (["--dataset_name=mnist", f"--dataset_dir={data}", "--source_dir=none"],
         "There is no folder 'none'"),
        (["--dataset_name=mnist", f"--dataset_dir={data}", coco],
         "There is no train-images-idx3-ubyte.gz"),
        (["--dataset_name=visualwakewords", f"--dataset_dir={data}", coco,
          "--foreground_class_of_interest=cow"], "its classes are person, dog"),
        (["--dataset_name=visualwakewords", f"--dataset_dir={data}",
          "--small_object_area_threshold=5"], "must be at least 0 and less than 1"),
        (["--dataset_name=flowers", f"--dataset_dir={data}",
          f"--source_dir={published['flowers']}"], "has 40 images"),
    ]:  # fmt: skip
        status, _, err = run_script(SCRIPT, *arguments)
        assert (status, message in err) == (1, True), err
        assert err.strip().count("\n") == 0, err
        assert not data.exists()


@pytest.mark.parametrize("path", sorted((ROOT / "scripts").glob("*.sh")), ids=str)
def test_shell_scripts_parse(path):
    subprocess.run(["bash", "-n", path], check=True)
    assert os.access(path, os.X_OK)


def test_shell_scripts_give_flags_that_exist():
    scripts = (SCRIPT, "train_image_classifier.py", "eval_image_classifier.py")
    known = set().union(*map(load_flags, scripts), {"flag"})
    for path in (ROOT / "scripts").glob("*_on_*.sh"):
        assert known.issuperset(re.findall(r"--(\w+)", path.read_text())), path


@pytest.mark.slow
def test_lenet_on_mnist(published, tmp_path):
    done = subprocess.run(
        [ROOT / "scripts" / "train_lenet_on_mnist.sh", "--max_number_of_steps=2"],
        env=os.environ
        | {
            "DATASET_DIR": str(tmp_path / "data"),
            "SOURCE_DIR": str(published["mnist"]),
            "TRAIN_DIR": str(tmp_path / "run"),
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "\naccuracy  " in done.stdout
