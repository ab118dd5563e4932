"""A network and images small enough to train in a second."""

import numpy as np

from deployment import model_deploy
from deployment.evaluate import evaluation
from deployment.models.spec import ModelSpec
from deployment.optimize.learning_rates import Schedule
from deployment.optimize.optimizers import OptimizerConfig
from deployment.train import training
from tf_slim_compat import slim, tf

NUM_CLASSES = 3
BATCH_SIZE = 8
RNG = np.random.RandomState(0)
# Bright on the left, on the right or above: the mean color does not tell which.
TEMPLATES = np.zeros([NUM_CLASSES, 8, 8, 1], np.float32)
TEMPLATES[0, :, :4] = TEMPLATES[1, :, 4:] = TEMPLATES[2, :4] = 1.0
LABELS = np.arange(48) % NUM_CLASSES
IMAGES = TEMPLATES[LABELS] + RNG.normal(0, 0.3, [48, 8, 8, 1]).astype(np.float32)
# Far from mean 0 and variance 1, where moving averages start.
IMAGES = 5 + 3 * IMAGES


def network(images, num_classes=NUM_CLASSES, is_training=True, decay=0.9997):
    with slim.arg_scope([slim.batch_norm], is_training=is_training, decay=decay):
        net = slim.conv2d(
            images, 8, 3, stride=2, normalizer_fn=slim.batch_norm, scope="Net/Conv"
        )
        net = slim.flatten(net)
        logits = slim.fully_connected(
            net, num_classes, activation_fn=None, scope="Net/Logits"
        )
    return logits, {"Conv": net, "Logits": logits}


def network_in_evaluation(images):
    return network(images, is_training=False)


def list_examples():
    return tf.data.Dataset.from_tensor_slices((IMAGES, LABELS.astype(np.int64)))


def build_batches(seed=None, start_image=0, batch_size=BATCH_SIZE):
    examples = list_examples()
    return examples.repeat().skip(start_image).batch(batch_size, drop_remainder=True)


def build_one_pass():
    return list_examples().batch(7)


def make_spec(**options):
    return ModelSpec(**{"model_name": "toy", "num_outputs": NUM_CLASSES, **options})


def make_config(train_dir, steps=40, **options):
    decay = options.pop("moving_average_decay", None)
    options.setdefault("spec", make_spec(moving_average_decay=decay))
    options.setdefault("schedule", Schedule("fixed", 0.01))
    options.setdefault("optimizer", OptimizerConfig("adam"))
    options.setdefault("batch_size", BATCH_SIZE)
    return training.TrainingConfig(
        train_dir=str(train_dir),
        num_samples=48,
        number_of_steps=steps,
        deployment=model_deploy.DeploymentConfig(clone_on_cpu=True),
        **options,
    )


def train(train_dir, steps=40, network_fn=network, **options):
    """Trains; `options` are those of `TrainingConfig` and of `training.train`."""
    others = ("card", "build_evaluator", "on_new_best")
    others = {name: options.pop(name) for name in others if name in options}
    config = make_config(train_dir, steps, **options)

    def build(seed, start_image):
        return build_batches(seed, start_image, config.batch_size)

    return training.train(config, network_fn, build, **others)


def build_evaluator():
    config = evaluation.EvaluationConfig(None, None, make_spec(), show_progress=False)
    return evaluation.Evaluator(config, network_in_evaluation, build_one_pass)


def evaluate(train_dir, moving_average_decay=None):
    spec = make_spec(moving_average_decay=moving_average_decay)
    config = evaluation.EvaluationConfig(str(train_dir), None, spec)
    return evaluation.evaluate(config, network_in_evaluation, build_one_pass)


def read(train_dir, name):
    """Returns a variable of the newest checkpoint."""
    path = tf.train.latest_checkpoint(str(train_dir))
    return tf.train.load_variable(path, name)


def read_all(train_dir):
    """Returns all variables of the newest checkpoint by name."""
    reader = tf.train.NewCheckpointReader(tf.train.latest_checkpoint(str(train_dir)))
    return {n: reader.get_tensor(n) for n in reader.get_variable_to_shape_map()}
