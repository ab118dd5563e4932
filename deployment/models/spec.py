"""The specification of a trained model: what is needed to build, feed and read it."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any


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
      task_state: what the task has learned from the data and needs for prediction,
        such as thresholds or the mean and scale of targets; JSON values.
      user_modules: files or module names to import before the model is built.
    """

    task: str = "classification"
    model_name: str | None
    num_outputs: int
    output_names: tuple[str, ...] | None = None
    labels_offset: int = 0
    image_size: int | None = None
    use_grayscale: bool = False
    preprocessing_name: str | None = None
    moving_average_decay: float | None = None
    task_state: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    user_modules: tuple[str, ...] = ()

    def __post_init__(self):
        names = self.output_names
        if names is not None and len(names) != self.num_outputs:
            raise ValueError(
                f"The model has {self.num_outputs} outputs, but {len(names)} names."
            )

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
            values = json.loads(text)
            known = {field.name for field in dataclasses.fields(cls)}
            values = {name: v for name, v in values.items() if name in known}
            for name in ("output_names", "user_modules"):
                if values.get(name) is not None:
                    values[name] = tuple(values[name])
            return cls(**values)
        except (AttributeError, TypeError, ValueError) as error:
            raise ValueError(f"Not a model specification: {error}.") from error
