import numpy as np
import pytest

from deployment import precision, processor
from deployment.config_flags import SettingError
from tf_slim_compat import tf

CPUINFO = {
    "x86": ("model name\t: Fast 9\nflags\t\t: fpu avx512_bf16 amx\n\nflags\t: other\n"),
    "arm": "CPU part\t: 0xd40\nFeatures\t: fp asimd bf16\n",
    "plain": "model name\t: Slow 1\nflags\t\t: fpu avx2\n",
}


@pytest.mark.parametrize(
    "kind, name, has",
    [("x86", "Fast 9", 1), ("arm", "0xd40", 1), ("plain", "Slow 1", 0)],
)
def test_the_instructions_of_the_processor_give_the_candidates(
    kind, name, has, tmp_path, monkeypatch
):
    path = tmp_path / "cpuinfo"
    path.write_text(CPUINFO[kind])
    facts = processor._read_facts(str(path))
    monkeypatch.setattr(processor, "_read_facts", lambda: facts)
    for function in (processor.get_name, processor.get_instructions):
        monkeypatch.setattr(processor, function.__name__, function.__wrapped__)
    assert processor.get_name() == name
    assert processor.has_bfloat16() == has
    candidates = ["float32", "bfloat16"][: 1 + has]
    assert list(precision.list_candidates()) == candidates
    assert precision.may_be_bfloat16("auto", True) == has
    assert not precision.may_be_bfloat16("auto", False)
    assert not precision.may_be_bfloat16("float32", True)


def test_an_unknown_machine_computes_in_float32(monkeypatch):
    facts = processor._read_facts("/nonexistent")
    monkeypatch.setattr(processor, "_read_facts", lambda: facts)
    name, instructions = (
        function.__wrapped__()
        for function in (processor.get_name, processor.get_instructions)
    )
    assert name and not instructions


def test_bfloat16_computes_matrix_products_with_fewer_bits(graph):
    values = tf.placeholder(tf.float32, [64, 64])
    # The rewriter keeps what is fetched.
    product = tf.identity(tf.matmul(tf.nn.relu(values), values)) + 1.0
    fed = {values: np.full([64, 64], 1 + 2.0**-12)}

    def multiply(name):
        config = tf.ConfigProto()
        precision.configure(config, name)
        with tf.Session(config=config) as session:
            return session.run(product, fed).max()

    assert multiply("float32") > 65.01
    # TensorFlow leaves the graph alone where the processor lacks the instructions.
    assert (multiply("bfloat16") == 65) == processor.has_bfloat16()


@pytest.mark.parametrize("name, on_cpu", [("float64", True), ("float16", True)])
def test_a_precision_that_cannot_be_is_an_error(name, on_cpu):
    with pytest.raises(SettingError, match="precision"):
        precision.check(name, on_cpu)
    precision.check("float16", False)
    precision.check("auto", True)
