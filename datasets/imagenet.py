"""ImageNet, the challenge of 2012 (Russakovsky et al., arXiv:1409.0575).

Label 0 is a background class without images: `--labels_offset=1` leaves it out for
networks with 1,000 classes, such as the published ResNet and VGG checkpoints.
"""

from datasets import tfrecord_dataset

TABLE = tfrecord_dataset.Table(
    file_pattern="%s-*",
    splits_to_sizes={"train": 1281167, "validation": 50000},
    num_classes=1001,
    items_to_descriptions={
        "image": "A color image of any size.",
        "label": "0 is the background, 1 to 1000 the class.",
    },
)

get_split = TABLE.get_split
