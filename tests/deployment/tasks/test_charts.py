"""Charts are PNG images at any size, whatever the names and values."""

import io

import numpy as np
import pytest
from PIL import Image

from deployment.tasks import charts


def check_png(chart):
    png, height, width = chart
    image = Image.open(io.BytesIO(png))
    assert image.format == "PNG" and image.size == (width, height)
    assert np.asarray(image.convert("L")).std() > 0  # Not blank.
    return height, width


@pytest.mark.parametrize("num_classes", [2, 21, 61])
def test_confusion_matrix(num_classes):
    confusion = np.eye(num_classes, dtype=np.int64) * 3
    names = ("$x$", "名") + ("a" * 50,) * (num_classes - 2)
    height, width = check_png(charts.draw_confusion(confusion, names))
    assert height > 200 and width > height


@pytest.mark.parametrize("num_targets", [1, 10])
def test_regression_charts(num_targets):
    labels = np.random.RandomState(0).normal(size=[30, num_targets])
    values = labels + 0.1
    values[0, 0] = np.nan
    names = ("$x$",) + ("height",) * (num_targets - 1)
    assert check_png(charts.draw_scatter(labels, values, names)) == check_png(
        charts.draw_errors(values - labels, names)
    )


@pytest.mark.parametrize("fill", [np.nan, 7.0])
def test_values_without_a_range(fill):
    values = np.full([3, 1], fill)
    check_png(charts.draw_scatter(values, values, ("a",)))
    check_png(charts.draw_errors(values - 7, ("a",)))
