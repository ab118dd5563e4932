"""CIFAR-10: tiny images of animals and vehicles, ten classes (Krizhevsky, 2009)."""

from datasets import tfrecord_dataset

TABLE = tfrecord_dataset.Table(
    file_pattern="cifar10_%s.tfrecord",
    splits_to_sizes={"train": 50000, "test": 10000},
    num_classes=10,
    items_to_descriptions={
        "image": "A color image of 32 by 32 pixels.",
        "label": "0 airplane, 1 automobile, 2 bird and so on, to 9 truck.",
    },
    shape=(32, 32, 3),
)

SPLITS_TO_SIZES = TABLE.splits_to_sizes
get_split = TABLE.get_split
