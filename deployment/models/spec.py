"""The specification of a trained model: what is needed to build, feed and read it."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

import checked_json
from checked_json import Decay, Finite, ImageSize, Int64, Name, Names, NumClasses, Texts


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """What a trained model is, apart from its weights.

    Training writes it into the run card, export into every file that it writes, and
    evaluation, prediction and inspection read it from there.

    Attributes:
      task: the name of the task; see `deployment.tasks`.
      model_name: the network's name in `nets_factory`; None if unknown.
      num_outputs: the network's outputs. A classifier trained with a label offset has
        fewer outputs than its dataset has classes.
      output_names: the name of each output; None if unknown.
      labels_offset: output i stands for label i + labels_offset of the dataset.
      image_size: height and width of the input, in pixels; None if unknown.
      use_grayscale: whether the input has one channel instead of three.
      preprocessing_name: the preprocessing's name; None if unknown.
      moving_average_decay: decay of the weights' moving averages; None if training
        kept none.
      quantize: whether it was trained with fake quantization; see
        `deployment.quantize`.
      quantize_per_channel: whether each channel of the weights has its own range.
      task_state: what the task has learned from the data and needs for prediction,
        such as thresholds or the mean and scale of targets; JSON values.
      user_modules: files or module names to import before the model is built.
    """

    task: Name = "classification"
    model_name: Name | None
    num_outputs: NumClasses
    output_names: Names | None = None
    labels_offset: Int64 = 0
    image_size: ImageSize | None = None
    use_grayscale: bool = False
    preprocessing_name: Name | None = None
    moving_average_decay: Decay | None = None
    quantize: bool = False
    quantize_per_channel: bool = False
    task_state: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    user_modules: Texts = ()

    def __post_init__(self):
        names = self.output_names
        if names is not None and len(names) != self.num_outputs:
            raise ValueError(
                f"The model has {self.num_outputs} outputs, but {len(names)} names."
            )
        checked_json.check(self.image_size, ImageSize | None, "image_size")
        decay = self.moving_average_decay
        checked_json.check(decay, Decay | None, "moving_average_decay")

    @property
    def channels(self) -> int:
        """Channels of the input image: 1 or 3."""
        return 1 if self.use_grayscale else 3

    @property
    def names(self) -> tuple[str, ...]:
        """The name of each output: `output_names`, or "class 0", "class 1", ..."""
        if self.output_names is not None:
            return self.output_names
        return tuple(f"class {i}" for i in range(self.num_outputs))

    def read_numbers(self, name: str) -> np.ndarray:
        """Returns the numbers that `task_state` has under a name, one for each output.

        Returns:
          float64 [num_outputs].

        Raises:
          ValueError: if they are not as many finite numbers.
        """
        try:
            found = self.task_state.get(name)
            numbers = checked_json.check(found, tuple[Finite, ...], name)
            if len(numbers) != self.num_outputs:
                raise ValueError(f"{name} has {len(numbers)} numbers")
        except ValueError as error:
            raise ValueError(
                f"The task_state of the model, which has {self.num_outputs} outputs, "
                f"is damaged ({error}): restore its run.json or exported file."
            ) from None
        return np.array(numbers, np.float64)

    def replace(self, **changes: Any) -> "ModelSpec":
        """Returns a copy with some attributes changed."""
        return dataclasses.replace(self, **changes)

    def to_json(self) -> str:
        """Returns the specification as one line of JSON, for exported files."""
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "ModelSpec":
        """Parses what `to_json` wrote; attributes of newer versions are left out.

        Raises:
          ValueError: if the text is not the JSON of a specification.
        """
        try:
            return checked_json.check(checked_json.parse(text), cls)
        except ValueError as error:
            raise ValueError(f"Not a model specification: {error}.") from error
