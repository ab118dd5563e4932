"""Configuration of the evaluation of checkpoints."""

import dataclasses

from deployment import ranges, tasks
from deployment.config_flags import SettingError, setting
from deployment.evaluate.evaluation import EvaluationConfig
from deployment.models.spec import ModelSpec
from deployment.tasks.base import Task
from tf_slim_compat import tf


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """What to evaluate, and what to report.

    Attributes:
      evaluation: an `EvaluationConfig`.
      split_name: name of the split, for the reports.
      predictions_csv: file for the predictions of all images; None for none.
      gallery: HTML file for the largest mistakes; None for none.
      gallery_size: mistakes in the gallery, at most.
      all_checkpoints: whether to evaluate every checkpoint of the folder.
      metric: the metric by which they are sorted; None for the task's default.
      soup: checkpoint to write, the greedy average of several; None for none.
      soup_candidates: what may be in it; if empty, the evaluated folder.
      interval_secs: how often to look for new checkpoints; None evaluates what is
        there and ends.
      timeout_secs: how long to wait for a new checkpoint; None waits forever.

    Raises:
      ValueError: if it contradicts itself.
    """

    evaluation: EvaluationConfig
    split_name: str = ""
    predictions_csv: str | None = setting(
        None,
        "CSV file to write, with the label and prediction of every image. Names that a "
        "spreadsheet would run as formulas get an apostrophe in front.",
    )
    gallery: str | None = setting(
        None, "HTML page to write, with the images of the largest mistakes."
    )
    gallery_size: int = setting(100, "Maximum number of images in the gallery.")
    all_checkpoints: bool = setting(
        False,
        "Whether to evaluate every checkpoint in the folder and its best/, and to list "
        "them, best first.",
    )
    metric: str | None = setting(
        None,
        "Metric by which --all_checkpoints sorts and --soup chooses. If unset: the "
        "task's own, such as accuracy.",
    )
    soup: str | None = setting(
        None,
        "Checkpoint to write, such as soup/model.ckpt: the average of the checkpoints "
        "in the folder, best first, of which each is kept only if the metric does not "
        "get worse.",
    )
    soup_candidates: tuple[str, ...] = setting(
        (),
        "Comma-separated checkpoints, or folders of checkpoints, for --soup to choose "
        "from. If unset: --checkpoint_path.",
        kind=list,
        parse=tuple,
    )
    interval_secs: float | None = setting(
        None,
        "Follow a training folder and look for new checkpoints this often, in seconds.",
        flag="eval_interval_secs",
    )
    timeout_secs: float | None = setting(
        None,
        "With --eval_interval_secs, seconds to wait for a new checkpoint; 0: forever. "
        "Ends in any case when training has ended.",
        flag="eval_timeout_secs",
        parse=lambda secs: secs or None,
        flag_default=3600.0,
    )

    def __post_init__(self):
        if self.metric is not None:
            try:
                self.task.get_metric(self.metric, self.spec.num_outputs, "{{metric}}")
            except ValueError as error:
                raise SettingError(str(error)) from None
        ranges.check(
            self, gallery_size=ranges.AT_LEAST_ONE, timeout_secs=ranges.POSITIVE
        )
        path = self.evaluation.checkpoint_path
        is_following = self.interval_secs is not None
        if is_following and self.interval_secs <= 0:
            raise SettingError(
                f"{{{{interval_secs}}}} must be above 0, but is {self.interval_secs}."
            )
        if is_following and self.all_checkpoints:
            raise SettingError(
                "{{all_checkpoints}} compares existing checkpoints, {{interval_secs}} "
                "waits for new ones: give one of them."
            )
        if self.soup and (is_following or self.all_checkpoints):
            raise SettingError(
                "{{soup}} averages checkpoints: leave {{all_checkpoints}} and "
                "{{interval_secs}} out."
            )
        is_folder = tf.gfile.IsDirectory(path)
        is_file = not is_folder and tf.train.checkpoint_exists(path)
        if is_file if is_following else self.all_checkpoints and not is_folder:
            field = "interval_secs" if is_following else "all_checkpoints"
            raise SettingError(
                f"{{{{{field}}}}} needs a folder of checkpoints, but "
                f"{{{{checkpoint_path}}}} is {path!r}."
            )

    @property
    def spec(self) -> ModelSpec:
        """The model's specification."""
        return self.evaluation.spec

    @property
    def task(self) -> Task:
        """The model's task."""
        return tasks.get_task(self.spec.task)
