"""Loads tensorflow-estimator with what current TensorFlow lacks of it."""

import contextlib
import functools
import importlib
import importlib.util
import logging
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from tensorflow.python.util import deprecation, tf_export

from tf_slim_compat import tf
from tf_slim_compat.estimator import best_exporter, keras_names, strategies

INSTALL = "pip install --no-deps tensorflow-estimator==2.15.0"
_PACKAGE = "tensorflow_estimator"
# Modules of the TPU estimator that TensorFlow has removed.
_ABSENT = (
    "tensorflow.python.tpu.session_support",
    "tensorflow.python.tpu.tpu_embedding",
    "tensorflow.python.tpu.tpu_embedding_gradient",
)
NO_TPU = (
    "TensorFlow has removed what estimators need on TPUs; use TPUEstimator with "
    "use_tpu=False, or Estimator, on CPUs and GPUs."
)
_API_NAME = "estimator"


class _AbsentModule(types.ModuleType):
    """Stands for a removed module; its names can be imported, not used."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)

        def refuse(cls: type, *_: Any, **__: Any) -> NoReturn:
            raise NotImplementedError(f"{self.__name__}.{name}: {NO_TPU}")

        absent = type(name, (), {"__new__": refuse})
        setattr(self, name, absent)
        return absent


def _supply_modules() -> None:
    """Makes the modules importable that the package imports and TensorFlow lacks."""
    supplied = {name: _AbsentModule(name) for name in _ABSENT}
    supplied["tensorflow.python.distribute.estimator_training"] = strategies
    for name, module in supplied.items():
        if name not in sys.modules and importlib.util.find_spec(name) is None:
            sys.modules[name] = module


def _supply_api_names() -> None:
    """Lets the package register its public names, as TensorFlow does its own."""
    if hasattr(tf_export, "ESTIMATOR_API_NAME"):
        return
    tf_export.ESTIMATOR_API_NAME = _API_NAME
    for table, version in ((tf_export.API_ATTRS, ""), (tf_export.API_ATTRS_V1, "_v1")):
        attributes = type(table[tf_export.TENSORFLOW_API_NAME])
        table[_API_NAME] = attributes(
            f"_estimator_api_names{version}", f"_estimator_api_constants{version}"
        )


@contextlib.contextmanager
def _without_advice() -> Iterator[None]:
    """Leaves out the warning on every name of the package to use Keras instead."""
    original = deprecation.deprecated

    def deprecated(date: str | None, advice: str, **options: Any) -> Callable:
        if advice == "Use tf.keras instead.":
            return lambda function: function
        return original(date, advice, **options)

    deprecation.deprecated = deprecated
    try:
        yield
    finally:
        deprecation.deprecated = original


@contextlib.contextmanager
def _imported_as(name: str, module: types.ModuleType) -> Iterator[None]:
    """Makes `import name` give this module."""
    original = sys.modules[name]
    sys.modules[name] = module
    try:
        yield
    finally:
        sys.modules[name] = original


# Parts of warnings about calls that the package makes, or that advise to use Keras.
_NOT_FOR_USERS = (
    *("/tensorflow_estimator/", "/tf_keras/", "/tensorflow/python/"),
    *("Use Keras preprocessing layers instead", "Trapezoidal rule is known"),
)


def _is_for_users(record: logging.LogRecord) -> bool:
    """Returns False for warnings that a user of the package can do nothing about."""
    message = record.getMessage()
    is_advice = "is deprecated" in message or message.startswith("Trapezoidal")
    return not is_advice or not any(part in message for part in _NOT_FOR_USERS)


def _accept_optimizers(base_head: types.ModuleType) -> None:
    """Lets heads train with `tf.train.Optimizer`, not only with Keras optimizers."""
    original = base_head.create_estimator_spec_train_op

    @functools.wraps(original)
    def build_train_op(head_name: str, optimizer: Any = None, **options: Any) -> Any:
        if isinstance(optimizer, tf.train.Optimizer):
            options["train_op_fn"] = functools.partial(
                optimizer.minimize,
                global_step=tf.train.get_global_step(),
                var_list=options.get("trainable_variables"),
            )
            if options.get("update_ops") is None:
                options["update_ops"] = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
            optimizer = None
        return original(head_name, optimizer, **options)

    base_head.create_estimator_spec_train_op = build_train_op


def _refuse_tpus(tpu_context: types.ModuleType) -> None:
    """Makes `TPUEstimator` with `use_tpu=True` raise an error at once."""
    original = tpu_context._get_tpu_context

    def get_context(
        config: Any, train: Any, evaluate: Any, predict: Any, use_tpu: bool, *rest: Any
    ) -> Any:
        if use_tpu:
            raise NotImplementedError(f"TPUEstimator with use_tpu=True: {NO_TPU}")
        return original(config, train, evaluate, predict, use_tpu, *rest)

    tpu_context._get_tpu_context = get_context


def load() -> types.ModuleType:
    """Returns the mended public API of tensorflow-estimator.

    Raises:
      ImportError: if the package is not installed.
    """
    if importlib.util.find_spec(_PACKAGE) is None:
        raise ImportError(
            f"tf.estimator needs the package tensorflow-estimator: run {INSTALL}"
        )
    _supply_modules()
    _supply_api_names()
    logging.getLogger("tensorflow").addFilter(_is_for_users)
    with _without_advice(), _imported_as("tensorflow", keras_names.with_tf_keras()):
        api = importlib.import_module(f"{_PACKAGE}._api.v1.estimator")
    estimators = f"{_PACKAGE}.python.estimator"
    _accept_optimizers(importlib.import_module(f"{estimators}.head.base_head"))
    best_exporter.mend(importlib.import_module(f"{estimators}.exporter"))
    _refuse_tpus(importlib.import_module(f"{estimators}.tpu.tpu_context"))
    return api
