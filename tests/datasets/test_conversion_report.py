"""The summary of a converted dataset."""

from datasets import conversion_report, dataset_info


def test_many_classes_make_a_short_table(tmp_path):
    info = dataset_info.DatasetInfo(
        name="x",
        class_names=tuple(f"class{i}" for i in range(1000)),
        splits={"train": (dataset_info.Shard("f", 1, 1000),)},
        labels={"train": {"class_counts": [1] * 1000}},
    )
    text = conversion_report.describe(info, "my data")
    lines = text.splitlines()
    assert sum(line.startswith("class") for line in lines) == 31
    assert "(970 more)" in lines[31]
    assert "--dataset_dir='my data'" in text


def describe(counts):
    """Returns the lines about a dataset of {split: images of each class}."""
    info = dataset_info.DatasetInfo(
        name="x",
        class_names=("cat", "dog"),
        splits={s: (dataset_info.Shard("f", 1, sum(n)),) for s, n in counts.items()},
        labels={s: {"class_counts": n} for s, n in counts.items()},
        notes=("Splits: train from 'Train'.",),
    )
    return conversion_report.describe(info, "data").splitlines()


def test_notes_and_missing_images_are_shown():
    lines = describe({"train": [3, 4], "validation": [2, 0], "test": [0, 0]})
    assert lines[4:7] == [
        "Splits: train from 'Train'.",
        "Warning: no validation images of 'dog'.",
        "Warning: no test images of 'cat' and 'dog'.",
    ]
    assert "Warning: no validation images." in describe({"train": [3, 4]})


def test_suggested_commands_suit_the_number_of_images():
    for num_images, size, steps in [
        (192, 96, 1000),
        (4800, 128, 4500),
        (50000, 224, 46900),
    ]:
        lines = describe({"train": [num_images, 0], "validation": [1, 1]})
        flags = " ".join(lines[lines.index("Written to data. Next:") :]).split()
        assert f"--train_image_size={size}" in flags
        assert f"--max_number_of_steps={steps}" in flags
        assert "--eval_split_name=validation" in flags
        assert lines[-1] == "  python eval_image_classifier.py --checkpoint_path=run"
    lines = describe({"train": [3, 4]})
    assert "--eval_split_name" not in "".join(lines)
    assert lines[-1].endswith(" --dataset_split_name=train")
