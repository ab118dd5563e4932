"""TensorFlow as tensorflow-estimator sees it: with Keras 2 where it expects it.

Only the modules of that package get it. The process keeps its own Keras, and tf_keras
is loaded when an estimator first calls something of it.
"""

import importlib
import sys
import types
from typing import Any

import tensorflow

_KERAS_2 = "tf_keras.api._v2.keras"
_LAYERS = "tf_keras.api._v1.keras.__internal__.legacy.layers"
_KERAS_1 = "tf_keras.api._v1.keras"


class Reduction:
    """Names of the ways in which a loss becomes a scalar."""

    AUTO = "auto"
    NONE = "none"
    SUM = "sum"
    SUM_OVER_BATCH_SIZE = "sum_over_batch_size"

    @classmethod
    def all(cls) -> tuple[str, ...]:
        """Returns all names."""
        return cls.AUTO, cls.NONE, cls.SUM, cls.SUM_OVER_BATCH_SIZE


class _Name:
    """A name in tf_keras that is looked up when it is called.

    Nothing is an instance of a class of tf_keras before tf_keras is loaded.
    """

    def __init__(self, module: str, *path: str) -> None:
        self._module = module
        self._path = path

    def __getattr__(self, name: str) -> "_Name":
        if name.startswith("__") and name != "__internal__":
            raise AttributeError(name)
        return _Name(self._module, *self._path, name)

    def _look_up(self) -> Any:
        try:
            found = importlib.import_module(self._module)
        except ModuleNotFoundError as error:
            raise ImportError(
                f"{'.'.join(self._path)} of an estimator needs the package tf-keras: "
                'run pip install "tf-keras==2.21.*"'
            ) from error
        for name in self._path:
            found = getattr(found, name)
        return found

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._look_up()(*args, **kwargs)

    def __mro_entries__(self, bases: tuple) -> tuple[type, ...]:
        """Returns the base of a subclass, which gets the true one when first used."""

        def make(cls: type, *args: Any, **kwargs: Any) -> Any:
            cls.__bases__ = (self._look_up(),)
            return cls.__new__(cls, *args, **kwargs)

        return (type(self._path[-1], (), {"__new__": make}),)

    def __instancecheck__(self, instance: Any) -> bool:
        return "tf_keras" in sys.modules and isinstance(instance, self._look_up())


class _View(types.ModuleType):
    """A module with some of its names replaced."""

    def __init__(self, module: types.ModuleType, **replaced: Any) -> None:
        super().__init__(module.__name__, module.__doc__)
        self.__dict__.update(replaced, _viewed=module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._viewed, name)


def with_tf_keras() -> types.ModuleType:
    """Returns TensorFlow with Keras 2, its losses, metrics and optimizers."""
    keras = _Name(_KERAS_2)
    losses = types.SimpleNamespace(Reduction=Reduction)
    v1 = tensorflow.compat.v1
    keras_1 = types.SimpleNamespace(
        initializers=types.SimpleNamespace(constant=v1.constant_initializer),
        layers=_Name(_KERAS_1, "layers"),
    )
    compat = _View(
        tensorflow.compat,
        v1=_View(v1, layers=_Name(_LAYERS), keras=keras_1),
        v2=_View(tensorflow.compat.v2, keras=keras),
    )
    return _View(
        tensorflow,
        compat=compat,
        keras=keras,
        losses=losses,
        metrics=keras.metrics,
        optimizers=keras.optimizers,
    )
