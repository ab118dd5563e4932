"""Finding checkpoints of both formats, and fitting them to a graph."""

import dataclasses

import pytest

from deployment.models import restoring
from deployment.models.checkpoint import Checkpoint
from tf_slim_compat import tf

FORMATS = {"V1": tf.train.SaverDef.V1, "V2": tf.train.SaverDef.V2}


def build_variables(num_classes=3, scope="Net"):
    with tf.variable_scope(scope):
        return [
            tf.get_variable("Conv/weights", [2, 2]),
            tf.get_variable("Logits/weights", [2, num_classes]),
            tf.get_variable("Logits/biases", [num_classes]),
        ]


def save(path, write_version=FORMATS["V2"], **kwargs):
    """Saves a checkpoint with a global step and a slot as optimizers leave them."""
    with tf.Graph().as_default(), tf.Session() as session:
        variables = build_variables(**kwargs)
        tf.train.create_global_step()
        tf.get_variable("Net/Conv/weights/Momentum", [2, 2])
        session.run(tf.global_variables_initializer())
        saver = tf.train.Saver(write_version=write_version)
        return saver.save(session, str(path)), session.run(variables)


@pytest.mark.parametrize("write_version", FORMATS.values(), ids=FORMATS)
def test_both_formats_restore(tmp_path, write_version):
    path, values = save(tmp_path / "net.ckpt", write_version)
    with tf.Graph().as_default(), tf.Session() as session:
        variables = build_variables()
        fitted = restoring.fit(Checkpoint(path), variables)
        restoring.build_restore_fn(fitted)(session)
        for found, expected in zip(session.run(variables), values, strict=True):
            assert (found == expected).all()
    assert fitted.unused == ()


def fit_here(path, excluded_scopes="", **kwargs):
    with tf.Graph().as_default():
        variables = build_variables(**kwargs)
        excluded = restoring.get_variables_in_scopes(
            variables, restoring.split_scopes(excluded_scopes), "--exclude"
        )
        return restoring.fit(Checkpoint(path), variables, excluded)


def test_another_number_of_classes_names_the_scopes_to_exclude(tmp_path):
    path, _ = save(tmp_path / "net.ckpt")
    fitted = fit_here(path, num_classes=5)
    assert sorted(name for name, _, _ in fitted.misshapen) == [
        "Net/Logits/biases",
        "Net/Logits/weights",
    ]
    with pytest.raises(ValueError, match=r"\[2, 5\], but \[2, 3\].*use Net/Logits\."):
        restoring.check_fit(fitted, "use {scopes}.")
    restoring.check_fit(fit_here(path, "Net/Logits", num_classes=5))


def test_another_network_is_an_error_that_names_both(tmp_path):
    path, _ = save(tmp_path / "net.ckpt", scope="Other")
    with pytest.raises(ValueError, match="another network: it holds .*Other, but Net"):
        restoring.check_fit(fit_here(path))


def test_missing_variables_are_named(tmp_path):
    path, _ = save(tmp_path / "net.ckpt")
    with tf.Graph().as_default():
        extra = tf.get_variable("Net/Extra/weights", [1])
        fitted = restoring.fit(Checkpoint(path), [*build_variables(), extra])
    with pytest.raises(ValueError, match="does not hold Net/Extra/weights. Add it"):
        restoring.check_fit(fitted, "Add it.")
    fitted = dataclasses.replace(fitted, missing=["a", "b"])
    with pytest.raises(ValueError, match=r"does not hold a \(and 1 more\)\. Add it"):
        restoring.check_fit(fitted, "Add it.")


@pytest.mark.parametrize(
    ("names", "others", "scopes"),
    [
        (["A/Logits/w", "A/Logits/b"], ["A/Conv/w"], ["A/Logits"]),
        (["A/Aux/C2/w", "A/Aux/C2/b"], ["A/Aux/C1/w"], ["A/Aux/C2"]),
        (["w"], [], ["w"]),
    ],
)
def test_shortest_scopes(names, others, scopes):
    assert restoring.shorten_scopes(names, others) == scopes


def test_scopes_are_taken_once_and_overlap_without_repetition():
    assert restoring.split_scopes(" a, a/b ,a,") == ("a", "a/b")
    assert restoring.split_scopes(None) == ()
    with tf.Graph().as_default():
        variables = build_variables()
        chosen = restoring.get_variables_in_scopes(
            variables, ("Net", "Net/Logits", "Net/Logits/weights"), "--trainable_scopes"
        )
    assert chosen == variables


@pytest.mark.parametrize(
    ("scope", "said"),
    [
        ("Net/Logit/", r"The nearest scopes: Net/Logits"),
        ("Nothing", r"The nearest scopes: Net"),
        ("zzz", r"The nearest scopes: Net\."),
        ("Net/[", r"no valid pattern"),
    ],
)
def test_a_scope_that_matches_nothing_is_an_error(scope, said):
    with tf.Graph().as_default(), pytest.raises(ValueError, match=said):
        restoring.get_variables_in_scopes(
            build_variables(), (scope,), "--trainable_scopes"
        )


def test_a_scope_that_matches_nothing_beside_others_is_warned_of(caplog):
    with tf.Graph().as_default():
        variables = build_variables()
        chosen = restoring.get_variables_in_scopes(
            variables, ("Net/Logits", "Net/AuxLogits", "global_step"), "--exclude"
        )
    assert {v.op.name for v in chosen} == {
        v.op.name for v in variables if v.op.name.startswith("Net/Logits")
    }
    assert "'Net/AuxLogits', but no variable is in it" in caplog.text
    assert "'global_step', but no variable is in it" in caplog.text
