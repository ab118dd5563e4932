"""Finding checkpoints of both formats, and fitting them to a graph."""

import pytest

from deployment.models import checkpoints
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
        fitted = checkpoints.fit(path, variables)
        checkpoints.build_restore_fn(fitted)(session)
        for found, expected in zip(session.run(variables), values, strict=True):
            assert (found == expected).all()
    assert fitted.unused == ()


@pytest.mark.parametrize("given", ["net.ckpt", "net.ckpt.index", "net.ckpt.meta", ""])
def test_a_prefix_a_file_or_a_folder_names_a_checkpoint(tmp_path, given):
    path, _ = save(tmp_path / "net.ckpt")
    assert checkpoints.get_checkpoint_path(str(tmp_path / given)) == path


def test_a_wrong_path_is_an_error_that_says_what_is_there(tmp_path):
    with pytest.raises(ValueError, match="holds no checkpoint"):
        checkpoints.get_checkpoint_path(str(tmp_path))
    save(tmp_path / "net.ckpt")
    with pytest.raises(ValueError, match="its folder holds net.ckpt"):
        checkpoints.get_checkpoint_path(str(tmp_path / "nte.ckpt"))
    with pytest.raises(ValueError, match="its folder does not exist"):
        checkpoints.get_checkpoint_path(str(tmp_path / "none" / "net.ckpt"))


def test_a_file_that_is_no_checkpoint_is_an_error(tmp_path):
    (tmp_path / "net.ckpt").write_text("not a checkpoint")
    with pytest.raises(ValueError, match="net.ckpt"):
        checkpoints.open_checkpoint(str(tmp_path / "net.ckpt"))


def fit_here(path, excluded_scopes="", **kwargs):
    with tf.Graph().as_default():
        variables = build_variables(**kwargs)
        excluded = checkpoints.get_variables_in_scopes(
            variables, checkpoints.split_scopes(excluded_scopes), "--exclude"
        )
        return checkpoints.fit(path, variables, excluded)


def test_another_number_of_classes_names_the_scopes_to_exclude(tmp_path):
    path, _ = save(tmp_path / "net.ckpt")
    fitted = fit_here(path, num_classes=5)
    assert sorted(name for name, _, _ in fitted.misshapen) == [
        "Net/Logits/biases",
        "Net/Logits/weights",
    ]
    with pytest.raises(ValueError, match=r"\[2, 5\], but \[2, 3\].*use Net/Logits\."):
        checkpoints.check_fit(fitted, "use {scopes}.")
    checkpoints.check_fit(fit_here(path, "Net/Logits", num_classes=5))


def test_another_network_is_an_error_that_names_both(tmp_path):
    path, _ = save(tmp_path / "net.ckpt", scope="Other")
    with pytest.raises(ValueError, match="another network: it holds .*Other, but Net"):
        checkpoints.check_fit(fit_here(path))


def test_missing_variables_are_named(tmp_path):
    path, _ = save(tmp_path / "net.ckpt")
    with tf.Graph().as_default():
        extra = tf.get_variable("Net/Extra/weights", [1])
        fitted = checkpoints.fit(path, [*build_variables(), extra])
    with pytest.raises(ValueError, match="does not hold Net/Extra/weights. Add it"):
        checkpoints.check_fit(fitted, "Add it.")


@pytest.mark.parametrize(
    ("names", "others", "scopes"),
    [
        (["A/Logits/w", "A/Logits/b"], ["A/Conv/w"], ["A/Logits"]),
        (["A/Aux/C2/w", "A/Aux/C2/b"], ["A/Aux/C1/w"], ["A/Aux/C2"]),
        (["w"], [], ["w"]),
    ],
)
def test_shortest_scopes(names, others, scopes):
    assert checkpoints.shorten_scopes(names, others) == scopes


def test_scopes_are_taken_once_and_overlap_without_repetition():
    assert checkpoints.split_scopes(" a, a/b ,a,") == ("a", "a/b")
    assert checkpoints.split_scopes(None) == ()
    with tf.Graph().as_default():
        variables = build_variables()
        chosen = checkpoints.get_variables_in_scopes(
            variables, ("Net", "Net/Logits", "Net/Logits/weights"), "--trainable_scopes"
        )
    assert chosen == variables


@pytest.mark.parametrize(
    ("scope", "said"),
    [
        ("Net/Logit/", r"The nearest scopes: Net/Logits"),
        ("Nothing", r"The nearest scopes: Net"),
        ("Net/[", r"no valid pattern"),
    ],
)
def test_a_scope_that_matches_nothing_is_an_error(scope, said):
    with tf.Graph().as_default(), pytest.raises(ValueError, match=said):
        checkpoints.get_variables_in_scopes(
            build_variables(), (scope,), "--trainable_scopes"
        )
