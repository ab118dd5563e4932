"""Recognizes the purpose of a checkpoint's variables by their names."""

import re
from collections.abc import Container

from deployment.models import averages

# State of an optimizer that belongs to no single variable.
_SHARED_STATE = re.compile(r"(.*/)?beta[12]_power(_\d+)?$|loss_scale/")
KINDS = {
    "model": "model",
    "average": "moving averages of the model",
    "optimizer": "optimizer state",
    "step": "global step",
}


def get_kind(name: str, names: Container[str]) -> str:
    """Returns what a variable is for: a key of `KINDS`.

    Args:
      name: the variable's name.
      names: the names of all variables in the checkpoint.
    """
    owner, _, last = name.rpartition("/")
    if last == "global_step":
        return "step"
    if owner in names:
        return "average" if name == averages.average_name(owner) else "optimizer"
    return "optimizer" if _SHARED_STATE.match(name) else "model"
