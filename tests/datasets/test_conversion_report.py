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
    assert len(text.splitlines()) < 40
    assert "970 more" in text
    assert "--dataset_dir='my data'" in text
