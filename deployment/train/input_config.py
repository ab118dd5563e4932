"""How training reads its dataset."""

import dataclasses

from deployment.config_flags import SettingError, setting

_ON_BAD_RECORD = ("stop", "skip")


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

    def __post_init__(self):
        if self.on_bad_record not in _ON_BAD_RECORD:
            raise SettingError(
                "{{on_bad_record}} must be stop or skip, but is "
                f"{self.on_bad_record!r}."
            )
