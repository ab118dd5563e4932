"""Importing this module makes `import tensorflow` give TensorFlow 1.

For libraries written for TensorFlow 1: with `import tf_slim_compat.autopatch` before
their import, they get the graph mode, `tf.contrib`, `tf.layers` and `tf.estimator`,
and the names that NumPy and Python have removed.
"""

from tf_slim_compat.tensorflow1 import modules

modules.install()
