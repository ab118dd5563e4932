"""Names, arguments, defaults and docstrings of the public functions of nets/."""

import ast
import importlib
import importlib.util
import inspect
import json
import re

import pytest
from conftest import REFERENCE, needs_reference

from nets import inception_v3, mobilenet_v1, nets_factory, resnet_v1
from tf_slim_compat import tf

pytestmark = pytest.mark.usefixtures("graph")

# Helpers in the reference that users do not call.
NOT_KEPT = {
    "NoOpScope",
    "apply_activation",
    "arg_scope",
    "trunc_normal",
    "wrapped_partial",
}

# Defaults that the reference's signatures do not show, because it made these variants
# with functools.partial.
PRESETS = {
    "mobilenet_v1_075": {"depth_multiplier": 0.75},
    "mobilenet_v1_050": {"depth_multiplier": 0.50},
    "mobilenet_v1_025": {"depth_multiplier": 0.25},
    "mobilenet_v2_140": {"depth_multiplier": 1.4},
    "mobilenet_v2_050": {
        "depth_multiplier": 0.50,
        "finegrain_classification_mode": True,
    },
    "mobilenet_v2_035": {
        "depth_multiplier": 0.35,
        "finegrain_classification_mode": True,
    },
    "edge_tpu": {"scope": "MobilenetEdgeTPU"},
    "edge_tpu_075": {
        "scope": "MobilenetEdgeTPU",
        "depth_multiplier": 0.75,
        "finegrain_classification_mode": True,
    },
}


def images(size):
    return tf.zeros([2, size, size, 3])


def test_positional_arguments():
    # Users may rely on this difference between the two networks.
    places = {
        name: list(inspect.signature(getattr(resnet_v1, name)).parameters).index(
            "spatial_squeeze"
        )
        for name in ("resnet_v1_50", "resnet_v1_152")
    }
    assert places == {"resnet_v1_50": 5, "resnet_v1_152": 6}
    logits, end_points = mobilenet_v1.mobilenet_v1_025(
        images(32), 5, 0.9, False, 8, scope="net"
    )
    assert logits.shape.as_list() == [2, 5]
    assert end_points["Conv2d_0"].op.name.startswith("net/")


def test_wrong_arguments_raise_type_error():
    with pytest.raises(TypeError, match="spatial_squeze"):
        resnet_v1.resnet_v1_50(images(32), spatial_squeze=False)
    with pytest.raises(TypeError, match="inputs"):
        inception_v3.inception_v3(num_classes=5)


@pytest.mark.parametrize("name", nets_factory.list_networks())
def test_network_is_an_annotated_def(name):
    """It can be found by grep, and editors show its arguments."""
    build = inspect.unwrap(nets_factory.get_network(name).build)
    assert f"\ndef {build.__name__}(\n" in "\n" + inspect.getsource(build).removeprefix(
        "@slim.add_arg_scope\n"
    )
    assert inspect.get_annotations(build).keys() == {
        *inspect.signature(build).parameters,
        "return",
    }


@pytest.mark.parametrize("name", nets_factory.list_networks())
def test_docstring_documents_every_argument(name):
    build = nets_factory.get_network(name).build
    doc = build.__doc__
    assert doc.startswith("Builds ")
    if reference := re.search(r"see `(\w+)` for the arguments", doc):
        build = getattr(inspect.getmodule(build), reference[1])
    for argument, parameter in inspect.signature(build).parameters.items():
        stars = "**" if parameter.kind is parameter.VAR_KEYWORD else ""
        assert f"      {stars}{argument}: " in build.__doc__, argument


# Comparison with the reference


def load_api():
    path = REFERENCE / "api.json"
    if not path.exists():
        return {}
    modules = json.loads(path.read_text())
    return {name: api for name, api in modules.items() if name.startswith("nets.")}


def is_built(module):
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def described(default):
    """Returns a default as in the reference, where functions are text."""
    return f"<function {default.__name__}>" if callable(default) else default


def reference_arguments(signature):
    """Returns argument name -> default (or "required") of a signature in text."""
    quoted = re.sub(
        r"<function (?:\S+\.)?(\S+?)>(?=[,)])", r"'<function \1>'", signature
    )
    arguments = ast.parse(f"def f{quoted}: pass").body[0].args
    names = [argument.arg for argument in arguments.args]
    required = ["required"] * (len(names) - len(arguments.defaults))
    defaults = [ast.literal_eval(default) for default in arguments.defaults]
    return dict(zip(names, required + defaults, strict=True))


@needs_reference
@pytest.mark.parametrize("module", [name for name in load_api() if is_built(name)])
def test_signatures(module):
    ours = importlib.import_module(module)
    for name, facts in load_api()[module].items():
        if name in NOT_KEPT:
            continue
        function = getattr(ours, name)
        if "default_image_size" in facts:
            assert function.default_image_size == facts["default_image_size"], name
        if "signature" not in facts:
            continue
        parameters = inspect.signature(function).parameters
        arguments = reference_arguments(facts["signature"])
        # The same order; additional arguments come last.
        assert list(parameters)[: len(arguments)] == list(arguments), name
        for argument, default in arguments.items():
            ours_default = parameters[argument].default
            default = PRESETS.get(name, {}).get(argument, default)
            if default == "required":
                assert ours_default is inspect.Parameter.empty, f"{name}: {argument}"
            else:
                assert described(ours_default) == default, f"{name}: {argument}"
