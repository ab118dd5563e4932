"""ImageNet, the challenge of 2012 (Russakovsky et al., arXiv:1409.0575).

Label 0 is a background class without images: `--labels_offset=1` leaves it out for
networks with 1,000 classes, such as the published ResNet and VGG checkpoints.
"""

import os

from datasets import dataset_utils, downloads, tfrecord_dataset

# Two text files: the ID of each class, such as n01440764, in the order of the labels;
# and ID and names, separated by a tab, of these and other classes.
NAMES_URL = (
    "https://raw.githubusercontent.com/tensorflow/models/master/research/slim/datasets/"
)
CLASSES_FILE = "imagenet_lsvrc_2015_synsets.txt"
NAMES_FILE = "imagenet_metadata.txt"
_BACKGROUND = "background"
_NUM_NAMES = 1000

TABLE = tfrecord_dataset.Table(
    file_pattern="%s-*",
    splits_to_sizes={"train": 1281167, "validation": 50000},
    num_classes=1001,
    items_to_descriptions={
        "image": "A color image of any size.",
        "label": "0 is the background, 1 to 1000 the class.",
        "label_text": "The name of the class.",
        "object/bbox": "The boxes of its objects, as far as they are known.",
        "object/label": "The class of each box.",
    },
)

SPLITS_TO_SIZES = TABLE.splits_to_sizes
get_split = TABLE.get_split


def create_readable_names_for_imagenet_labels(
    path: str | None = None,
) -> dict[int, str]:
    """Returns the names of the labels, 0 (background) to 1000.

    Args:
      path: a folder with `labels.txt`, or a file: of lines `0:background`, or of 1,000
        or 1,001 names in the order of the labels. If None, the two public text files
        are downloaded once and kept in the user's cache folder.

    Raises:
      ValueError: if a file does not name all labels.
      OSError: if a file is missing or cannot be downloaded.
    """
    if path is None:
        names, path = _fetch_names()
    else:
        if os.path.isdir(path):
            path = os.path.join(path, dataset_utils.LABELS_FILENAME)
        if not os.path.isfile(path):
            raise FileNotFoundError(
                f"There is no file {path!r} with the names of ImageNet's labels: give "
                "another, or none to download them."
            )
        names = dataset_utils.read_label_file(*os.path.split(path))
    if set(names) == set(range(_NUM_NAMES)):
        names = {0: _BACKGROUND, **{label + 1: name for label, name in names.items()}}
    if set(names) != set(range(_NUM_NAMES + 1)):
        raise ValueError(
            f"{path!r} has {len(names)} labels, but ImageNet has {_NUM_NAMES}, and one "
            "for the background: replace the file."
        )
    return names


def _fetch_names() -> tuple[dict[int, str], str]:
    """Returns label to name from the public files, and the path of the first."""
    parent = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = os.path.join(parent, "slim-image-classifier", "imagenet")
    os.makedirs(folder, exist_ok=True)
    lines = []
    for name in (CLASSES_FILE, NAMES_FILE):
        path = os.path.join(folder, name)
        if not os.path.exists(path):
            try:
                downloads.download_url(NAMES_URL + name, folder)
            except OSError as error:
                raise OSError(
                    f"{error} Without network give a file with the names of the "
                    "labels, such as labels.txt of a converted dataset."
                ) from error
        with open(path, encoding="utf-8") as file:
            lines.append(file.read().splitlines())
    ids = [line.strip() for line in lines[0] if line.strip()]
    names = dict(line.split("\t", 1) for line in lines[1] if "\t" in line)
    known = {i: names[key].strip() for i, key in enumerate(ids) if key in names}
    return known, os.path.join(folder, CLASSES_FILE)
