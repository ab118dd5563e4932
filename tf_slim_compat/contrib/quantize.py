"""`tf.contrib.quantize`: quantization-aware training."""

from tf_slim_compat.contrib.forwarding import make_getattr

# By its name, since it is built on this package.
__getattr__ = make_getattr("quantize", ["deployment.quantize"])
