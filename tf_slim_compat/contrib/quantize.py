"""`tf.contrib.quantize`: says that quantization-aware training comes later."""

from tf_slim_compat.contrib.forwarding import make_getattr

__getattr__ = make_getattr(
    "quantize",
    instead={
        "": "quantization-aware training comes in a later version; until then "
        "`python export_model.py --formats=tflite_int8` quantizes a trained model"
    },
)
