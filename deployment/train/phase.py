"""What sets a part of a run apart from the others; see `phases.py`."""

from collections.abc import Sequence
from typing import NamedTuple

from deployment.config_flags import SettingError


class Phase(NamedTuple):
    """A part of a run, which trains other variables or on other images than the next.

    Attributes:
      begin: if above 0, the step with whose checkpoint it begins, which may lack the
        optimizer's state of variables that were not trained before.
      end: the step to end at; None for the end of the run.
      end_progress: in a run with a time budget, the fraction of it to end at.
      image_size: of its images, in pixels; None for that of the model.
    """

    begin: int = 0
    end: int | None = None
    end_progress: float | None = None
    image_size: int | None = None


def parse_sizes(texts: Sequence[str]) -> tuple[int, ...]:
    """Returns image sizes as numbers.

    Raises:
      SettingError: if one is none.
    """
    if not all(text.isdecimal() for text in texts):
        raise SettingError(
            "{{progressive_sizes}} must be numbers of pixels, such as 96,160, but is "
            f"{','.join(texts)!r}."
        )
    return tuple(map(int, texts))
