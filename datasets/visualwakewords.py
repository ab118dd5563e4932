"""Is there a person in the picture (Chowdhery et al., arXiv:1906.05721)?"""

from datasets import tfrecord_dataset

TABLE = tfrecord_dataset.Table(
    file_pattern="%s.record-*",
    splits_to_sizes={"train": 82783, "val": 40504},
    num_classes=2,
    items_to_descriptions={
        "image": "A colour photograph of any size.",
        "label": "1 where a person is in the picture, else 0.",
    },
)

get_split = TABLE.get_split
