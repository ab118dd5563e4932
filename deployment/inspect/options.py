"""What to show of a checkpoint or a graph, as flags."""

import dataclasses

from deployment.config_flags import setting


@dataclasses.dataclass(frozen=True)
class CheckpointOptions:
    """What to show of a checkpoint; the fields are described by their help texts."""

    statistics: bool = setting(
        False,
        "With --checkpoint_path, also list mean, standard deviation, minimum, maximum, "
        "zeros and non-finite values of each variable. This reads the whole "
        "checkpoint.",
    )
    values: str | None = setting(
        None, "With --checkpoint_path, the variable whose values to print."
    )
    compare_to: str | None = setting(
        None,
        "With --checkpoint_path, another checkpoint or training folder to compare it "
        "with.",
    )
    filters_png: str | None = setting(
        None,
        "With --checkpoint_path, the image file to draw the weights of the first layer "
        "into: all filters of a convolution, or one image per class for a linear model "
        "(softmax, logistic or linear regression), labeled with the class names of the "
        "run and colored from blue (negative) to red (positive).",
    )
    filters_variable: str | None = setting(
        None,
        "With --filters_png, the variable to draw. If unset, the kernel of the first "
        "convolution, or the weight matrix of a linear model.",
    )


@dataclasses.dataclass(frozen=True)
class GraphOptions:
    """What to show of a graph; the fields are described by their help texts."""

    node: str | None = setting(None, "With --graph_path, the name of the node to show.")
    names_file: str | None = setting(
        None, "With --graph_path, the text file to write all node names to."
    )
    tensorboard_dir: str | None = setting(
        None, "Folder to write the graph to, for TensorBoard."
    )
