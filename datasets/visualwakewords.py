"""Visual Wake Words: is there a person in the image (Chowdhery et al.,
arXiv:1906.05721)?"""

from datasets import tfrecord_dataset

TABLE = tfrecord_dataset.Table(
    file_pattern="%s.record-*",
    splits_to_sizes={"train": 82783, "val": 40504},
    num_classes=2,
    items_to_descriptions={
        "image": "A color image of any size.",
        "label": "1 if a person is in the image, else 0.",
    },
)

SPLITS_TO_SIZES = TABLE.splits_to_sizes
get_split = TABLE.get_split
