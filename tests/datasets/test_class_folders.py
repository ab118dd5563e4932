"""Which folders are classes, which are splits, and which sources are rejected."""

import collections
import os

import pytest

from datasets import class_folders


@pytest.fixture
def make(tmp_path):
    """Returns a function that makes empty files and returns their folder."""

    def make_files(*names):
        for name in names:
            path = tmp_path / "photos" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return str(tmp_path / "photos")

    return make_files


def make_splits(make, *splits, classes=("cat", "dog")):
    return make(*(f"{split}/{kind}/1.jpg" for split in splits for kind in classes))


def list_files(source):
    """Returns {split: sorted paths relative to the class folders}."""
    found = collections.defaultdict(list)
    for image in class_folders.scan(source).images:
        kind, name = image.path.rsplit("/", 2)[1:]
        found[image.split].append(f"{kind}/{name}")
    return dict(found)


@pytest.mark.parametrize(
    ("folders", "splits"),
    [
        (("train", "validation"), ("train", "validation")),
        (("Train", "Validation"), ("train", "validation")),
        (("train", "valid"), ("train", "validation")),
        (("training", "VAL"), ("train", "validation")),
        (("train", "dev", "Testing"), ("train", "validation", "test")),
        (("training_set", "Valid", "test set"), ("train", "validation", "test")),
        (("Train", "Test"), (None, "test")),
        (("TRAIN",), (None,)),
    ],
)
def test_folders_of_splits(make, folders, splits):
    source = make_splits(make, *folders)
    assert list_files(source) == {split: ["cat/1.jpg", "dog/1.jpg"] for split in splits}
    scanned = class_folders.scan(source)
    assert scanned.names == ("cat", "dog")
    for folder, split in zip(folders, splits, strict=True):
        assert f"{split or 'train'} from {folder!r}" in scanned.notes[0]
    has_validation = "validation" in splits
    assert (len(scanned.notes) == 1) == has_validation
    assert has_validation or "held out" in scanned.notes[1]


def test_what_is_no_split_is_left_out(make):
    make_splits(make, "train", "val")
    source = make("notes/plan.jpg", "test/1.jpg", "models/checkpoint", "stray.jpg")
    assert set(list_files(source)) == {"train", "validation"}
    notes = class_folders.scan(source).notes
    assert "Left out 'notes' and 'test'" in notes[0]
    assert "beside the class folders: 1, such as 'stray.jpg'" in notes[2]


def test_a_class_may_be_called_train(make):
    source = make("bus/1.jpg", "train/1.jpg", "tram/1.jpg")
    assert class_folders.scan(source).names == ("bus", "train", "tram")


def test_a_single_folder_around_the_classes_is_no_class(make):
    source = make("photos/pets/cat/1.jpg", "photos/pets/dog/1.jpg")
    scanned = class_folders.scan(source)
    assert scanned.names == ("cat", "dog")
    assert scanned.notes == (
        f"Read from '{source}/photos/pets', the only folder in it.",
    )


def test_a_folder_that_links_to_itself_ends(make, tmp_path):
    source = make("again/note.txt")
    (tmp_path / "photos" / "again" / "more").symlink_to(tmp_path / "photos")
    with pytest.raises(ValueError, match="hold no JPEG"):
        class_folders.scan(source)


def test_images_beside_class_folders_are_counted(make):
    source = make("cat/1.jpg", "dog/1.jpg", "b.png", "a.jpg", "notes.txt")
    scanned = class_folders.scan(source)
    assert len(scanned.images) == 2
    assert scanned.notes == (
        "Left out images beside the class folders: 2, such as 'a.jpg'.",
    )


def test_names_that_differ_only_in_case_are_reported(make):
    scanned = class_folders.scan(make("Cat/1.jpg", "cat/1.jpg"))
    assert scanned.names == ("Cat", "cat")
    assert "'Cat' and 'cat' are separate classes" in scanned.notes[0]


def test_links_nesting_and_other_files(make, tmp_path):
    source = tmp_path / "photos"
    make("cat/1.jpg", "cat/kittens/young/0.png", "dog/1.jpg")
    make("../elsewhere/far.png", "../third/bird.png")
    (source / "cat" / "linked").symlink_to(tmp_path / "elsewhere")
    (source / "dog" / "linked.jpg").symlink_to(tmp_path / "elsewhere" / "far.png")
    (source / "bird").symlink_to(tmp_path / "third")
    # Cycles, which must neither hang nor count twice.
    (source / "cat" / "again").symlink_to(source / "cat")
    (source / "dog" / "up").symlink_to(source)
    make("dog/a.txt", "dog/b.TXT")
    scanned = class_folders.scan(str(source))
    assert scanned.names == ("bird", "cat", "dog")
    assert list_files(str(source)) == {
        None: ["bird/bird.png", "cat/1.jpg", "young/0.png", "linked/far.png"]
        + ["dog/1.jpg", "dog/linked.jpg"]
    }
    assert scanned.others == {".txt": 2}


def test_litter_of_the_system_is_ignored(make):
    source = make(
        *("cat/1.jpg", "dog/1.jpg", ".DS_Store", "cat/.DS_Store", "cat/Thumbs.db"),
        *("__MACOSX/cat/._1.jpg", "cat/._1.jpg", "cat/@eaDir/1.jpg", "desktop.ini"),
        *("cat/.cache/1.png", ".thumbnails/1.png"),
    )
    scanned = class_folders.scan(source)
    assert (scanned.names, len(scanned.images)) == (("cat", "dog"), 2)
    assert not scanned.others and not scanned.notes


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["cat"], "holds no folders"),
        (["1.png"], "holds no folders"),
        (["cat/a.txt", "dog/b.heic"], "hold no JPEG.*1 .txt, 1 .heic"),
        (["cat/1.png"], "single class 'cat'"),
        (["cat/1.png", "dog/a.txt"], "no images to train on .*'dog'"),
        (
            ["train/a/1.png", "train/b/1.png", "validation/c/1.png"],
            "no images to train on .*'c'",
        ),
        (
            ["train/cats/1.png", "train/Dog/1.png", "val/cats/1.png", "val/dog/1.png"],
            "no images to train on .*'dog'.* There are images of 'Dog'",
        ),
        (
            ["2019/water/1.jpg", "2019/wood/1.jpg", "2020/urban/1.jpg"],
            r"2019' holds no images itself, only folders \('water' and 'wood'\), so "
            "the classes could be '2019' and '2020' or 'urban', 'water' and 'wood'",
        ),
        (["cat/1.png", "dog/poodle/1.png"], "dog' holds no images itself"),
        (["train/2019/cat/1.png", "train/2020/cat/1.png"], "'2019' and '2020' or"),
        (["Train/1.jpg", "Test/1.jpg"], "'Test' and 'Train' .* hold no class folders"),
        (["train/1.jpg"], "'train' .* no class folders"),
        (
            ["train/cat/1.jpg", "cat/1.jpg", "dog/1.jpg"],
            r"mixes folders of splits \('train'\) with others \('cat' and 'dog'\)",
        ),
        (["test/cat/1.jpg", "test/dog/1.jpg"], "'test' but no training images"),
        (["val/a/1.jpg", "test/a/1.jpg"], "'test' and 'val' but no training images"),
        (
            ["train/a/1.jpg", "val/a/1.jpg", "Valid/a/1.jpg"],
            "'Valid' and 'val' .* would all be the validation split",
        ),
    ],
)
def test_sources_that_make_no_dataset(make, files, message):
    with pytest.raises(ValueError, match=message):
        class_folders.scan(make(*files))


def test_folders_that_cannot_be_listed(make, tmp_path, monkeypatch):
    source = make("cat/1.jpg", "cat/more/1.jpg", "dog/1.jpg")
    scandir = os.scandir

    def refuse(path):
        if os.fspath(path).endswith("more"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError):
        class_folders.scan(source)
