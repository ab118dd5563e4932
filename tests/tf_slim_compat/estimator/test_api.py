"""The public API of `tf.estimator`, name by name, and how it is loaded."""

import importlib.util
import inspect
import json
import operator
import re
from unittest import mock

import pytest
from conftest import REFERENCE, needs_reference
from estimator_toys import model_fn

from tf_slim_compat import estimator, tf
from tf_slim_compat.estimator import loading


def load_api():
    """Returns name -> description of the API of TensorFlow 2.12."""
    path = REFERENCE / "estimator_api.json"
    return json.loads(path.read_text()) if path.exists() else {}


def describe(function):
    """Returns the signature as text, without addresses; None if there is none."""
    try:
        return re.sub(r" at 0x\w+", "", str(inspect.signature(function)))
    except ValueError:
        return None


@needs_reference
@pytest.mark.parametrize("name", load_api())
def test_a_public_name_is_what_it_was(name):
    expected = load_api()[name]
    found = operator.attrgetter(name.removeprefix("tf."))(tf)
    for attribute in ("signature", "new"):
        if expected.get(attribute):
            function = {"signature": found, "new": getattr(found, "__new__", None)}
            if expected["kind"] == "class":
                function["signature"] = found.__init__
            wanted = re.sub(r" at 0x\w+", "", expected[attribute])
            assert describe(function[attribute]) == wanted
    for method, signature in expected.get("methods", {}).items():
        assert describe(getattr(found, method)) == signature, method
    for attribute in (*expected.get("properties", ()), *expected.get("fields", ())):
        assert hasattr(found, attribute), attribute
    for constant, value in expected.get("constants", {}).items():
        assert getattr(found, constant) == value
    if expected.get("bases"):
        bases = {base.__name__ for base in found.__mro__}
        assert bases.issuperset(expected["bases"])


@needs_reference
def test_exceptions_are_names_of_the_api():
    assert set(estimator.EXCEPTIONS) < set(load_api())


def test_tpus_are_refused_in_one_sentence():
    with pytest.raises(NotImplementedError, match=r"use_tpu=True: .* use_tpu=False"):
        tf.estimator.tpu.TPUEstimator(
            model_fn, config=tf.estimator.tpu.RunConfig(), train_batch_size=8
        )
    from tensorflow.python.tpu import tpu_embedding

    with pytest.raises(NotImplementedError, match="AdamParameters: TensorFlow has"):
        tpu_embedding.AdamParameters(0.1)


def test_the_module_and_the_attribute_are_one():
    assert estimator.Estimator is tf.estimator.Estimator
    assert {"DNNClassifier", "experimental"} <= set(dir(estimator))
    with pytest.raises(AttributeError, match="NoSuchName"):
        _ = estimator.NoSuchName


def test_a_missing_package_is_named_with_its_installation():
    with (
        mock.patch.object(importlib.util, "find_spec", return_value=None),
        pytest.raises(ImportError, match=re.escape(loading.INSTALL)),
    ):
        loading.load()
