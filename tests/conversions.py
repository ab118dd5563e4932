"""Converting a few drawn images, and reading what was written."""

from PIL import Image

from datasets import convert_images
from tf_slim_compat import tf


def draw(path, color=(9, 99, 199)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6), color).save(path)


def draw_pets(folder):
    """Draws ten images of cats and six of dogs; returns the folder."""
    for name, count in [("cat", 10), ("dog", 6)]:
        for index in range(count):
            draw(folder / name / f"{index}.png", (index, 0, 0))
    return folder


def convert(source, **options):
    options = {"dataset_dir": source.parent / "data", "workers": 1, **options}
    options["dataset_dir"] = str(options["dataset_dir"])
    return convert_images.convert(
        convert_images.ConvertConfig(source=str(source), **options)
    )


def read(dataset_dir, split=""):
    """Returns the features of all records, as {key: value}, shard by shard."""
    records = []
    for path in sorted(dataset_dir.glob("*.tfrecord")):
        if split not in path.name:
            continue
        for record in tf.io.tf_record_iterator(str(path)):
            feature = tf.train.Example.FromString(record).features.feature
            records.append(
                {
                    key: (value.bytes_list.value or value.int64_list.value)[0]
                    for key, value in feature.items()
                }
            )
    return records
