"""How training reads its dataset."""

import dataclasses
from typing import Any

from deployment import ranges
from deployment.config_flags import SettingError, setting
from deployment.train import available_memory

_ON_BAD_RECORD = ("stop", "skip")
_CACHES = ("auto", "ram", "disk", "off")


@dataclasses.dataclass(frozen=True)
class InputConfig:
    """Settings of the training images; the fields are described by their help texts."""

    balanced_sampling: bool = setting(
        False, "Whether to sample images of all classes equally often."
    )
    on_bad_record: str = setting(
        "stop",
        "What to do with training images that cannot be decoded or have a wrong label: "
        "stop, or skip them, the next image taking their place, up to 1 % of the "
        "images and at most 100.",
        choices=_ON_BAD_RECORD,
    )
    cache: str = setting(
        "auto",
        "Where to keep decoded training images, so that epochs after the first decode "
        "nothing: ram; disk, in a file below $XDG_CACHE_HOME (by default ~/.cache) "
        "that the next run uses as well; off; or auto: ram if they have 100,000 pixels "
        "or more on average and take at most 30 % of the free memory, else off. "
        "Training is the same.",
        choices=_CACHES,
    )
    augment: str | None = setting(
        None,
        "Augmentations of training images, joined by |, such as "
        "'random_resized_crop(0.35, 1)|flip|randaugment(2, 9)|erase(0.25)'. There are "
        "affine (rotation_range, zoom_range and so on as in Keras' "
        "ImageDataGenerator), augmix, blur, brightness, color_jitter, erase, flip_lr, "
        "flip_ud, grayscale, letterbox, randaugment, random_resized_crop, rot90 and "
        "trivialaugment; preprocessing/augment describes their arguments, and "
        "inspect_model.py --show_augmentation draws examples. random_resized_crop "
        "replaces all distortions of the preprocessing; letterbox keeps images whole, "
        "in "
        "evaluation and exported models too.",
    )
    num_readers: int = setting(4, "Number of files to read in parallel.")
    num_preprocessing_threads: int = setting(
        4, "Number of images to decode in parallel."
    )

    def __post_init__(self):
        ranges.check(
            self,
            num_readers=ranges.AT_LEAST_ONE,
            num_preprocessing_threads=ranges.AT_LEAST_ONE,
        )
        if self.on_bad_record not in _ON_BAD_RECORD:
            raise SettingError(
                "{{on_bad_record}} must be stop or skip, but is "
                f"{self.on_bad_record!r}."
            )
        if self.cache not in _CACHES:
            raise SettingError(
                f"{{{{cache}}}} must be auto, ram, disk or off, but is {self.cache!r}."
            )

    def list_reading_options(self, master: str = "") -> dict[str, Any]:
        """Returns the settings as options of `input_pipeline.build_batches`.

        Args:
          master: address of the TensorFlow server that reads the images; '' for this
            process.

        Raises:
          SettingError: if a cache is asked for that another process would need.
        """
        cache = self.cache
        if master and cache in ("ram", "disk"):
            raise SettingError(
                f"{{{{cache}}}}={cache} keeps images in this process, but "
                f"{{{{master}}}}={master} reads them: use {{{{cache}}}}=off."
            )
        return {
            "num_readers": self.num_readers,
            "skip_bad_records": self.on_bad_record == "skip",
            "cache": "off" if master else cache,
            "free_memory": available_memory.find_available(),
        }
