"""Programs of TensorFlow 1, run as they were written."""

import importlib.util
import json
import os
import subprocess
import sys

import pytest
from conftest import ROOT

PROGRAMS = ROOT / "tests" / "tf1_programs"

# What each program prints.
PRINTED = {
    "contrib_fully_connected": """\
fc0/biases (16,)
fc0/weights (2, 16)
fc1/biases (8,)
fc1/weights (16, 8)
logits/biases (1,)
logits/weights (8, 1)
has biases
unknown: There is no hyperparameter layers; there are: hidden, learning_rate, name.
xor is learned: True
""",
    "estimator_digits": "accuracy is 1: True\nstep 60\nfirst class 0\n",
    "layers_cnn": """\
accuracy is 1: True
out/kernel (16, 2)
['batch_normalization/beta', 'batch_normalization/gamma', 'conv1/kernel', \
'dense/bias', 'dense/kernel', 'out/bias', 'out/kernel']
update ops 2
""",
    "monitored_session": """\
runs 20 30
loss is small: True
last checkpoint 50
folder exists: False
""",
    "quantized_mobilenet": "accuracy is 1: 1.0\n",
    "queues": """\
numbers [1.0, 1.0]
loss is small: True
w:0 is [1.0, -2.0, 3.0]
""",
    "saver_freeze": """\
restored: True
b is [0.0, 1.0, 2.0]
frozen: True
read node: True
[('global_step', []), ('layer/b', [3]), ('layer/w', [2, 3])]
""",
    "slim_learning": "accuracy is 1: True\nresnet_v1_50 in tf_slim.nets\n",
    "summaries": """\
cost
input/image
layer1/summaries/histogram
layer1/summaries/mean_1
layer1/summaries/stddev_1
own
steps [0, 1, 2, 3, 4, 5], graphs 1
""",
    "tfrecord_queue": """\
Done training, epoch limit reached
examples 20, labels [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
records 10
""",
}
NEEDS = {"estimator_digits": ("estimator", "layers"), "layers_cnn": ("layers",)}

# More programs: name -> source.
WRITTEN = {
    "converted": """
import tensorflow.compat.v1 as tf
from tensorflow.compat import v1
tf.disable_v2_behavior()
x = tf.placeholder(tf.float32, [])
with v1.Session() as session:
    print(session.run(x * 2, {x: 3}), tf.contrib.slim.conv2d.__name__)
""",
    "float_shape": """
import tensorflow as tf
width = 7
half = width / 2
size = [half, 2]
tf.placeholder(tf.float32, size)
""",
    "no_division": """
import tensorflow as tf
tf.placeholder(tf.float32, ["a", 2.5])
""",
    "loop": """
batches = 10 / 5
print([i for i in xrange(batches)])
""",
    "imports": """
import tensorflow as tf
import tensorflow.contrib.slim.nets
import tensorflow.contrib.layers as layers
from tensorflow.contrib import slim, training
from tensorflow.contrib.data import Dataset
from tensorflow.contrib.data.python.ops.batching import map_and_batch
from tensorflow.contrib.framework.python.ops import arg_scope, variables
from tensorflow.contrib.layers.python.layers import utils, initializers
from tensorflow.contrib.learn.python.learn.datasets import mnist
from tensorflow.contrib.slim.python.slim.nets.resnet_v1 import resnet_v1_50
from tensorflow.contrib.training.python.training import hparam
from tensorflow.examples.tutorials.mnist import input_data
from tensorflow.python.framework.graph_util import convert_variables_to_constants
from tensorflow.python.platform import app, flags, gfile
import tf_slim
print(slim is tf_slim is tf.contrib.slim, layers is tf.contrib.layers)
print(arg_scope is slim.arg_scope, variables.get_variables is slim.get_variables)
print(utils is tf_slim.layers.utils, mnist is input_data)
print(tensorflow.contrib.slim.nets.vgg.vgg_16 is slim.nets.vgg.vgg_16)
print(hparam.HParams is training.HParams, flags.FLAGS is tf.app.flags.FLAGS)
""",
    "missing_module": "from tensorflow.contrib import crf\n",
    "missing_name": "from tensorflow.contrib.layers import embed_sequence\n",
    "missing_attribute": "import tensorflow as tf\ntf.contrib.opt.AdamWOptimizer()\n",
    "division_2": "n = 7\nprint 'n', n\nhalf = n / 2\nprint range(half)\n",
    "no_mnist": """
from tensorflow.examples.tutorials.mnist import input_data
input_data.read_data_sets("nowhere")
""",
    "autograph": """
import tensorflow as tf

def halve(n):
    if tf.equal(n % 2, 0):
        return n / 2
    return n

data = tf.data.Dataset.range(3).map(halve)
with tf.Session() as session:
    get_next = data.make_one_shot_iterator().get_next()
    print [float(session.run(get_next)) for _ in xrange(3)]
""",
    "status": "import sys\nsys.exit(3)\n",
    "flags": """
import tensorflow as tf
tf.app.flags.DEFINE_string("log_dir", "logs", "Also a flag of absl.")
FLAGS = tf.app.flags.FLAGS
FLAGS._parse_flags()
print(FLAGS.log_dir)
""",
    "old_names": """
import collections, fractions, inspect, string, time
import numpy as np
import tensorflow as tf
print(np.zeros(2, np.int).dtype.kind, np.float is float, np.NaN != np.NaN)
print(np.fromstring(b"ab", dtype=np.uint8).tolist(), np.fromstring("1 2", sep=" "))
print(isinstance({}, collections.Mapping), fractions.gcd(4, 6), time.clock() > 0)
print(inspect.getargspec(lambda a, b=1: a).args, string.letters[0])
print(tf.pywrap_tensorflow.NewCheckpointReader is tf.train.NewCheckpointReader)
print([hasattr(module, "nonsense") for module in (np, collections, time)])
""",
    "raises": "def f():\n    return {}['a']\nf()\n",
}


def run_process(folder, *arguments):
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What all programs end with, run in one process."""
    folder = tmp_path_factory.mktemp("programs")
    paths = sorted(PROGRAMS.glob("*.py"))
    for name, source in WRITTEN.items():
        (folder / f"{name}.py").write_text(source)
        paths.append(folder / f"{name}.py")
    (folder / "as_module.py").write_text("import sys\nprint(__name__, sys.argv)\n")
    paths.append("as_module")
    ended = run_process(folder, ROOT / "tests" / "run_tf1_programs.py", *paths)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


def test_every_program_is_expected():
    names = {path.stem for path in PROGRAMS.glob("*.py")}
    assert names == set(PRINTED)
    assert len(names) == 10


@pytest.mark.parametrize("name", PRINTED)
def test_programs_end_as_they_should(results, name):
    for module in NEEDS.get(name, ()):
        if importlib.util.find_spec(f"tf_slim_compat.{module}") is None:
            pytest.skip(f"needs tf_slim_compat.{module}")
    assert results[name] == {"status": 0, "out": PRINTED[name], "err": ""}


def test_nothing_is_patched_before(results):
    assert results["before"] == {
        "finders": [],
        "tensorflow": "module",
        "contrib is found": False,
        "has contrib": False,
        "resource variables": True,
        "keras": None,
        "loaded": [],
    }


@pytest.mark.parametrize(
    "name, printed",
    [
        ("converted", "6.0 convolution2d\n"),
        ("imports", "True True\n" * 2 + "True True\nTrue\nTrue True\n"),
        ("flags", "logs\n"),
        ("autograph", "[0.0, 1.0, 1.0]\n"),
        ("division_2", "n 7\n[0, 1, 2]\n"),
        ("loop", "[0, 1]\n"),
        (
            "old_names",
            "i True True\n[97, 98] [1. 2.]\nTrue 2 True\n['a', 'b'] a\nTrue\n"
            "[False, False, False]\n",
        ),
    ],
)
def test_other_programs_end_well(results, name, printed):
    assert results[name] == {"status": 0, "out": printed, "err": ""}


def test_a_module_runs_by_its_name(results):
    main, arguments = results["as_module"]["out"].split(" ", 1)
    assert main == "__main__"
    assert arguments.endswith("as_module.py']\n")


@pytest.mark.parametrize(
    "name, sentence",
    [
        ("float_shape", "float_shape.py, line 4: half = width / 2"),
        ("no_mnist", "no_mnist.py, line 3: There is no train-images-idx3-ubyte.gz"),
        ("missing_module", "line 1: tf.contrib.crf is not built in tf_slim_compat; "),
        ("missing_name", "tf.contrib.layers.embed_sequence is not built"),
        ("missing_attribute", "line 2: tf.contrib.opt.AdamWOptimizer is not built"),
    ],
)
def test_errors_that_are_known_are_one_sentence(results, name, sentence):
    assert results[name]["status"] == 1
    assert sentence in results[name]["err"]
    assert results[name]["err"].count("\n") == 1


def test_other_errors_show_the_traceback_from_the_program_on(results):
    error = results["raises"]["err"]
    assert error.startswith("Traceback (most recent call last):\n")
    assert [line.strip() for line in error.splitlines()[1:3]] == [
        error.splitlines()[1].strip(),
        "f()",
    ]
    assert error.endswith("KeyError: 'a'\n")
    assert "runner.py" not in error
    assert "Traceback" in results["no_division"]["err"]
    assert results["status"]["status"] == 3


def test_a_program_in_python_2_runs_from_the_command_line(tmp_path):
    (tmp_path / "program.py").write_text("""
import sys, urllib2, StringIO
import tensorflow as tf
from helper import total

def main(argv):
    print "arguments", argv[1:], tf.flags.FLAGS.name
    try:
        raise ValueError, "bad"
    except ValueError, error:
        print >>sys.stderr, "caught:", error
    if 3 <> 4L and `3` == "3":
	print total({"a": 1}), 0777
    sys.exit(4)

tf.flags.DEFINE_string("name", "", "A name.")
tf.app.run()
""")
    (tmp_path / "helper.py").write_text(
        "def total(d):\n    return sum(v for k, v in d.iteritems())\n"
    )
    ended = run_process(
        tmp_path, "-m", "tf_slim_compat", "program.py", "x", "--name=value", "y"
    )
    assert ended.stdout == "arguments ['x', 'y'] value\n1 511\n"
    assert ended.returncode == 4
    lines = ended.stderr.splitlines()
    assert lines[0] == "caught: bad"
    assert lines[1] == "Mended by tf_slim_compat:"
    assert lines[2].startswith("  import tensorflow gives TensorFlow 2.")
    assert lines[3].startswith("  program.py is Python 2 (line ")
    assert lines[4].endswith("helper.py is Python 2 (iteritems); translated by lib2to3")
    assert len(lines) == 5
    assert not list(tmp_path.glob("*.orig")) and not list(tmp_path.glob("*.bak"))


def test_a_module_of_a_package_runs_and_a_library_is_patched(tmp_path):
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("")
    (tmp_path / "package" / "main.py").write_text("""
import sys
import tf_slim_compat.autopatch
import tensorflow as tf
from . import library
print(library.count(), sys.argv[1:], tf.__version__[0], __name__)
""")
    (tmp_path / "package" / "library.py").write_text("""
import tensorflow as tf
import tensorflow.contrib.slim as slim

def count():
    slim.fully_connected(tf.ones([2, 3]), 4)
    return len(tf.trainable_variables())
""")
    ended = run_process(tmp_path, "-m", "package.main", "a")
    assert ended.stdout == "2 ['a'] 2 __main__\n"
    assert ended.stderr == ""
    assert ended.returncode == 0
