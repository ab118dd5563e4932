"""The file `checkpoint` of a folder: which checkpoints it has, and which one to use.

    model_checkpoint_path: "model.ckpt-20"
    all_model_checkpoint_paths: "model.ckpt-10"
    all_model_checkpoint_paths: "model.ckpt-20"

`tf.train.latest_checkpoint` reads it. Names are relative to the folder. Other programs
and older versions write absolute paths, which lead to the original once a folder is
copied or moved, so only the last part of a path counts here.
"""

import os
from collections.abc import Sequence

from google.protobuf import text_format

from deployment import files
from tf_slim_compat import tf

FILE_NAME = "checkpoint"


def read(folder: str) -> list[str]:
    """Returns the names of the checkpoints that are listed, the one to use last.

    The list is empty if there is no such file or it is damaged. Checkpoints that are
    listed need not exist.
    """
    state = tf.train.generate_checkpoint_state_proto(".", "model", ["model"])
    state.Clear()
    try:
        content = files.read_text(os.path.join(folder, FILE_NAME))
        text_format.Parse(content or "", state)
    except (ValueError, text_format.ParseError):
        return []
    if not state.model_checkpoint_path:
        return []
    used = os.path.basename(state.model_checkpoint_path)
    listed = map(os.path.basename, state.all_model_checkpoint_paths)
    return [*(name for name in dict.fromkeys(listed) if name != used), used]


def write(folder: str, names: Sequence[str]) -> None:
    """Replaces the list of checkpoints, durably; the last is the one to use.

    Raises:
      OSError: if it cannot be written.
    """
    state = tf.train.generate_checkpoint_state_proto(".", names[-1], list(names))
    files.write_text(os.path.join(folder, FILE_NAME), str(state))
