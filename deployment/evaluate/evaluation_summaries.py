"""Evaluation results in TensorBoard: scalars, the report as text, images."""

from collections.abc import Mapping

from deployment.event_files import EventWriter
from tf_slim_compat import tf


class SummaryWriter:
    """Writes the metrics of evaluations into one event file; use in a `with`.

    Args:
      eval_dir: the folder; None or '' writes nothing.
    """

    def __init__(self, eval_dir: str | None):
        self._eval_dir = eval_dir
        self._writer = None

    def __enter__(self) -> "SummaryWriter":
        return self

    def __exit__(self, *error: object) -> None:
        if self._writer is not None:
            self._writer.close()

    @property
    def is_open(self) -> bool:
        """Whether anything is written."""
        return bool(self._eval_dir)

    def write(
        self,
        step: int,
        values: Mapping[str, float],
        text: str | None = None,
        images: Mapping[str, tuple[bytes, int, int]] | None = None,
    ) -> None:
        """Writes the results of one checkpoint.

        Args:
          step: its global step.
          values: scalars by name; see `rename`.
          text: the report; None for none.
          images: tag to `(png, height, width)`; None for none.
        """
        if not self.is_open:
            return
        summaries = [
            tf.Summary.Value(tag=f"eval/{name}", simple_value=value)
            for name, value in values.items()
        ]
        if text is not None:
            summaries.append(_build_text(f"```\n{text}\n```"))
        for tag, (png, height, width) in (images or {}).items():
            image = tf.Summary.Image(
                encoded_image_string=png, height=height, width=width, colorspace=4
            )
            summaries.append(tf.Summary.Value(tag=f"eval/{tag}", image=image))
        if self._writer is None:
            self._writer = EventWriter(self._eval_dir)
        self._writer.add_summary(tf.Summary(value=summaries), step)
        self._writer.flush()


def rename(
    values: Mapping[str, float], macro: Mapping[str, float] | None = None
) -> dict[str, float]:
    """Returns metrics by their names in TensorBoard and in the log.

    Args:
      values: what `Task.compute` returns.
      macro: `Report.macro`; None for none.

    Returns:
      A dict with names such as 'Accuracy', 'Loss', 'Recall_5' for 'top_5', and
      'Macro_F1'.
    """
    renamed = {
        name.replace("top_", "recall_").capitalize(): value
        for name, value in values.items()
    }
    for name, value in (macro or {}).items():
        renamed[f"Macro_{name.capitalize()}"] = value
    return renamed


def _build_text(text: str) -> tf.Summary.Value:
    plugin = tf.SummaryMetadata.PluginData(plugin_name="text")
    return tf.Summary.Value(
        tag="eval/report",
        tensor=tf.make_tensor_proto(text),
        metadata=tf.SummaryMetadata(plugin_data=plugin),
    )
