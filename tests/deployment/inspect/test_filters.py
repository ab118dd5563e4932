"""The filters of first layers, and the weights of linear models, as images."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from saved_checkpoints import save

from deployment.inspect import filters, linear_weights
from deployment.models import run_card
from deployment.models.checkpoint import Checkpoint
from nets import nets_factory
from tf_slim_compat import tf

pytestmark = pytest.mark.usefixtures("graph")

KERNEL = np.linspace(-1, 1, 3 * 3 * 3 * 8, dtype=np.float32).reshape(3, 3, 3, 8)
RED, BLUE, WHITE = (103, 0, 31), (5, 48, 97), (247, 247, 247)  # Of matplotlib's RdBu_r.


def open_saved(path, values):
    return Checkpoint(save(path, values, "V2"))


def make_card(num_classes=2, image_size=5, **changes):
    changes = {"class_names": ("cat", "dog"), **changes}
    return run_card.RunCard(
        model_name="softmax_regression",
        num_classes=num_classes,
        image_size=image_size,
        preprocessing_name="cifarnet",
        **changes,
    )


def test_the_filters_of_the_first_layer_are_drawn(tmp_path):
    values = {
        "Net/Conv/weights": KERNEL,
        "Net/Conv/weights/Momentum": KERNEL,
        "Net/Late/weights": np.ones((3, 3, 3, 64), np.float32),
        "Net/Logits/weights": np.ones((8, 5), np.float32),
    }
    reader = open_saved(tmp_path / "m", values)
    path = tmp_path / "new" / "filters.png"
    name, width, height = filters.write_weights(reader, str(path))
    assert name == "Net/Conv/weights"
    assert [file.name for file in path.parent.iterdir()] == ["filters.png"]
    image = Image.open(path)
    assert image.size == (width, height) and image.mode == "RGB"
    pixels = np.asarray(image)
    # Eight filters of 48 pixels, three apart, in rows of four.
    assert pixels.shape == (2 * 51 + 3, 4 * 51 + 3, 3)
    largest = np.abs(KERNEL[..., 5]).max()
    expected = np.rint(127.5 + 127.5 * KERNEL[0, 2, :, 5] / largest)
    assert (pixels[3 + 51 + 2, 3 + 51 + 47] == expected).all()


def test_filters_of_other_shapes():
    assert filters.draw_filters(np.ones((5, 5, 1, 20))).mode == "L"
    assert filters.draw_filters(np.zeros((7, 7, 7, 3, 4))).mode == "RGB"
    for count in (1, 2):
        drawn = filters.draw_filters(np.ones((3, 3, 3, count)))
        assert (drawn.size, drawn.mode) == ((2 * 51 + 3, 51 + 3), "RGB")
    with pytest.raises(ValueError, match="NaN"):
        filters.draw_filters(np.full((3, 3, 3, 2), np.nan))
    with pytest.raises(ValueError, match=r"not \[2, 3, 4\]"):
        filters.draw_filters(np.ones((2, 3, 4)))


@pytest.mark.parametrize(
    "values",
    [
        {"fc1/weights": np.ones((9, 4), "f4"), "fc2/weights": np.ones((4, 2), "f4")},
        {"conv/weights": np.ones((3, 3, 8, 8), "f4"), "fc/weights": np.ones((9, 4))},
        {"global_step": np.array(7)},
    ],
)
def test_models_without_a_first_layer_to_draw(tmp_path, values):
    reader = open_saved(tmp_path / "m", values)
    with pytest.raises(ValueError, match="no first layer .* --filters_variable"):
        filters.write_weights(reader, str(tmp_path / "weights.png"))
    assert not (tmp_path / "weights.png").exists()


def test_unknown_image_formats(tmp_path):
    reader = open_saved(tmp_path / "m", {"weights": KERNEL})
    for name in ("weights.xyz", "weights"):
        with pytest.raises(ValueError, match="use .png"):
            filters.write_weights(reader, str(tmp_path / name))
    assert not list(tmp_path.glob("*weights*"))


def test_the_weights_of_a_linear_model_are_found(tmp_path):
    values = {
        "Softmax/Logits/weights": np.ones((75, 2), np.float32),
        "Softmax/Logits/weights/Adam": np.ones((75, 2), np.float32),
        "Softmax/Logits/weights/ExponentialMovingAverage": np.ones((75, 2), "f4"),
        "Softmax/Logits/biases": np.ones(2, np.float32),
        "global_step": np.array(3),
    }
    reader = open_saved(tmp_path / "m", values)
    assert filters.find_weights(reader) == "Softmax/Logits/weights"
    path = str(tmp_path / "weights.png")
    name, width, height = filters.write_weights(reader, path, card=make_card())
    assert name == "Softmax/Logits/weights"
    assert Image.open(path).size == (width, height)


@pytest.mark.parametrize(
    ("name", "num_outputs", "titles"),
    [
        ("softmax_regression", 2, ["cat", "dog"]),
        ("logistic_regression", 2, ["dog (red) or cat (blue)"]),
        ("linear_regression", 2, ["cat", "dog"]),
    ],
)
def test_the_linear_networks_can_be_drawn(tmp_path, name, num_outputs, titles):
    images = tf.placeholder(tf.float32, [1, 5, 5, 3])
    nets_factory.get_network_fn(name, num_outputs, is_training=True)(images)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        path = tf.train.Saver().save(session, str(tmp_path / "model.ckpt"))
    reader = Checkpoint(path)
    weights = reader.read(filters.find_weights(reader))
    card = make_card()
    assert linear_weights.get_image_shape(len(weights), card) == (5, 3)
    assert linear_weights.get_titles(weights.shape[1], card) == titles
    assert linear_weights.draw(weights, card).mode == "RGB"


def count_pixels(image, color):
    """Counts pixels of a color: a row for each of two classes, a column per channel."""
    pixels = np.asarray(image)
    drawn = pixels[40:, : pixels.shape[1] - 132]  # Without titles and color bar.
    matches = (np.abs(drawn.astype(int) - color) <= 2).all(axis=-1)
    return [
        [int(part.sum()) for part in np.array_split(row, 3, axis=1)]
        for row in np.array_split(matches, 2)
    ]


def test_one_image_per_class_with_symmetric_colors():
    weights = np.zeros((5, 5, 3, 2), np.float32)
    weights[1:4, 1:4, 0, 0] = 0.5  # The red channel of the first class,
    weights[1:4, 1:4, 2, 1] = -0.5  # the blue one of the second.
    image = linear_weights.draw(weights.reshape(75, 2), make_card())
    (red, *no_reds), no_reds_2 = count_pixels(image, RED)
    assert red > 1000 and no_reds + no_reds_2 == [0] * 5
    no_blues, (*no_blues_2, blue) = count_pixels(image, BLUE)
    assert blue > 1000 and no_blues + no_blues_2 == [0] * 5
    whites = count_pixels(image, WHITE)
    assert min(whites[0][1:] + whites[1][:2]) > 1.3 * max(whites[0][0], whites[1][2])
    # The scale is symmetric: a smaller negative weight is paler.
    weights[1:4, 1:4, 2, 1] = -0.25
    image = linear_weights.draw(weights.reshape(75, 2), make_card())
    assert count_pixels(image, BLUE) == [[0] * 3] * 2


def test_images_are_titled_with_class_names():
    card = make_card()
    assert linear_weights.get_titles(2, card) == ["cat", "dog"]
    assert linear_weights.get_titles(1, card) == ["dog (red) or cat (blue)"]
    assert linear_weights.get_titles(3, card) == ["output 0", "output 1", "output 2"]
    assert linear_weights.get_titles(1) == ["output 0"]
    long = make_card(class_names=("a" * 24, "b" * 25))
    assert linear_weights.get_titles(2, long) == ["a" * 24, "b" * 21 + "..."]


def test_titles_make_a_difference_to_the_image():
    weights = np.ones((25, 2))
    first, second = (
        linear_weights.draw(weights, make_card(class_names=names))
        for names in (("cat", "dog"), ("cat", "猫"))
    )
    assert first.size == second.size
    assert (np.asarray(first) != np.asarray(second)).any()


def test_the_image_shape_is_that_of_the_card_or_guessed():
    assert linear_weights.get_image_shape(75, make_card()) == (5, 3)
    assert linear_weights.get_image_shape(25, make_card(use_grayscale=True)) == (5, 1)
    assert linear_weights.get_image_shape(784, make_card()) == (28, 1)
    assert linear_weights.get_image_shape(784) == (28, 1)
    assert linear_weights.get_image_shape(32 * 32 * 3) == (32, 3)
    with pytest.raises(ValueError, match="matrix of 76 rows .* square image"):
        linear_weights.get_image_shape(76)


def test_only_the_first_of_many_outputs_are_drawn(monkeypatch):
    weights = np.ones((4, 3))
    monkeypatch.setattr(linear_weights, "_MAX_IMAGES", 2)
    assert linear_weights.draw(weights).size == linear_weights.draw(weights[:, 1:]).size
    assert (
        linear_weights.draw(weights).width > linear_weights.draw(weights[:, 2:]).width
    )


@pytest.mark.parametrize(
    ("channels", "title"),
    [(1, "Weights"), (3, "Weights of the red, green and blue channels")],
)
def test_the_figure_is_titled(monkeypatch, channels, title):
    titles = []
    monkeypatch.setattr(Figure, "suptitle", lambda _, text, **__: titles.append(text))
    linear_weights.draw(np.ones((16 * channels, 2)))
    assert titles == [title]


def test_weights_that_are_not_finite_are_an_error():
    with pytest.raises(ValueError, match="NaN"):
        linear_weights.draw(np.full((25, 2), np.inf))
