"""The public functions of nets/: their names, arguments, defaults and docstrings."""

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

# Helpers of the predecessor that no user's code calls.
NOT_KEPT = {
    "NoOpScope",
    "apply_activation",
    "arg_scope",
    "trunc_normal",
    "wrapped_partial",
}


def images(size):
    return tf.zeros([2, size, size, 3])


# Functions that are made of tables


def test_arguments_may_be_given_by_their_places():
    # The two of resnet_v1_152 that stand otherwise in resnet_v1_50.
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


def test_wrong_arguments_are_named():
    with pytest.raises(TypeError, match="spatial_squeze"):
        resnet_v1.resnet_v1_50(images(32), spatial_squeze=False)
    with pytest.raises(TypeError, match="inputs"):
        inception_v3.inception_v3(num_classes=5)


def test_docstrings_tell_the_arguments():
    for name in nets_factory.list_networks():
        build = nets_factory.get_network(name).build
        assert build.__doc__, name
    doc = inception_v3.inception_v3.__doc__
    for name in inspect.signature(inception_v3.inception_v3).parameters:
        assert f"  {name}: " in doc
    assert max(map(len, doc.splitlines())) <= 80


# As in the reference


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
    """Functions by their names: the reference is text."""
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
        # In their order; further arguments of ours come after them.
        assert list(parameters)[: len(arguments)] == list(arguments), name
        for argument, default in arguments.items():
            ours_default = parameters[argument].default
            if default == "required":
                assert ours_default is inspect.Parameter.empty, f"{name}: {argument}"
            else:
                assert described(ours_default) == default, f"{name}: {argument}"
