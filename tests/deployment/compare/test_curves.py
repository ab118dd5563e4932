"""Curves are drawn for the metrics that runs have."""

import numpy as np
import pytest
from PIL import Image

from deployment.compare import curves
from deployment.compare.measurements import Run


def make_run(name="a", **metrics):
    """A run with four evaluations, and the same metrics on training batches."""
    rows = [
        {
            "step": step,
            **{metric: values[i] for metric, values in metrics.items()},
        }
        for i, step in enumerate((10, 20, 30, 40))
    ]
    return Run(name, None, [{**row, "learning_rate": 0.1} for row in rows], rows)


@pytest.fixture
def drawn(monkeypatch):
    """Draws runs; returns the figure's panels by title, and its legend's texts."""
    figures = []
    monkeypatch.setattr(curves, "_save", lambda figure, _: figures.append(figure))

    def draw(*runs, **options):
        curves.draw(runs, "curves.png", **options)
        figure = figures[-1]
        panels = {panel.get_title(): panel for panel in figure.axes}
        return panels, [text.get_text() for text in figure.legends[0].get_texts()]

    return draw


REGRESSION = {
    "loss": [4, 3, 2, 1],
    "mae": [4, 1, 2, 3],
    "r2": [-50, 0.1, 0.5, 0.8],
}


LOSS = "loss (without regularization)"
TOTAL_LOSS = "total loss (with regularization)"


def find_stars(panel):
    return [
        (line.get_xdata()[0], line.get_ydata()[0])
        for line in panel.lines
        if line.get_marker() == "*"
    ]


def test_each_metric_of_a_run_has_a_panel(drawn):
    panels, legend = drawn(make_run(**REGRESSION))
    assert list(panels) == ["mae", LOSS, "r2", "learning rate"]
    assert legend == ["a: best mae 1 at step 20"]
    assert find_stars(panels["mae"]) == [(20, 1)]
    assert find_stars(panels[LOSS]) == find_stars(panels["r2"]) == []
    lines = [line.get_ydata() for line in panels["r2"].lines]
    np.testing.assert_allclose(lines, [REGRESSION["r2"]] * 3)


def test_metrics_can_be_chosen(drawn):
    panels, _ = drawn(make_run(**REGRESSION), metrics=["r2", "r2"])
    assert list(panels) == ["r2", "learning rate"]
    with pytest.raises(ValueError, match="Unknown metric 'r'. .*All: loss, mae, r2"):
        drawn(make_run(**REGRESSION), metrics=["r"])


def test_total_loss_is_drawn_apart_where_it_is_all_there_is(drawn):
    both = [{"step": 1, "loss": 2.0, "total_loss": 2.5}]
    evaluations = [{"step": 1, "loss": 2.1}]
    new, old = Run("new", None, both, evaluations), Run("old", None, [], evaluations)
    old.training.append({"step": 1, "total_loss": 2.5})
    assert TOTAL_LOSS not in drawn(new)[0]
    panels, _ = drawn(new, old)
    assert [line.get_ydata()[0] for line in panels[TOTAL_LOSS].lines[:2]] == [2.5] * 2
    assert TOTAL_LOSS in drawn(new, metrics=["total_loss"])[0]


def test_runs_with_different_metrics_are_drawn_together(drawn):
    first = make_run("a", mean_average_precision=[0.1, 0.4, 0.3, 0.2])
    second = make_run("b", f1_macro=[0.5, 0.6, 0.7, 0.8])
    panels, legend = drawn(first, second)
    assert list(panels) == ["mean average precision", "f1 macro", "learning rate"]
    assert legend == [
        "a: best mean_average_precision 0.4 at step 20",
        "b: best f1_macro 0.8 at step 40",
    ]


def test_short_lines_have_markers(drawn):
    rows = [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}, {"step": 3, "loss": 1}]
    for count, marker in (2, "."), (3, "None"):
        panels, _ = drawn(Run("a", None, rows[:count], []))
        assert [
            line.get_marker() for line in panels["loss (without regularization)"].lines
        ][1] == marker


def test_limits_hide_outliers(drawn):
    panels, _ = drawn(make_run(**REGRESSION), smoothing=0)
    bottom, top = panels["r2"].get_ylim()
    assert -3 < bottom < 0.1 and 0.8 < top < 1.2
    panels, _ = drawn(make_run(accuracy=[0.1, 0.2, 0.8, 0.9]))
    bottom, top = panels["accuracy"].get_ylim()
    assert 0 < bottom < 0.1 and 0.9 < top < 1
    losses = [{"step": i, "loss": 100 if i == 0 else 1} for i in range(50)]
    panels, _ = drawn(Run("a", None, losses, []), smoothing=0)
    bottom, top = panels[LOSS].get_ylim()
    assert bottom == 0 and 1 < top < 2


def test_learning_rates_of_different_magnitudes_have_a_logarithmic_scale(drawn):
    def make(name, *rates):
        rows = [{"step": i, "learning_rate": rate} for i, rate in enumerate(rates)]
        return Run(name, None, rows, [])

    panels, _ = drawn(make("a", 0.1, 0.05), make("b", 0.02))
    assert panels["learning rate"].get_yscale() == "linear"
    panels, _ = drawn(make("a", 0.1, 0.0), make("b", 0.005, 0.0001))
    assert panels["learning rate"].get_yscale() == "log"
    assert panels["learning rate"].get_ylim()[0] == pytest.approx(0.00007)


def test_what_is_not_measured_is_said(drawn):
    run = Run("a", None, [{"step": 1, "loss": 2.0}], [])
    panels, legend = drawn(run)
    assert [text.get_text() for text in panels["learning rate"].texts] == [
        "not measured"
    ]
    assert legend == ["a"]


def test_nothing_to_draw_is_an_error(tmp_path):
    output = str(tmp_path / "curves.png")
    with pytest.raises(ValueError, match="nothing to draw in 'a', 'b'"):
        curves.draw([Run("a", None, [], []), Run("b", None, [], [])], output)
    with pytest.raises(ValueError, match="unknown for 'a': use --x=steps"):
        curves.draw([make_run(loss=[1] * 4)], output, x="epochs")
    with pytest.raises(ValueError, match="'a.txt' has no extension of an image"):
        curves.draw([make_run(loss=[1] * 4)], "a.txt")
    assert not list(tmp_path.iterdir())


def test_many_runs_are_drawn_into_one_file(tmp_path):
    runs = [make_run(f"run {i}", loss=[i + 1] * 4) for i in range(12)]
    path = tmp_path / "new" / "curves.png"
    assert curves.draw([*runs, Run("none", None, [], [])], str(path)) == runs
    assert [file.name for file in path.parent.iterdir()] == ["curves.png"]
    with Image.open(path) as image:
        assert image.width > 600 and image.height > 600


def test_the_running_mean_stays_centered():
    line = np.arange(50.0)
    np.testing.assert_allclose(curves.smooth(line, 0.2), line)
    zigzag = line + np.tile([-1, 1], 25)
    assert np.abs(curves.smooth(zigzag, 0.2) - line)[5:-5].max() < 0.11
    assert list(curves.smooth([1.0], 1)) == [1]
    assert list(curves.smooth([], 0.1)) == []
