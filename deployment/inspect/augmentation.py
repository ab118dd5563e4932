"""Draws a sheet of training images as the network sees them, beside evaluation's."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from deployment.config_flags import SettingError, setting
from deployment.inspect import drawing
from deployment.text import format_count
from tf_slim_compat import as_written, tf

_NUM_IMAGES, _NUM_COPIES = 5, 8
_GAP_PX = 4
# Between evaluation's column and those of training.
_WIDE_GAP_PX = 16
_BACKGROUND = 255
_MOST_SIDE_PX = 224


@dataclasses.dataclass(frozen=True)
class Sheet:
    """What to draw and where; the fields are described by their help texts."""

    show_augmentation: bool = setting(
        False,
        "Draw images as training sees them, beside what evaluation sees, to "
        "--augmentation_png.",
    )
    augment: str | None = setting(
        None,
        "With --show_augmentation, the augmentations, as for "
        "train_image_classifier.py. If unset, those of the run of --checkpoint_path.",
    )
    image_dir: str | None = setting(
        None,
        "With --show_augmentation or --quantization_noise, a folder of images. If "
        "unset, the training images of the run.",
    )
    augmentation_png: str = setting(
        "augmentation.png", "With --show_augmentation, the image file to write."
    )

    def write(
        self,
        build_batches: Callable[[], tf.data.Dataset],
        evaluation_fn: Callable[..., tf.Tensor],
        training_fn: Callable[..., tf.Tensor],
        image_size: int,
        preprocessing_name: str,
    ) -> str:
        """Writes the sheet and returns what it shows.

        Args:
          build_batches: see `take_images`.
          evaluation_fn: see `preprocess`.
          training_fn: see `preprocess`.
          image_size: in pixels.
          preprocessing_name: name of the preprocessing, for the text.

        Raises:
          ValueError: if no image can be read, or the extension of the file is unknown.
          OSError: if the file cannot be written.
        """
        drawing.get_format(self.augmentation_png)  # Fails before the work does.
        images = take_images(build_batches, _NUM_IMAGES)
        if not images:
            raise SettingError(
                f"{{{{image_dir}}}}={self.image_dir} has no readable image: give a "
                "folder with JPEG or PNG files."
            )
        images = [p if p.shape[-1] == 3 else p.repeat(3, -1) for p in images]
        examples = preprocess(
            images, evaluation_fn, training_fn, image_size, _NUM_COPIES
        )
        drawing.write_image(draw_sheet(examples), self.augmentation_png)
        chain = f"--augment={self.augment!r}" if self.augment else "no --augment"
        return (
            f"Drew {format_count(len(images), 'image')} to {self.augmentation_png}: on "
            f"the left as evaluation sees them, then {_NUM_COPIES} times as training "
            f"sees them, with preprocessing {preprocessing_name} and {chain}."
        )


def take_images(
    build_batches: Callable[[], tf.data.Dataset], count: int
) -> list[np.ndarray]:
    """Returns the first images of a pipeline.

    Args:
      build_batches: adds batches of one image, [1, height, width, channels], and
        anything else to the graph.
      count: number of images; fewer if the pipeline ends.

    Returns:
      [height, width, channels] each.
    """
    found = []
    with tf.Graph().as_default(), tf.Session() as session:
        iterator = tf.data.make_initializable_iterator(build_batches().take(count))
        image = iterator.get_next()[0][0]
        session.run([iterator.initializer, tf.tables_initializer()])
        for _ in range(count):
            try:
                found.append(session.run(image))
            except tf.errors.OutOfRangeError:
                break
    return found


def preprocess(
    images: Sequence[np.ndarray],
    evaluation_fn: Callable[..., tf.Tensor],
    training_fn: Callable[..., tf.Tensor],
    image_size: int,
    num_copies: int,
    seed: int = 0,
) -> np.ndarray:
    """Preprocesses images once for evaluation and several times for training.

    Args:
      images: uint8 [height, width, 3] each.
      evaluation_fn: called as `fn(image, height, width)`; returns float32 [height,
        width, channels].
      training_fn: as `evaluation_fn`, with the method `with_seed(seed)`, whose copy i
        of image k is that of the index k * num_copies + i of a stream.
      image_size: height and width of the results, in pixels.
      num_copies: training images made of each image.
      seed: of the stream.

    Returns:
      uint8 [images, 1 + num_copies, image_size, image_size, channels], values scaled
      as before the preprocessing; if it normalizes each image, from its own smallest to
      its own largest value.
    """
    with tf.Graph().as_default(), tf.Session() as session:
        raw = tf.placeholder(tf.uint8, [None, None, 3])
        place = tf.placeholder(tf.int64, [])
        size = (image_size, image_size)
        plain = evaluation_fn(raw, *size)
        seeded = training_fn.with_seed(tf.stack([np.int64(seed), place]))
        random = as_written(seeded)(raw, *size)
        flat = np.zeros((*size, 3), np.uint8)
        ends = [session.run(plain, {raw: flat + value}) for value in (0, 255)]
        low, high = (end.mean((0, 1)) for end in ends)
        rows = []
        for number, image in enumerate(images):
            places = range(number * num_copies, (number + 1) * num_copies)
            row = [session.run(plain, {raw: image})]
            row += [session.run(random, {raw: image, place: i}) for i in places]
            rows.append([_to_pixels(values, low, high) for values in row])
    return np.array(rows)


def draw_sheet(examples: np.ndarray) -> Image.Image:
    """Draws examples in a grid, evaluation's at a distance from training's.

    Args:
      examples: see `preprocess`.

    Returns:
      An image in color.
    """
    rows, columns, height, width, channels = examples.shape
    scale = min(1, _MOST_SIDE_PX / max(height, width))
    height, width = (max(1, round(side * scale)) for side in (height, width))
    sheet = Image.new(
        "RGB",
        (
            columns * (width + _GAP_PX) + _WIDE_GAP_PX,
            rows * (height + _GAP_PX) + _GAP_PX,
        ),
        (_BACKGROUND,) * 3,
    )
    for row in range(rows):
        for column in range(columns):
            pixels = examples[row, column]
            image = Image.fromarray(pixels if channels == 3 else pixels[..., 0])
            x = column * (width + _GAP_PX) + (_WIDE_GAP_PX if column else _GAP_PX)
            y = row * (height + _GAP_PX) + _GAP_PX
            sheet.paste(image.resize((width, height)).convert("RGB"), (x, y))
    return sheet


def _to_pixels(values: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Returns uint8 values, 0 for `low` and 255 for `high`."""
    if np.abs(high - low).min() < 1e-3:
        low, high = values.min(), max(values.max(), values.min() + 1e-3)
    return np.clip(np.rint(255 * (values - low) / (high - low)), 0, 255).astype(
        np.uint8
    )
