"""`tf.contrib.opt`: says where its optimizers are."""

from tf_slim_compat.contrib.forwarding import make_getattr

_DECOUPLED = (
    "train_image_classifier.py has decoupled weight decay "
    "(deployment.optimize.decoupled_optimizers)"
)

__getattr__ = make_getattr(
    "opt",
    instead={
        "AdamWOptimizer": _DECOUPLED,
        "MomentumWOptimizer": _DECOUPLED,
        "MovingAverageOptimizer": "use tf.train.ExponentialMovingAverage",
        "ScipyOptimizerInterface": "call scipy.optimize.minimize on session.run",
        "extend_with_decoupled_weight_decay": _DECOUPLED,
        "": "tf.train has the optimizers of TensorFlow",
    },
)
