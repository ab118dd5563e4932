import dataclasses
import json
import pathlib
import weakref

import pytest
from toy_training import build_batches, make_config, network, train

from deployment import files, precision, processor
from deployment.models.run_card import RunCard
from deployment.train import precision_choice, step
from tf_slim_compat import slim, tf

TIMES = {"float32": 0.5, "bfloat16": 0.25}


@pytest.fixture
def trials(monkeypatch, tmp_path):
    """A processor with bfloat16, and a list of the trials of it."""
    made = []

    def measure(config, build_graph, candidates):
        made.append(candidates)
        return dict(TIMES)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(processor, "has_bfloat16", lambda: True)
    monkeypatch.setattr(precision_choice, "measure", measure)
    return made


@pytest.fixture
def sessions(monkeypatch):
    """The precisions that sessions were configured with."""
    configured = []
    monkeypatch.setattr(
        precision, "configure", lambda config, name: configured.append(name)
    )
    return configured


def make_card(train_dir):
    spec = make_config(train_dir).spec.replace(image_size=8, preprocessing_name="none")
    return dataclasses.replace(RunCard.from_spec(spec), seed=1, num_samples=48)


def train_with_card(train_dir, steps, **options):
    train(train_dir, steps, card=make_card(train_dir), **options)
    return RunCard.load(str(train_dir)).precision


def test_a_trial_is_made_once_and_a_resumed_run_keeps_its_precision(
    tmp_path, trials, sessions
):
    assert train_with_card(tmp_path / "a", 50) == "bfloat16"
    assert train_with_card(tmp_path / "b", 50) == "bfloat16"
    assert trials == [("float32", "bfloat16")]
    cache = pathlib.Path(files.get_cache_folder()) / "step_times.json"
    (key,) = json.loads(cache.read_text())
    assert "toy" in key and "8 images" in key
    faster = {"float32": 0.1, "bfloat16": 0.2}
    cache.write_text(json.dumps({key: faster}))
    assert train_with_card(tmp_path / "a", 60) == "bfloat16"
    assert train_with_card(tmp_path / "c", 50) == "float32"
    assert train_with_card(tmp_path / "a", 70, precision="float32") == "float32"
    assert sessions == ["bfloat16"] * 3 + ["float32"] * 2
    assert len(trials) == 1


@pytest.mark.parametrize("content", ["", "[1]", '{"a": {"float32": -1}}'])
def test_a_damaged_cache_is_measured_anew(content, tmp_path, trials, sessions):
    cache = pathlib.Path(files.get_cache_folder()) / "step_times.json"
    cache.parent.mkdir(parents=True)
    cache.write_text(content)
    assert train_with_card(tmp_path / "run", 50) == "bfloat16"
    assert list(json.loads(cache.read_text()).values()) == [TIMES]


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path, trials, sessions):
    (tmp_path / "cache").write_text("a file")
    assert train_with_card(tmp_path / "run", 50) == "bfloat16"


@pytest.mark.parametrize(
    "options, reason",
    [
        ({"steps": 49}, "too few"),
        ({"deterministic": True}, "deterministic"),
        ({"master": "grpc://other"}, "this machine"),
    ],
)
def test_some_runs_are_in_float32_without_a_trial(options, reason, tmp_path, trials):
    choice = precision_choice.choose(make_config(tmp_path, **options), None)
    assert choice.precision == "float32" and reason in choice.reason


def test_without_its_instructions_bfloat16_is_not_tried(tmp_path, monkeypatch):
    monkeypatch.setattr(processor, "has_bfloat16", lambda: False)
    choice = precision_choice.choose(make_config(tmp_path, steps=None), None)
    assert choice.precision == "float32" and "instructions" in choice.reason


def test_a_rehearsal_of_a_few_steps_is_tried_as_the_run_would_be(tmp_path, trials):
    config = make_config(tmp_path, steps=3, is_rehearsal=True)
    assert precision_choice.choose(config, None).precision == "bfloat16"
    assert len(trials) == 1


def test_a_run_that_began_before_there_was_a_choice_stays_in_float32(
    tmp_path, trials, sessions
):
    train_with_card(tmp_path, 50)
    path = tmp_path / "run.json"
    record = json.loads(path.read_text())
    del record["precision"]
    path.write_text(json.dumps(record))
    assert train_with_card(tmp_path, 60) == "float32"


def test_a_trial_times_steps_in_turn_and_changes_nothing(
    tmp_path, monkeypatch, sessions
):
    """A real trial: the weights are those of a run without one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(precision, "list_candidates", lambda: ("float32", "bfloat16"))
    losses = [training_loss(tmp_path / name, name) for name in ("auto", "float32")]
    (times,) = json.loads(
        (tmp_path / "cache/slim-image-classifier/step_times.json").read_text()
    ).values()
    assert times.keys() == {"float32", "bfloat16"} and min(times.values()) > 0
    assert losses[0] == losses[1]
    assert sessions[:2] == ["float32", "bfloat16"] and len(sessions) == 4


@pytest.mark.parametrize("name", ["float32", "bfloat16"])
def test_only_bfloat16_computes_depthwise_gradients_by_the_forward_kernel(
    name, graph, tmp_path
):
    def depthwise_network(images):
        net = slim.separable_conv2d(images, None, 3, depth_multiplier=1)
        # A layer before it, so that it needs the gradient of its images.
        return network(slim.separable_conv2d(net, None, 3, depth_multiplier=1))

    config = make_config(tmp_path, precision=name)
    step.build_training_graph(config, depthwise_network, build_batches)
    kinds = {op.type for op in graph.get_operations()}
    is_own = "DepthwiseConv2dNativeBackpropInput" not in kinds
    assert is_own == (name == "bfloat16")


def test_a_trial_leaves_no_graph_behind(tmp_path):
    graphs = []

    def build(config):
        graphs.append(weakref.ref(tf.get_default_graph()))
        return step.build_training_graph(config, network, build_batches)

    precision_choice.measure(make_config(tmp_path), build, ("float32", "bfloat16"))
    assert [graph() for graph in graphs] == [None, None]


def training_loss(train_dir, name):
    """Returns the last loss; the precision has no effect here."""
    return train(train_dir, 50, precision=name, seed=3).loss


@pytest.mark.parametrize("secs, expected", [(0.97, "bfloat16"), (0.99, "float32")])
def test_float32_is_kept_unless_another_is_clearly_faster(secs, expected):
    choice = precision_choice._find_fastest({"float32": 1.0, "bfloat16": secs})
    assert choice.precision == expected and "not" in choice.reason


def test_alternating_blocks_end_as_soon_as_one_is_clearly_faster(monkeypatch):
    now = [0.0]
    calls = []

    def make(name, secs):
        def run():
            calls.append(name)
            now[0] += secs

        return run

    monkeypatch.setattr(precision_choice.time, "perf_counter", lambda: now[0])
    slow, fast = precision_choice._time_in_turn([make("slow", 2.0), make("fast", 1.0)])
    assert (slow, fast) == (2.0, 1.0)
    assert calls == ["slow", "fast"] * 3
    calls.clear()
    same = precision_choice._time_in_turn([make("one", 1.0), make("other", 1.0)])
    assert same == [1.0, 1.0] and calls == ["one", "other"] * 5
