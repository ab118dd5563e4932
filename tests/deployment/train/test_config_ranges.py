"""No number of any configuration may be NaN, infinite or beyond 64 bits."""

import dataclasses

import pytest
from toy_training import make_config, make_spec

from deployment.cluster import ClusterConfig
from deployment.config_flags import SettingError
from deployment.evaluate.evaluation import EvaluationConfig
from deployment.evaluate.run_config import RunConfig
from deployment.optimize.learning_rates import Schedule
from deployment.optimize.optimizers import OptimizerConfig
from deployment.train.config import ValidationConfig

EVALUATION = EvaluationConfig("run", None, make_spec())
CONFIGS = [
    make_config("run"),
    ValidationConfig(),
    Schedule(),
    OptimizerConfig(),
    ClusterConfig(),
    EVALUATION,
    RunConfig(EVALUATION),
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: type(c).__name__)
def test_every_number_has_a_range(config):
    numbers = [
        field.name
        for field in dataclasses.fields(config)
        if "help" in field.metadata
        and (isinstance(field.type, type) or "None" in str(field.type))
        and any(word in str(field.type) for word in ("int", "float"))
    ]
    assert numbers
    for name in numbers:
        for value in (float("nan"), float("inf"), -float("inf"), 10**30):
            with pytest.raises(SettingError, match=f"{name}"):
                dataclasses.replace(config, **{name: value})


def test_learning_rates_of_piecewise_decay_have_a_range():
    for value in (float("nan"), float("inf"), -1.0):
        with pytest.raises(SettingError, match="must be 0 or more, and finite"):
            Schedule(values=(0.1, value))


@pytest.mark.parametrize(
    ("field", "value"),
    [("image_size", 0), ("image_size", 10**6), ("moving_average_decay", 1.5)],
)
def test_models_have_ranges_too(field, value):
    with pytest.raises(ValueError, match=rf"^{field} must be .*, but is {value}"):
        make_spec(**{field: value})
