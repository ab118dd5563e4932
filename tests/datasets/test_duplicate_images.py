"""Identical images under different labels and in several splits."""

from datasets import duplicate_images
from datasets.image_source import SourceImage


def describe(*images):
    """Returns the sentences about (path, label, split, contents)."""
    finder = duplicate_images.DuplicateFinder("photos")
    for path, label, split, contents in images:
        digest = duplicate_images.compute_digest(contents)
        finder.add(SourceImage(f"photos/{path}", label, None), split, digest)
    return finder.describe()


def test_different_labels_are_reported_with_both_paths():
    [sentence] = describe(
        ("cat/1.jpg", 0, "train", b"a"),
        ("dog/2.jpg", 1, "train", b"b"),
        ("dog/3.jpg", 1, "validation", b"a"),
        ("fox/4.jpg", 2, "train", b"a"),
    )
    assert "different labels: 2, such as 'cat/1.jpg' and 'dog/3.jpg'" in sentence


def test_targets_are_labels_too():
    assert (
        len(describe(("1", (0.5,), "train", b"a"), ("2", (1.5,), "train", b"a"))) == 1
    )


def test_images_in_several_splits_are_reported():
    [sentence] = describe(
        ("cat/1.jpg", 0, "train", b"a"), ("cat/2.jpg", 0, "validation", b"a")
    )
    assert "different splits: 1, such as 'cat/1.jpg' and 'cat/2.jpg'" in sentence


def test_other_duplicates_are_accepted():
    assert not describe(
        ("cat/1.jpg", 0, "train", b"a"),
        ("cat/2.jpg", 0, "train", b"a"),
        ("dog/1.jpg", 1, "train", b"b"),
    )
