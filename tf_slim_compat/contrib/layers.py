"""`tf.contrib.layers`: tf_slim's layers, which these were, and a few more names."""

from tf_slim.layers import *  # noqa: F403
from tf_slim.layers import layers as _layers
from tf_slim.layers import optimizers, regularizers, utils  # noqa: F401
from tf_slim.layers.optimizers import (  # noqa: F401
    OPTIMIZER_CLS_NAMES,
    OPTIMIZER_SUMMARIES,
    optimize_loss,
)

from tf_slim_compat import batch_norm, dropout  # noqa: F401
from tf_slim_compat.contrib.forwarding import TF, make_getattr

layers = _layers

_COLUMN = "tf.feature_column has the columns, tf.feature_column.input_layer the layer"
_EMBED = "use tf.nn.embedding_lookup on a variable of your own"

__getattr__ = make_getattr(
    "layers",
    ("tf_slim.layers.layers", "tf_slim.layers.sparse_ops"),
    renamed={
        "l2_normalize": f"{TF}:nn.l2_normalize",
        "safe_embedding_lookup_sparse": f"{TF}:nn.safe_embedding_lookup_sparse",
    },
    instead={
        "bow_encoder": _EMBED,
        "embed_sequence": _EMBED,
        "embedding_lookup_unique": "use tf.nn.embedding_lookup",
        "": f"{_COLUMN}; all layers of tf_slim are here",
    },
)
