"""Configuration fields that are flags as well."""

import dataclasses

import pytest
from absl import flags

from deployment import config_flags
from deployment.config_flags import SettingError, setting


@dataclasses.dataclass(frozen=True)
class Config:
    folder: str
    rate: float = setting(0.5, "A rate.", flag="learning_rate_of_test")
    steps_of_test: int | None = setting(None, "Some steps.")
    kind_of_test: str = setting("a", "A kind.", choices=("a", "b"))
    pair_of_test: tuple = setting((), "Numbers.", kind=list, parse=lambda v: tuple(v))
    size_of_test: int = setting(32, "A size.", kind=config_flags.IntegerOrAuto)

    def __post_init__(self):
        if self.rate < 0:
            raise SettingError(f"{{{{rate}}}} must be 0 or more, but is {self.rate}.")


NAMES = ["learning_rate_of_test", "steps_of_test", "kind_of_test", "pair_of_test"]
NAMES += ["size_of_test"]


@pytest.fixture
def parse():
    config_flags.define_flags(Config, __name__, steps_of_test=7)

    def parse(*arguments):
        flags.FLAGS(["script", *arguments])
        return config_flags.from_flags(Config, flags.FLAGS, folder="run")

    yield parse
    for name in NAMES:
        delattr(flags.FLAGS, name)


def test_fields_are_flags(parse):
    assert parse() == Config("run", 0.5, 7, "a", ())
    assert parse(
        "--learning_rate_of_test=2", "--kind_of_test=b", "--pair_of_test=1,2"
    ) == Config("run", 2.0, 7, "b", ("1", "2"))
    with pytest.raises(flags.IllegalFlagValueError):
        parse("--kind_of_test=c")
    keys = {flag.name for flag in flags.FLAGS.get_key_flags_for_module(__name__)}
    assert keys == set(NAMES)


def test_a_number_may_be_auto(parse):
    assert parse().size_of_test == 32
    sizes = ["--size_of_test=auto", "--size_of_test=0x10", "--size_of_test=-3"]
    assert [parse(size).size_of_test for size in sizes] == ["auto", 16, -3]
    flag = flags.FLAGS["size_of_test"]
    assert (flag.serialize(), flag.flag_type()) == ("--size_of_test=-3", "int or auto")
    for wrong in ("Auto", "3.5", ""):
        with pytest.raises(flags.IllegalFlagValueError):
            parse(f"--size_of_test={wrong}")
    assert flag.parser.syntactic_help == "an integer or auto"


def test_errors_name_the_field_or_the_flag(parse):
    with pytest.raises(ValueError, match=r"^rate must be 0 or more") as error:
        parse("--learning_rate_of_test=-1")
    assert error.value.explain().startswith("--learning_rate_of_test must be")
