"""Makes network functions that differ in their tables, not in what is done with them.

Their arguments keep the names, the order and the defaults that users' code relies on.
"""

import inspect
import textwrap

from nets.net_utils import name_network
from tf_slim_compat import slim, tf

# The default of an argument that has none.
REQUIRED = inspect.Parameter.empty

_DESCRIPTIONS = {
    "images": "float tensor [batch, height, width, channels], all but the batch known.",
    "inputs": "float tensor [batch, height, width, channels], or for video [batch, "
    "frames, height, width, channels].",
    "blocks": "list of what the module's block function returns.",
    "num_classes": "int; 0 or None gives the features in place of logits.",
    "is_training": "bool, for dropout and batch normalisation; None, in a ResNet, "
    "leaves it to the arg scope.",
    "dropout_keep_prob": "float in (0, 1].",
    "min_depth": "int, the least number of channels, where `depth_multiplier` < 1.",
    "min_base_depth": "int, the least number of channels within a unit.",
    "depth_multiplier": "float > 0, the factor of all numbers of channels.",
    "conv_defs": "table of layers; None for the network's own.",
    "prediction_fn": "callable of (logits, scope=...).",
    "global_pool": "average the last map, or the features, whatever their size.",
    "output_stride": "a multiple of 4, how many times smaller the last map may become; "
    "what striding would lose is dilated instead. None for the blocks' strides.",
    "include_root_block": "whether to begin with the 7x7 convolution and the pool.",
    "spatial_squeeze": "logits [batch, classes] instead of [batch, h, w, classes].",
    "store_non_strided_activations": "whether the end point of a block is its map "
    "before the block's stride.",
    "create_aux_logits": "whether to build the auxiliary classifier, "
    '`end_points["AuxLogits"]`.',
    "activation_fn": "callable after each residual block.",
    "fc_conv_padding": '"VALID", or "SAME" for logits at every place of the last map, '
    "a 32nd of the picture's size; that needs `spatial_squeeze=False`.",
    "reuse": "whether the variables exist already.",
    "scope": "name of the variable scope.",
}

_OF_BASE = "see the module's base function."


def _describe(name, arguments):
    described = [
        textwrap.fill(
            f"{argument}: {_DESCRIPTIONS.get(argument, _OF_BASE)}",
            width=80,
            initial_indent="  ",
            subsequent_indent="    ",
        )
        for argument in arguments
    ]
    return "\n".join(
        [
            f"Builds {name}; see the module.",
            "",
            "Args:",
            *described,
            "",
            "Returns:",
            "  `(net, end_points)`: logits or features, and a dict of the layers.",
            "",
            "Raises:",
            "  ValueError: an argument is out of its range.",
        ]
    )


def define_network(name, build, default_image_size, **arguments):
    """Returns a network function of `inputs`, or `images`, and the arguments given.

    Args:
      name: str, of the function.
      build: callable that gets every argument by its name.
      default_image_size: int, pixels.
      **arguments: the defaults, in the order in which users may give arguments without
        their names; `REQUIRED` where there is none.
    """
    if "images" not in arguments:
        arguments = {"inputs": REQUIRED, **arguments}
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    signature = inspect.Signature(
        inspect.Parameter(argument, kind, default=default)
        for argument, default in arguments.items()
    )

    def network(*args, **kwargs):
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return build(**bound.arguments)

    network.__signature__ = signature
    network.__doc__ = _describe(name, arguments)
    return name_network(network, name, default_image_size)


def define_classifier(
    name,
    base,
    head,
    default_image_size,
    *,
    default_scope,
    build_aux_logits=None,
    **arguments,
):
    """Returns the function of a network that is a base, a head and their scopes.

    Args:
      name: str, of the function.
      base: callable of (inputs, scope=...) and of those of the arguments that it has,
        which returns the last map and the end points.
      head: callable of (net, end_points, num_classes) and of the other arguments, which
        returns the logits.
      default_image_size: int, pixels.
      default_scope: name of the variable scope where the argument `scope` is None.
      build_aux_logits: callable of (end_points, num_classes) and of all arguments, for
        networks with the argument create_aux_logits.
      **arguments: see `define_network`; num_classes, is_training, reuse, scope and
        create_aux_logits are used here.
    """
    of_base = inspect.signature(base).parameters.keys() & (arguments.keys() - {"scope"})

    def build(
        inputs,
        num_classes,
        is_training,
        reuse,
        scope,
        create_aux_logits=False,
        **others,
    ):
        for_base = {key: others[key] for key in of_base}
        for_head = {key: others[key] for key in others.keys() - of_base}
        with (
            tf.variable_scope(scope, default_scope, [inputs], reuse=reuse) as scope,
            slim.arg_scope([slim.batch_norm, slim.dropout], is_training=is_training),
        ):
            net, end_points = base(inputs, scope=scope, **for_base)
            if create_aux_logits and num_classes:
                end_points["AuxLogits"] = build_aux_logits(
                    end_points, num_classes, **others
                )
            return head(net, end_points, num_classes, **for_head), end_points

    return define_network(name, build, default_image_size, **arguments)
