"""MNIST: handwritten digits (LeCun, Cortes and Burges, 1998)."""

from datasets import tfrecord_dataset

TABLE = tfrecord_dataset.Table(
    file_pattern="mnist_%s.tfrecord",
    splits_to_sizes={"train": 60000, "test": 10000},
    num_classes=10,
    items_to_descriptions={
        "image": "A grayscale image of 28 by 28 pixels.",
        "label": "The digit, 0 to 9.",
    },
    channels=1,
    shape=(28, 28, 1),
)

SPLITS_TO_SIZES = TABLE.splits_to_sizes
get_split = TABLE.get_split
