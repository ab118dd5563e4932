"""What a training run writes for TensorBoard about its graph."""

from tf_slim_compat import slim, tf


def build_summaries(clone, end_points, learning_rate, total_loss, accuracy):
    """Histograms and sparsity of activations, histograms of variables, scalars.

    Activations are those of the first clone, of the first image in its batch:
    the histogram of a whole batch costs as much as the network itself.

    Args:
      clone: the first `model_deploy.Clone`.
      end_points: its activations by name.
      learning_rate: float32 scalar.
      total_loss: float32 scalar.
      accuracy: float32 scalar, of the training batch.

    Returns:
      A string scalar, the serialized summaries.
    """
    histograms = {v.op.name: v for v in slim.get_model_variables()}
    scalars = {
        "learning_rate": learning_rate,
        "total_loss": total_loss,
        "training_accuracy": accuracy,
    }
    for name, tensor in end_points.items():
        sample = tensor[:1]
        histograms[f"activations/{name}"] = sample
        scalars[f"sparsity/{name}"] = tf.nn.zero_fraction(sample)
    for loss in tf.get_collection(tf.GraphKeys.LOSSES, clone.scope):
        scalars[f"losses/{loss.op.name}"] = loss
    # The raw operations take tags as they are; tf.summary numbers those that are
    # the name of a variable or a loss as well.
    summaries = [
        *tf.get_collection(tf.GraphKeys.SUMMARIES, clone.scope),
        *(tf.raw_ops.HistogramSummary(tag=t, values=v) for t, v in histograms.items()),
        *(tf.raw_ops.ScalarSummary(tags=t, values=v) for t, v in scalars.items()),
    ]
    return tf.summary.merge(summaries)
