"""`tf.contrib.predictor`: runs a SavedModel on arrays."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tf_slim_compat import tf
from tf_slim_compat.contrib.forwarding import make_getattr

_SIGNATURE = tf.saved_model.signature_constants.DEFAULT_SERVING_SIGNATURE_DEF_KEY


class Predictor:
    """Calls a model with arrays by name; returns arrays by name.

    Attributes:
      graph: the model's graph.
      session: the session that runs it.
      feed_tensors: name of an input -> its tensor.
      fetch_tensors: name of an output -> its tensor.
    """

    def __init__(
        self,
        session: tf.Session,
        feed_tensors: Mapping[str, tf.Tensor],
        fetch_tensors: Mapping[str, tf.Tensor],
    ):
        self.session = session
        self.graph = session.graph
        self.feed_tensors = dict(feed_tensors)
        self.fetch_tensors = dict(fetch_tensors)

    def __call__(self, input_dict: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Returns the outputs for inputs by name.

        Raises:
          ValueError: if there is no input of a name.
        """
        unknown = sorted(set(input_dict) - set(self.feed_tensors))
        if unknown:
            raise ValueError(
                f"The model has no input {', '.join(unknown)}; it has: "
                f"{', '.join(sorted(self.feed_tensors))}."
            )
        feeds = {self.feed_tensors[name]: value for name, value in input_dict.items()}
        return self.session.run(self.fetch_tensors, feeds)


def _get_signature(
    meta_graph: Any, key: str | None, signature_def: Any, export_dir: str
) -> Any:
    if signature_def is not None:
        return signature_def
    key = key or _SIGNATURE
    if key not in meta_graph.signature_def:
        raise ValueError(
            f"{export_dir} has no signature {key}; it has: "
            f"{', '.join(sorted(meta_graph.signature_def))}."
        )
    return meta_graph.signature_def[key]


def from_saved_model(
    export_dir: str,
    signature_def_key: str | None = None,
    signature_def: Any = None,
    input_names: Mapping[str, str] | None = None,
    output_names: Mapping[str, str] | None = None,
    tags: str | None = None,
    graph: tf.Graph | None = None,
    config: tf.ConfigProto | None = None,
) -> Predictor:
    """Returns a predictor for a SavedModel.

    Args:
      export_dir: folder of the SavedModel.
      signature_def_key: name of the signature; "serving_default" if None.
      signature_def: the signature itself, instead of its name.
      input_names: name -> name of the tensor, instead of a signature.
      output_names: as `input_names`; both or neither.
      tags: tags of the model, separated by commas; "serve" if None.
      graph: graph into which the model is loaded; a new one if None.
      config: settings of the session.

    Raises:
      ValueError: if more than one way of naming the inputs is used, or there is no such
        signature.
      OSError: if there is no SavedModel.
    """
    by_name = bool(input_names) and bool(output_names)
    ways = [signature_def_key is not None, signature_def is not None]
    if sum([*ways, by_name]) > 1 or bool(input_names) != bool(output_names):
        raise ValueError(
            "Give one of signature_def_key, signature_def, or input_names and "
            "output_names together."
        )
    graph = graph or tf.Graph()
    with graph.as_default():
        session = tf.Session(config=config)
        serve = tf.saved_model.tag_constants.SERVING
        loader = tf.saved_model.loader
        meta_graph = loader.load(session, (tags or serve).split(","), export_dir)
    if not by_name:
        signature = _get_signature(
            meta_graph, signature_def_key, signature_def, export_dir
        )
        input_names = {name: info.name for name, info in signature.inputs.items()}
        output_names = {name: info.name for name, info in signature.outputs.items()}
    return Predictor(
        session,
        {name: graph.get_tensor_by_name(t) for name, t in input_names.items()},
        {name: graph.get_tensor_by_name(t) for name, t in output_names.items()},
    )


__getattr__ = make_getattr(
    "predictor",
    instead={"": "export the estimator and use tf.contrib.predictor.from_saved_model"},
)
