"""Learning-rate factors by scope."""

import numpy as np
import pytest

from deployment.config_flags import SettingError
from deployment.optimize import grouped_optimizers, optimizers
from tf_slim_compat import tf

NAMES = ("Net/Conv2d/weights", "Net/Conv2d/biases", "Net/Mid/w", "Net/Logits/w")
FACTORS = (("Net/Logits", 10.0), ("Net/Conv2d/weights", 0.0), (r"Net/.*2d", 0.1))


def build(name="sgd", factors=FACTORS, rate=0.01):
    """Returns four variables of ones, a loss and an optimizer."""
    variables = [tf.get_variable(n, initializer=[1.0, 1.0]) for n in NAMES]
    config = optimizers.OptimizerConfig(name=name, learning_rate_factors=factors)
    optimizer = optimizers.build_optimizer(config, rate)
    loss = tf.add_n([tf.reduce_sum(tf.square(v)) / 2 for v in variables])
    return variables, loss, optimizer


def test_the_first_scope_that_matches_sets_the_rate():
    with tf.Graph().as_default(), tf.Session() as session:
        variables, loss, optimizer = build()
        step = tf.train.create_global_step()
        update = optimizer.minimize(loss, global_step=step)
        session.run(tf.global_variables_initializer())
        session.run(update)
        found = [float(value[0]) for value in session.run(variables)]
        assert found == pytest.approx([1.0, 0.999, 0.99, 0.9])
        assert session.run(step) == 1
        session.run(update)
        assert session.run(step) == 2


@pytest.mark.parametrize("name", sorted(optimizers.OPTIMIZERS))
def test_a_factor_equals_a_run_with_the_scaled_rate(name):
    def run(factors, *rates):
        with tf.Graph().as_default(), tf.Session() as session:
            rate = tf.placeholder(tf.float32, [])
            variables, loss, optimizer = build(name, factors, rate)
            update = optimizer.minimize(loss)
            initialize = tf.global_variables_initializer()
            for value in rates:
                session.run(initialize)
                for _ in range(3):
                    session.run(update, {rate: value})
                yield session.run(variables)

    (grouped,) = run((("Net/Logits", 4.0), ("Net/Conv2d", 0.0)), 0.01)
    plain, fast = run((), 0.01, 0.04)
    np.testing.assert_array_equal(grouped[0], [1, 1])
    np.testing.assert_array_equal(grouped[2], plain[2])
    np.testing.assert_array_equal(grouped[3], fast[3])


def test_variables_with_factor_0_are_not_trained():
    with tf.Graph().as_default():
        variables, loss, optimizer = build()
        pairs = optimizer.compute_gradients(loss)
        assert [v.op.name for _, v in pairs] == [NAMES[1], NAMES[2], NAMES[3]]
        # Gradients computed elsewhere do not update them either.
        optimizer.apply_gradients([(tf.ones([2]), v) for v in variables])
        with pytest.raises(
            ValueError, match="No variable with a nonzero learning-rate factor has"
        ):
            optimizer.apply_gradients([(tf.ones([2]), variables[0])])
        with pytest.raises(ValueError, match="is 0 for every variable"):
            optimizer.compute_gradients(loss, variables[:1])


@pytest.mark.parametrize("scope", ["", "somewhere/else/"])
def test_names_in_checkpoints(scope):
    """With factor 1 they are those of the plain optimizer, in any name scope."""
    with tf.Graph().as_default():
        variables, loss, optimizer = build("adam")
        pairs = optimizer.compute_gradients(loss)
        with tf.name_scope(scope):
            optimizer.apply_gradients(pairs)
        assert optimizer.get_slot_names() == ["m", "v"]
        slot = optimizer.get_slot(variables[3], "v")
        assert slot.op.name == "Net/Logits/w/Adam_1"
        assert optimizer.get_slot(variables[0], "m") is None
        slots = [f"{n}/Adam{end}" for n in NAMES[1:] for end in ("", "_1")]
        powers = [
            f"{group}/{power}"
            for group in (
                scope.rstrip("/"),
                "learning_rate_factor_0.1",
                "learning_rate_factor_10",
            )
            for power in ("beta1_power", "beta2_power")
        ]
        names = [variable.op.name for variable in optimizer.variables()]
        expected = sorted([*slots, *(p.strip("/") for p in powers)])
        assert sorted(names) == expected
        assert {v.op.name for v in tf.global_variables()} == {*NAMES, *expected}


def test_restored_from_the_plain_optimizers_checkpoint(tmp_path):
    """With factor 1 for all variables, every name is that of the plain optimizer."""
    path = None
    for factors in ((), (("Net", 1.0),)):
        with tf.Graph().as_default(), tf.Session() as session:
            _, loss, optimizer = build("adam", factors)
            optimizer.minimize(loss, global_step=tf.train.create_global_step())
            saver = tf.train.Saver()
            if path is None:
                session.run(tf.global_variables_initializer())
                path = saver.save(session, str(tmp_path / "model.ckpt"))
            else:
                saver.restore(session, path)
                assert len(tf.train.list_variables(path)) == len(tf.global_variables())


def test_within_synchronous_replicas():
    with tf.Graph().as_default():
        variables, loss, optimizer = build("adamw")
        step = tf.train.create_global_step()
        sync = tf.train.SyncReplicasOptimizer(optimizer, replicas_to_aggregate=1)
        update = sync.apply_gradients(sync.compute_gradients(loss), step)
        assert sync.get_slot_names() == ["m", "v"]
        assert sync.get_slot(variables[3], "m").op.name == "Net/Logits/w/AdamW"
        (aggregate,) = sync.get_chief_queue_runner().enqueue_ops
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            assert session.run(sync.ready_for_local_init_op).size == 0
            session.run(tf.local_variables_initializer())
            session.run([sync.chief_init_op, sync.get_init_tokens_op()])
            session.run(update)
            session.run(aggregate)  # As the chief's thread does.
            assert session.run(step) == 1
            found = session.run(variables)
        np.testing.assert_array_equal(found[0], [1, 1])
        assert 1 > found[1][0] > found[2][0] > found[3][0]


@pytest.mark.parametrize(
    ("text", "factors"),
    [
        (None, ()),
        ("", ()),
        ("A/B:10,A/C:0.1", (("A/B", 10.0), ("A/C", 0.1))),
        (" A/B/ : 0 , (?:C|D)/e:1e-2,", (("A/B", 0.0), ("(?:C|D)/e", 0.01))),
    ],
)
def test_parse(text, factors):
    assert optimizers.parse_learning_rate_factors(text) == factors


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("A/B", "must be scopes with factors of 0 or more, .* but contains 'A/B'"),
        ("A:10,B:fast", "contains 'B:fast'"),
        (":10", "contains ':10'"),
        ("A:-1", "contains 'A:-1'"),
        ("A:nan", "contains 'A:nan'"),
        ("A:1,A/:2", "contains the scope 'A' twice"),
        ("A(:1", r"contains the scope 'A\(', which is not a valid regular"),
    ],
)
def test_parse_errors(text, said):
    with pytest.raises(ValueError, match=said):
        grouped_optimizers.parse_learning_rate_factors(text)


@pytest.mark.parametrize(
    ("factors", "said"),
    [
        ((("Net/Logit_s", 2.0),), "Net/Logit_s.*The nearest scopes: Net/Logits"),
        (
            (("Net", 2.0), ("Net/Logits", 10.0)),
            "the scope 'Net/Logits' after 'Net', .* move it to the front",
        ),
        ((("Net", 0.0),), "is 0 for every variable"),
    ],
)
def test_factors_without_effect_are_errors(factors, said):
    with tf.Graph().as_default():
        variables, _, _ = build()
        config = optimizers.OptimizerConfig(learning_rate_factors=factors)
        with pytest.raises(ValueError, match=said):
            optimizers.check_factors(config, variables)


def test_checked_factors_by_name():
    with tf.Graph().as_default():
        variables, _, _ = build()
        config = optimizers.OptimizerConfig(learning_rate_factors=FACTORS)
        found = optimizers.check_factors(config, variables)
        assert list(found.items()) == list(zip(NAMES, [0, 0.1, 1, 10], strict=True))
        plain = optimizers.check_factors(optimizers.OptimizerConfig(), variables)
        assert set(plain.values()) == {1.0}


def test_errors_name_the_flag_to_users():
    with tf.Graph().as_default():
        variables, _, _ = build()
        with pytest.raises(SettingError, match="^learning_rate_factors has") as error:
            grouped_optimizers.check_factors((("Net/Logit_s", 2.0),), variables)
    assert error.value.explain().startswith("--learning_rate_factors has the scope")
