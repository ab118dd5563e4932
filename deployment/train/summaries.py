"""TensorBoard summaries of a training graph."""

from collections.abc import Mapping

from deployment.model_deploy import Clone
from tf_slim_compat import slim, tf


def build_summaries(
    clone: Clone,
    end_points: Mapping[str, tf.Tensor],
    learning_rate: tf.Tensor,
    total_loss: tf.Tensor,
    metrics: Mapping[str, tf.Tensor],
) -> tf.Tensor:
    """Builds histograms and sparsity of activations, histograms of variables, scalars.

    Activations are those of the first image of the first clone: a histogram of a whole
    batch costs as much as the network itself.

    Args:
      clone: the first clone.
      end_points: its activations by name.
      learning_rate: float32 scalar.
      total_loss: float32 scalar.
      metrics: float32 scalars of the training batch by name.

    Returns:
      A string scalar, the serialized summaries.
    """
    histograms = {v.op.name: v for v in slim.get_model_variables()}
    scalars = {"learning_rate": learning_rate, "total_loss": total_loss, **metrics}
    for name, tensor in end_points.items():
        sample = tensor[:1]
        histograms[f"activations/{name}"] = sample
        scalars[f"sparsity/{name}"] = tf.nn.zero_fraction(sample)
    for loss in tf.get_collection(tf.GraphKeys.LOSSES, clone.scope):
        scalars[f"losses/{loss.op.name}"] = loss
    # Raw operations keep the tags as they are; tf.summary would number those that are
    # also the name of a variable or a loss.
    summaries = [
        *tf.get_collection(tf.GraphKeys.SUMMARIES, clone.scope),
        *(tf.raw_ops.HistogramSummary(tag=t, values=v) for t, v in histograms.items()),
        *(tf.raw_ops.ScalarSummary(tags=t, values=v) for t, v in scalars.items()),
    ]
    return tf.summary.merge(summaries)
