"""`tf.contrib` of TensorFlow 1: what programs that work with images use of it.

Each module loads when its first name is read. A name that is not built raises an
AttributeError whose one sentence names what to use instead.
"""

import importlib
import sys
import types

from tf_slim_compat.contrib.forwarding import TF, Forwarding, explain_missing

_OWN = (
    *("data", "estimator", "framework", "image", "layers", "learn"),
    *("metrics", "opt", "predictor", "quantize", "training"),
)
_ELSEWHERE = {"losses": "tf_slim.losses", "slim": "tf_slim"}
# Arguments of `Forwarding`: places to look at, by name of the module.
_FORWARDED = {
    "distribute": (f"{TF}:distribute", f"{TF}:distribute.experimental"),
    "eager": (TF, "tensorflow.python.eager.backprop"),
    "lite": (f"{TF}:lite",),
    "lookup": ("tensorflow.python.ops.lookup_ops", f"{TF}:lookup"),
    "rnn": (f"{TF}:nn.rnn_cell", f"{TF}:nn"),
    "saved_model": (f"{TF}:saved_model",),
    "staging": ("tensorflow.python.ops.data_flow_ops",),
    "summary": ("tensorflow.python.ops.summary_ops_v2",),
    "util": ("tensorflow.python.framework.tensor_util", TF),
}
_INSTEAD = {
    "autograph": "use tf.autograph",
    "bayesflow": "the package tensorflow-probability has its successors",
    "checkpoint": "use tf.train.Checkpoint",
    "cluster_resolver": "use tf.distribute.cluster_resolver",
    "crf": "a CRF can be written with tf.while_loop or tf.scan",
    "cudnn_rnn": "use tf.contrib.rnn.LSTMCell with tf.nn.dynamic_rnn",
    "distributions": "the package tensorflow-probability has its successors",
    "ffmpeg": "decode with the program ffmpeg, or tf.audio.decode_wav for WAV files",
    "gan": "the package tensorflow-gan has its successor",
    "graph_editor": "use tf.import_graph_def with input_map",
    "keras": "use tf.keras",
    "model_pruning": "the package tensorflow-model-optimization has its successor",
    "seq2seq": "use tf.nn.dynamic_rnn, and tf.while_loop to decode",
    "tensorboard": "the package tensorboard has the plugins",
    "tensorrt": "convert an exported model with NVIDIA's TensorRT",
    "tfprof": "use tf.profiler",
    "tpu": "programs for TPUs do not run here; use tf.estimator without TPU",
}


def explain(name: str) -> str:
    """Returns why a module of `tf.contrib` is missing, and what there is instead."""
    built = ", ".join(sorted({*_OWN, *_ELSEWHERE, *_FORWARDED}))
    instead = _INSTEAD.get(name, f"the modules that are: {built}")
    return explain_missing(f"tf.contrib.{name}", instead)


def list_used() -> list[str]:
    """Returns the names of the modules that were used so far, sorted."""
    return sorted({*_OWN, *_ELSEWHERE, *_FORWARDED} & set(globals()))


def find_module(name: str) -> types.ModuleType:
    """Returns a module of `tf.contrib`, such as "layers".

    Raises:
      AttributeError: if there is none.
    """
    if name in _OWN:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _ELSEWHERE:
        return importlib.import_module(_ELSEWHERE[name])
    if name in _FORWARDED:
        module = Forwarding(name, *_FORWARDED[name])
        return sys.modules.setdefault(module.__name__, module)
    raise AttributeError(explain(name))


def __getattr__(name: str) -> types.ModuleType:
    if name.startswith("__"):
        raise AttributeError(name)
    module = find_module(name)
    setattr(sys.modules[__name__], name, module)
    return module
