"""Batches of picture files that are in no dataset, prepared as evaluation does."""

import os

from datasets import pictures
from tf_slim_compat import tf


def list_pictures(paths):
    """The picture files among files and folders, in order, each once.

    Folders are searched to the bottom for files with a picture's ending; a file that
    is named itself is taken whatever it is called.

    Raises:
      FileNotFoundError: a path does not exist, or no folder holds a picture.
    """
    found = {}
    for path in paths:
        if not os.path.exists(path):
            raise FileNotFoundError(f"There is no file or folder {path!r}.")
        if not os.path.isdir(path):
            found[path] = None
            continue
        for folder, subfolders, names in os.walk(path):
            subfolders.sort()
            for name in sorted(names):
                if os.path.splitext(name)[1].lower() in pictures.EXTENSIONS:
                    found[os.path.join(folder, name)] = None
    if not found:
        raise FileNotFoundError(f"No picture lies in {', '.join(paths)}.")
    return list(found)


def build_batches(
    paths, preprocessing_fn, image_height, image_width, channels, batch_size, on_error
):
    """Builds the pipeline that reads, decodes, preprocesses and batches files.

    Args:
      paths: picture files; those that cannot be read are left out.
      preprocessing_fn: as for `input_pipeline.build_batches`.
      image_height: of the batch, in pixels.
      image_width: of the batch, in pixels.
      channels: 1 to decode as grey, 3 as colour.
      batch_size: pictures a batch, at most.
      on_error: called with the path and the reason of one that cannot be read.

    Returns:
      A `tf.data.Dataset` of (images float32 [batch, height, width, channels], indices
      of `paths` int64 [batch]).
    """

    def read():
        for index, path in enumerate(paths):
            try:
                yield pictures.load_picture(path).encoded, index
            except (ValueError, OSError) as error:
                on_error(path, str(error))

    def prepare(encoded, index):
        image = tf.io.decode_image(encoded, channels, expand_animations=False)
        return preprocessing_fn(image, image_height, image_width), index

    files = tf.data.Dataset.from_generator(read, (tf.string, tf.int64), ([], []))
    images = files.map(prepare, num_parallel_calls=4, deterministic=True)
    return images.batch(batch_size).prefetch(2)
