"""A classifier computed by hand, written to files without this project's export."""

import numpy as np

from deployment.models.spec import ModelSpec
from tf_slim_compat import slim, tf

SIZE, CLASSES = 8, 4
WEIGHTS = np.array([[2, -1, 0.5, 0], [0, 1, -2, 0.3], [1, 0.1, 0, -1]], np.float32)
IMAGES = np.random.RandomState(0).uniform(-1, 1, [5, SIZE, SIZE, 3]).astype("f")


def compute_scores(images):
    """Returns the probabilities that every model of this file should return."""
    logits = images.mean(axis=(1, 2)) @ WEIGHTS
    exponentials = np.exp(logits)
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def build(images, softmax=True):
    logits = tf.matmul(tf.reduce_mean(images, [1, 2]), WEIGHTS, name="logits")
    return tf.nn.softmax(logits, name="Predictions") if softmax else logits


def network_fn(images, num_outputs=CLASSES):
    weights = slim.model_variable(
        "Tiny/weights", [3, num_outputs], initializer=tf.zeros_initializer()
    )
    scale = slim.model_variable("Tiny/scale", [], initializer=tf.ones_initializer())
    return tf.matmul(tf.reduce_mean(images * scale, [1, 2]), weights), {}


def get_network_fn(num_outputs):
    return lambda images: network_fn(images, num_outputs)


def make_spec(num_outputs=CLASSES, **changes):
    return ModelSpec(
        model_name="tiny", num_outputs=num_outputs, image_size=SIZE, **changes
    )


def write_frozen(path, batch_size=None, softmax=True):
    with tf.Graph().as_default() as graph:
        build(tf.placeholder(tf.float32, [batch_size, SIZE, SIZE, 3], "input"), softmax)
        path.write_bytes(graph.as_graph_def().SerializeToString())
    return str(path)


def write_saved_model(path, signatures):
    """Writes signatures: key to a function that builds (inputs, outputs)."""
    with tf.Graph().as_default(), tf.Session() as session:
        builder = tf.saved_model.builder.SavedModelBuilder(str(path))
        definitions = {
            key: tf.saved_model.predict_signature_def(*make())
            for key, make in signatures.items()
        }
        builder.add_meta_graph_and_variables(
            session, ["serve"], signature_def_map=definitions
        )
        builder.save()
    return str(path)


def pixels():
    images = tf.placeholder(tf.float32, [None, SIZE, SIZE, 3])
    logits = build(images, softmax=False)
    return {"pixels": images}, {"logits": logits, "probabilities": build(images)}


def save_checkpoint(folder, num_outputs=CLASSES, version=tf.train.SaverDef.V2):
    with tf.Graph().as_default(), tf.Session() as session:
        network_fn(tf.zeros([1, SIZE, SIZE, 3]), num_outputs)
        session.run(tf.global_variables_initializer())
        (weights,) = slim.get_variables("Tiny/weights")
        session.run(weights.assign(np.resize(WEIGHTS, [3, num_outputs])))
        saver = tf.train.Saver(write_version=version)
        saver.save(session, str(folder / "model.ckpt"), 7)
    return str(folder)


def check(predictor, inputs=IMAGES, expected=None, atol=1e-5):
    """Checks the scores of all images at once, and of a dataset in batches of two."""
    expected = compute_scores(inputs) if expected is None else expected
    np.testing.assert_allclose(predictor.predict(inputs), expected, atol=atol)
    results = list(
        predictor.predict_all(
            lambda: tf.data.Dataset.from_tensor_slices(
                (inputs, np.arange(5) * 10)
            ).batch(2)
        )
    )
    assert [index for index, _ in results] == [0, 10, 20, 30, 40]
    found = np.stack([scores for _, scores in results])
    np.testing.assert_allclose(found, expected, atol=atol)
