"""TensorBoard summaries: histograms, rarely, and scalars at every progress line."""

from collections.abc import Mapping

from deployment.event_files import EventWriter
from deployment.model_deploy import Clone
from tf_slim_compat import slim, tf


def build_summaries(
    clone: Clone, end_points: Mapping[str, tf.Tensor]
) -> tf.Tensor | None:
    """Builds histograms and sparsity of activations, and histograms of variables.

    Activations are those of the first image of the first clone: a histogram of a whole
    batch costs as much as the network itself. The clone's own summaries are included.

    Args:
      clone: the first clone.
      end_points: its activations by name.

    Returns:
      A string scalar, the serialized summaries; None if there are none.
    """
    histograms = {v.op.name: v for v in slim.get_model_variables()}
    sparsity = {}
    for name, tensor in end_points.items():
        sample = tensor[:1]
        histograms[f"activations/{name}"] = sample
        sparsity[f"sparsity/{name}"] = tf.nn.zero_fraction(sample)
    # Raw operations keep the tags as they are; tf.summary would number those that are
    # also the name of a variable or a loss.
    summaries = [
        *tf.get_collection(tf.GraphKeys.SUMMARIES, clone.scope),
        *(tf.raw_ops.HistogramSummary(tag=t, values=v) for t, v in histograms.items()),
        *(tf.raw_ops.ScalarSummary(tags=t, values=v) for t, v in sparsity.items()),
    ]
    return tf.summary.merge(summaries) if summaries else None


def write_scalars(
    writer: EventWriter, scalars: Mapping[str, float | None], step: int
) -> None:
    """Writes scalars by tag to an event file; None is left out."""
    values = [
        tf.Summary.Value(tag=tag, simple_value=value)
        for tag, value in scalars.items()
        if value is not None
    ]
    writer.add_summary(tf.Summary(value=values), step)
