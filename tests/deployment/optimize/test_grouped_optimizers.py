"""Layer-wise learning-rate factors."""

import numpy as np
import pytest

from deployment.optimize import grouped_optimizers, optimizers
from tf_slim_compat import tf

NAMES = ("Net/Conv2d/weights", "Net/Conv2d/biases", "Net/Mid/w", "Net/Logits/w")
FACTORS = (("Net/Logits", 10.0), ("Net/Conv2d/weights", 0.0), (r"Net/.*2d", 0.1))


def build(name="sgd", factors=FACTORS, rate=0.01):
    """Four variables of 1, the loss that is their sum, and an optimizer."""
    variables = [tf.get_variable(n, initializer=[1.0, 1.0]) for n in NAMES]
    config = optimizers.OptimizerConfig(name=name, learning_rate_factors=factors)
    optimizer = optimizers.build_optimizer(config, rate)
    loss = tf.add_n([tf.reduce_sum(tf.square(v)) / 2 for v in variables])
    return variables, loss, optimizer


def test_each_variable_has_the_rate_of_its_first_scope():
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
def test_a_rate_of_its_own_is_that_of_a_run_with_that_rate(name):
    def run(factors, rate):
        with tf.Graph().as_default(), tf.Session() as session:
            tensor = tf.constant(rate)
            variables, loss, optimizer = build(name, factors, tensor)
            update = optimizer.minimize(loss)
            session.run(tf.global_variables_initializer())
            for _ in range(3):
                session.run(update)
            return session.run(variables)

    grouped = run((("Net/Logits", 4.0), ("Net/Conv2d", 0.0)), 0.01)
    np.testing.assert_array_equal(grouped[0], [1, 1])
    np.testing.assert_array_equal(grouped[2], run((), 0.01)[2])
    np.testing.assert_array_equal(grouped[3], run((), 0.04)[3])


def test_variables_of_factor_0_have_no_gradient():
    with tf.Graph().as_default():
        variables, loss, optimizer = build()
        pairs = optimizer.compute_gradients(loss)
        assert [v.op.name for _, v in pairs] == [NAMES[1], NAMES[2], NAMES[3]]
        # Nor are they updated where somebody else computed one.
        optimizer.apply_gradients([(tf.ones([2]), v) for v in variables])
        with pytest.raises(ValueError, match="no gradient for any variable"):
            optimizer.apply_gradients([(tf.ones([2]), variables[0])])
        with pytest.raises(ValueError, match="is 0 for every variable"):
            optimizer.compute_gradients(loss, variables[:1])


@pytest.mark.parametrize("scope", ["", "somewhere/else/"])
def test_names_in_checkpoints(scope):
    """The plain group's are those of the plain optimizer, wherever it is applied."""
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
    """A factor of 1 for all is the plain optimizer in every name."""
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
            session.run(aggregate)  # What the chief's thread does.
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
        ("A/B", "must be scopes with factors of 0 or more, .* but has 'A/B'"),
        ("A:10,B:fast", "has 'B:fast'"),
        (":10", "has ':10'"),
        ("A:-1", "has 'A:-1'"),
        ("A:nan", "has 'A:nan'"),
        ("A:1,A/:2", "has the scope 'A' twice"),
        ("A(:1", r"has the scope 'A\(', which is no valid pattern"),
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
            "the scope 'Net/Logits' after 'Net', .* put it before",
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
