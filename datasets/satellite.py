"""Satellite images of six kinds of land cover; a template for a module of your own.

Copy this file, change the table, and register the module with
`dataset_factory.register`.
"""

from datasets import tfrecord_dataset

TABLE = tfrecord_dataset.Table(
    file_pattern="satellite_%s_*.tfrecord",
    splits_to_sizes={"train": 4800, "validation": 1200},
    num_classes=6,
    items_to_descriptions={
        "image": "A color image of 256 by 256 pixels.",
        "label": "0 glacier, 1 rock, 2 urban, 3 water, 4 wetland, 5 wood.",
    },
)

SPLITS_TO_SIZES = TABLE.splits_to_sizes
get_split = TABLE.get_split
