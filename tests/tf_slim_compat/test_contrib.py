"""`tf.contrib`: its own functions, and where its other names lead."""

import math

import numpy as np
import pytest

from deployment import quantize
from tf_slim_compat import contrib, slim, tf

pytestmark = pytest.mark.usefixtures("graph")

IMAGE = np.arange(9, dtype=np.float32).reshape(3, 3)


# Modules


@pytest.mark.parametrize(
    "name, there",
    [
        ("slim.conv2d", lambda: slim.conv2d),
        ("layers.batch_norm", lambda: slim.batch_norm),
        ("layers.fully_connected", lambda: slim.fully_connected),
        ("layers.l2_regularizer", lambda: slim.l2_regularizer),
        ("layers.xavier_initializer", lambda: slim.xavier_initializer),
        ("framework.arg_scope", lambda: slim.arg_scope),
        ("framework.sort", lambda: tf.sort),
        ("framework.nest.flatten", lambda: tf.nest.flatten),
        ("framework.init_from_checkpoint", lambda: tf.train.init_from_checkpoint),
        ("losses.softmax_cross_entropy", lambda: slim.losses.softmax_cross_entropy),
        ("metrics.streaming_auc", lambda: slim.metrics.streaming_auc),
        ("metrics.set_size", lambda: tf.sets.size),
        ("training.create_train_op", lambda: slim.training.create_train_op),
        ("training.evaluate_once", lambda: slim.train_eval.evaluate_once),
        ("data.map_and_batch", lambda: tf.data.experimental.map_and_batch),
        ("data.shuffle_and_repeat", lambda: tf.data.experimental.shuffle_and_repeat),
        ("data.parallel_interleave", lambda: tf.data.experimental.parallel_interleave),
        ("data.Dataset", lambda: tf.data.Dataset),
        ("util.make_tensor_proto", lambda: tf.make_tensor_proto),
        ("distribute.MirroredStrategy", lambda: tf.distribute.MirroredStrategy),
    ],
)
def test_names_lead_to_what_is_there(name, there):
    found = contrib
    for part in name.split("."):
        found = getattr(found, part)
    assert found is there()


def test_quantize_leads_to_the_rewriter():
    assert contrib.quantize.create_eval_graph is quantize.create_eval_graph


def test_hooks_of_estimators_lead_to_tf_estimator():
    pytest.importorskip("tf_slim_compat.estimator", exc_type=ImportError)
    for name in ("stop_if_no_increase_hook", "stop_if_no_decrease_hook"):
        expected = getattr(tf.estimator.experimental, name)
        assert getattr(contrib.estimator, name) is expected


@pytest.mark.parametrize(
    "module, name, instead",
    [
        ("quantize", "nonsense", "nothing here replaces it"),
        ("opt", "AdamWOptimizer", "deployment.optimize.decoupled_optimizers"),
        ("layers", "embed_sequence", "use tf.nn.embedding_lookup"),
        ("predictor", "from_estimator", "use tf.contrib.predictor.from_saved_model"),
        ("training", "bucket", "use tf.data.Dataset.bucket_by_sequence_length"),
        ("lookup", "nonsense", "nothing here replaces it"),
    ],
)
def test_names_that_are_not_built_name_the_nearest(module, name, instead):
    with pytest.raises(AttributeError) as raised:
        getattr(getattr(contrib, module), name)
    start = f"tf.contrib.{module}.{name} is not built in tf_slim_compat; "
    assert str(raised.value).startswith(start)
    assert instead in str(raised.value)


def test_modules_that_are_not_built_name_the_nearest():
    with pytest.raises(AttributeError, match="not built .*; use tf.keras"):
        _ = contrib.keras
    with pytest.raises(AttributeError, match="the modules that are: data, "):
        _ = contrib.nonsense
    assert not hasattr(contrib, "crf")
    assert hasattr(contrib, "framework")


# Framework and data


def test_framework_sums_and_lists_placeholders(graph, run):
    place = tf.placeholder(tf.float32, [2])
    total = contrib.framework.reduce_sum_n([place, tf.constant(3.0)])
    assert contrib.framework.get_placeholders(graph) == [place]
    assert run(total, {place: [1, 2]}) == 6
    with pytest.raises(ValueError, match="at least one tensor"):
        contrib.framework.reduce_sum_n([])


def test_datasets_are_batched_without_the_remainder(run):
    numbers = tf.data.Dataset.range(5)
    even = numbers.apply(contrib.data.batch_and_drop_remainder(2))
    padded = numbers.map(lambda n: tf.fill([n], 7)).apply(
        contrib.data.padded_batch_and_drop_remainder(3, [None])
    )
    interleaved = numbers.apply(
        contrib.data.sloppy_interleave(lambda n: tf.data.Dataset.from_tensors(n), 2)
    )
    assert even.output_shapes == [2]
    get_next = tf.data.make_one_shot_iterator(even).get_next()
    assert [run(get_next).tolist() for _ in range(2)] == [[0, 1], [2, 3]]
    with pytest.raises(tf.errors.OutOfRangeError):
        run(get_next)
    get_next = tf.data.make_one_shot_iterator(padded).get_next()
    assert run(get_next).tolist() == [[0, 0], [7, 0], [7, 7]]
    get_next = tf.data.make_one_shot_iterator(interleaved).get_next()
    assert sorted(run(get_next) for _ in range(5)) == [0, 1, 2, 3, 4]
    split = even.apply(contrib.data.unbatch())
    get_next = tf.data.make_one_shot_iterator(split).get_next()
    assert [run(get_next) for _ in range(4)] == [0, 1, 2, 3]


# Images


@pytest.mark.parametrize("rank", [2, 3, 4])
@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_images_are_rotated_counterclockwise(run, rank, quarters):
    shapes = {2: [3, 3], 3: [3, 3, 1], 4: [1, 3, 3, 1]}
    image = tf.constant(IMAGE.reshape(shapes[rank]))
    rotated = contrib.image.rotate(image, quarters * math.pi / 2, "BILINEAR")
    assert rotated.shape == shapes[rank]
    expected = np.rot90(IMAGE, quarters)
    np.testing.assert_allclose(run(rotated).reshape(3, 3), expected, atol=1e-4)


def test_each_image_has_its_angle(run):
    images = tf.constant(np.stack([IMAGE, IMAGE])[..., None])
    rotated = run(contrib.image.rotate(images, [0.0, math.pi]))
    np.testing.assert_array_equal(rotated[0, ..., 0], IMAGE)
    np.testing.assert_array_equal(rotated[1, ..., 0], np.rot90(IMAGE, 2))


def test_images_are_shifted_to_the_right_and_down(run):
    shifted = run(contrib.image.translate(tf.constant(IMAGE), [1, 2]))
    np.testing.assert_array_equal(shifted, [[0, 0, 0], [0, 0, 0], [0, 0, 1]])


def test_images_are_transformed_to_another_size(run):
    half = [2.0, 0, 0, 0, 2.0, 0, 0, 0]
    small = contrib.image.transform(tf.constant(IMAGE), half, output_shape=[2, 2])
    np.testing.assert_array_equal(run(small), [[0, 2], [6, 8]])


def test_gradients_pass_through_transforms(run):
    image = tf.constant(IMAGE)
    shifted = contrib.image.translate(image, [1, 0])
    (gradient,) = tf.gradients(tf.reduce_sum(shifted * image), image)
    ahead = np.array([[1, 2, 0], [4, 5, 0], [7, 8, 0]])
    behind = np.array([[0, 0, 1], [0, 3, 4], [0, 6, 7]])
    np.testing.assert_array_equal(run(gradient), ahead + behind)


def test_transforms_compose(run):
    right = contrib.image.translations_to_projective_transforms([1, 0])
    turn = contrib.image.angles_to_projective_transforms(math.pi / 2, 3, 3)
    both = contrib.image.compose_transforms(right, turn)
    image = tf.constant(IMAGE)
    at_once = contrib.image.transform(image, both)
    one_by_one = contrib.image.transform(contrib.image.transform(image, right), turn)
    values = run([at_once, one_by_one])
    np.testing.assert_array_equal(*values)
    assert both.shape == [1, 8]


def test_images_of_other_kinds_are_refused():
    with pytest.raises(TypeError, match="cast them to one of uint8"):
        contrib.image.rotate(tf.zeros([3, 3], tf.bool), 0.0)
    with pytest.raises(ValueError, match="these have rank 5"):
        contrib.image.rotate(tf.zeros([1, 1, 3, 3, 1]), 0.0)
    with pytest.raises(ValueError, match="angles must have 0 or 1 dimensions"):
        contrib.image.rotate(tf.zeros([3, 3]), [[0.0]])
    with pytest.raises(ValueError, match="at least one transform"):
        contrib.image.compose_transforms()


# Predictor


def test_a_saved_model_predicts(tmp_path):
    with tf.Graph().as_default(), tf.Session() as session:
        x = tf.placeholder(tf.float32, [None], name="x")
        y = tf.identity(x * tf.Variable(3.0), name="y")
        session.run(tf.global_variables_initializer())
        tf.saved_model.simple_save(session, str(tmp_path / "model"), {"x": x}, {"y": y})
    folder = str(tmp_path / "model")
    predict = contrib.predictor.from_saved_model(folder)
    assert predict({"x": [1, 2]})["y"].tolist() == [3, 6]
    assert predict.fetch_tensors["y"].graph is predict.graph
    by_name = contrib.predictor.from_saved_model(
        folder, input_names={"in": "x:0"}, output_names={"out": "y:0"}, tags="serve"
    )
    assert by_name({"in": [5]})["out"].tolist() == [15]
    with pytest.raises(ValueError, match="no input z; it has: x"):
        predict({"z": 1})
    with pytest.raises(ValueError, match="no signature other; it has: "):
        contrib.predictor.from_saved_model(folder, "other")
    with pytest.raises(ValueError, match="Give one of"):
        contrib.predictor.from_saved_model(folder, input_names={"in": "x:0"})
    with pytest.raises(OSError):
        contrib.predictor.from_saved_model(str(tmp_path))
