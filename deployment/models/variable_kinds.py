"""Tells apart what the variables of a checkpoint are for."""

import re

# What optimizers keep that belongs to no single variable.
_SINGLE_STATE = re.compile(r"(.*/)?beta[12]_power(_\d+)?$")
_AVERAGE = "ExponentialMovingAverage"
KINDS = {
    "model": "the model",
    "average": "moving averages of the model",
    "optimizer": "the optimizer's state",
    "step": "the step",
}


def get_kind(name, names):
    """What a variable is for: a key of `KINDS`.

    Args:
      name: the variable's name.
      names: the names of all variables in the checkpoint.
    """
    if name.rpartition("/")[2] == "global_step":
        return "step"
    owner, _, last = name.rpartition("/")
    if owner in names:
        return "average" if last == _AVERAGE else "optimizer"
    return "optimizer" if _SINGLE_STATE.match(name) else "model"
