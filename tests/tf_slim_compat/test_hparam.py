"""`tf.contrib.training.HParams`."""

import pytest

from tf_slim_compat.contrib.hparam import HParams, parse_values


def make():
    return HParams(rate=0.1, steps=10, name="a", flag=False, sizes=[1, 2], nothing=None)


@pytest.mark.parametrize(
    "text, changed",
    [
        ("", {}),
        ("rate=1", {"rate": 1.0}),
        ("rate=1e-3,steps=-5", {"rate": 1e-3, "steps": -5}),
        ("name=x y", {"name": "x y"}),
        ("name=", {"name": ""}),
        ("flag=true", {"flag": True}),
        ("flag=0, steps = 3", {"flag": False, "steps": 3}),
        ("sizes=[4,5,6]", {"sizes": [4, 5, 6]}),
        ("sizes=[]", {"sizes": []}),
        ("sizes=7", {"sizes": [7]}),
        ("sizes[1]=9", {"sizes": [1, 9]}),
        ("sizes[1]=9,sizes[0]=8,rate=2", {"sizes": [8, 9], "rate": 2.0}),
    ],
)
def test_settings_are_read_from_text(text, changed):
    hparams = make()
    assert hparams.parse(text) is hparams
    assert hparams.values() == make().values() | changed
    assert type(hparams.rate) is float


@pytest.mark.parametrize(
    "text, error",
    [
        ("steps=1.5", "steps is of type int; '1.5'"),
        ("flag=yes", "flag is of type bool; 'yes'"),
        ("rate=fast", "rate is of type float; 'fast'"),
        ("other=1", "no hyperparameter other; there are: flag, name"),
        ("steps", "Cannot read 'steps'"),
        ("steps=1,,rate=2", "Cannot read ',rate=2'"),
        ("steps=1,steps=2", "steps is set more than once"),
        ("sizes[0]=1,sizes[0]=2", "sizes is set more than once"),
        ("sizes=[1],sizes[0]=2", "sizes is set more than once"),
        ("sizes[2]=1", r"has 2 values in a list; there is no sizes\[2\]"),
        ("sizes[0]=[1]", r"sizes\[0\] is set to a list"),
        ("steps=[1,2]", r"steps is one value; the value is \[1, 2\]"),
        ("steps[0]=1", r"has 0 values in a list; there is no steps\[0\]"),
    ],
)
def test_text_that_does_not_fit_is_refused(text, error):
    with pytest.raises(ValueError, match=error):
        make().parse(text)


def test_unknown_names_can_be_left_out():
    assert parse_values("a=1,b=2", {"a": int}, ignore_unknown=True) == {"a": 1}


@pytest.mark.parametrize(
    "name, value, expected",
    [
        ("rate", 2, 2.0),
        ("steps", 4, 4),
        ("sizes", (3, 4), [3, 4]),
        ("nothing", "text", "text"),
        ("rate", None, None),
        ("steps", 4.0, ValueError),
        ("steps", True, ValueError),
        ("steps", "4", ValueError),
        ("flag", 1, ValueError),
        ("name", 1, ValueError),
        ("sizes", 3, ValueError),
        ("rate", [1.0], ValueError),
        ("other", 1, KeyError),
    ],
)
def test_values_keep_their_type(name, value, expected):
    hparams = make()
    if isinstance(expected, type):
        with pytest.raises(expected):
            hparams.set_hparam(name, value)
    else:
        hparams.override_from_dict({name: value})
        assert getattr(hparams, name) == expected
        assert type(getattr(hparams, name)) is type(expected)


def test_hyperparameters_are_added_and_removed():
    hparams = make()
    hparams.add_hparam("late", [1.5])
    hparams.parse("late[0]=2")
    assert hparams.late == [2.0]
    assert "late" in hparams and "later" not in hparams
    hparams.del_hparam("late")
    hparams.del_hparam("late")
    assert "late" not in hparams and not hasattr(hparams, "late")
    assert list(hparams) == ["rate", "steps", "name", "flag", "sizes", "nothing"]
    for name, value in (("rate", 1), ("parse", 1), ("empty", [])):
        with pytest.raises(ValueError):
            hparams.add_hparam(name, value)
    hparams.set_model_structure("deep")
    assert hparams.get_model_structure() == "deep"
    with pytest.raises(ValueError, match="protocol buffers"):
        HParams("definition")


def test_hyperparameters_go_through_json():
    hparams = HParams(rate=0.1, sizes=[1, 2], made=len)
    text = hparams.to_json(sort_keys=True, separators=(",", ":"))
    assert text == '{"rate":0.1,"sizes":[1,2]}'
    assert hparams.parse_json('{"rate": 3, "sizes": [9]}').sizes == [9]
    assert hparams.rate == 3.0
    assert str(HParams(b=1, a="x")) == "[('a', 'x'), ('b', 1)]"


def test_values_can_be_had_with_a_default():
    hparams = make()
    assert hparams.get("steps") == 10
    assert hparams.get("steps", 5) == 10
    assert hparams.get("other", 5) == 5
    assert hparams.get("sizes", [0]) == [1, 2]
    for name, default in (("steps", 1.5), ("sizes", 1), ("name", 2)):
        with pytest.raises(ValueError):
            hparams.get(name, default)
