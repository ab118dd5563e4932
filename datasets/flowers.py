"""TensorFlow flowers: photos of five kinds of flowers."""

from datasets import tfrecord_dataset

TABLE = tfrecord_dataset.Table(
    file_pattern="flowers_%s_*.tfrecord",
    splits_to_sizes={"train": 3320, "validation": 350},
    num_classes=5,
    items_to_descriptions={
        "image": "A color image of any size.",
        "label": "0 daisy, 1 dandelion, 2 roses, 3 sunflowers, 4 tulips.",
    },
)

SPLITS_TO_SIZES = TABLE.splits_to_sizes
get_split = TABLE.get_split
