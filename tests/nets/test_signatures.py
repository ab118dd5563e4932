"""Names, arguments, defaults and docstrings of the public functions of nets/."""

import inspect
import re

import pytest

from nets import inception_v3, mobilenet_v1, nets_factory, resnet_v1
from tf_slim_compat import tf

pytestmark = pytest.mark.usefixtures("graph")


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
