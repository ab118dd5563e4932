"""Metrics in TensorBoard: scalars, the report as text, the confusion matrix."""

from tf_slim_compat import tf


class SummaryWriter:
    """Writes the metrics of evaluations into one event file; in a `with` statement.

    Args:
      eval_dir: the folder; with None or '' nothing is written.
    """

    def __init__(self, eval_dir):
        self._eval_dir = eval_dir
        self._writer = None

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self._writer is not None:
            self._writer.close()

    @property
    def is_open(self):
        """Whether anything is written at all."""
        return bool(self._eval_dir)

    def write(self, step, values, text=None, picture=None):
        """Writes what was found about one checkpoint.

        Args:
          step: its global step.
          values: a dict from name to float; see `rename`.
          text: the report; None for none.
          picture: `(png, height, width)` of the confusion matrix; None for none.
        """
        if not self.is_open:
            return
        summaries = [
            tf.Summary.Value(tag=f"eval/{name}", simple_value=value)
            for name, value in values.items()
        ]
        if text is not None:
            summaries.append(_build_text(f"```\n{text}\n```"))
        if picture is not None:
            png, height, width = picture
            image = tf.Summary.Image(
                encoded_image_string=png, height=height, width=width, colorspace=4
            )
            summaries.append(tf.Summary.Value(tag="eval/confusion_matrix", image=image))
        if self._writer is None:
            # The writer of graph mode refuses a default graph of other things.
            with tf.Graph().as_default():
                self._writer = tf.summary.FileWriter(self._eval_dir)
        self._writer.add_summary(tf.Summary(value=summaries), step)
        self._writer.flush()


def rename(values, macro=None):
    """The metrics by the names that they have in TensorBoard and in the log.

    Args:
      values: what `metrics.compute` returns.
      macro: the `macro` of a `metrics.Report`; None for none.

    Returns:
      A dict with 'Accuracy', 'Loss', 'Recall_5' where there is 'top_5', and
      'Macro_F1' and so on.
    """
    renamed = {
        name.replace("top_", "recall_").capitalize(): value
        for name, value in values.items()
    }
    for name, value in (macro or {}).items():
        renamed[f"Macro_{name.capitalize()}"] = value
    return renamed


def _build_text(text):
    plugin = tf.SummaryMetadata.PluginData(plugin_name="text")
    return tf.Summary.Value(
        tag="eval/report",
        tensor=tf.make_tensor_proto(text),
        metadata=tf.SummaryMetadata(plugin_data=plugin),
    )
