"""Parts of running programs of TensorFlow 1: Python 2, division, MNIST's files."""

import ast
import gzip
import sys

import numpy as np
import pytest

from tf_slim_compat import tf
from tf_slim_compat.tensorflow1 import division, mnist_files, python2


def run(source, path="program.py"):
    names = {}
    exec(python2.compile_source(source.encode(), path), names)
    return names


@pytest.mark.parametrize(
    "source, found",
    [
        ("for i in xrange(3): pass", ["xrange"]),
        ("from six.moves import xrange\nxrange(3)", []),
        ("try:\n    xrange\nexcept NameError:\n    xrange = range\nxrange(2)", []),
        ("d.iteritems(); d.has_key(1)", ["has_key", "iteritems"]),
        ("six.iteritems(d)", []),
        ("import cPickle as pickle, urllib2", ["cPickle", "urllib2"]),
        ("try:\n    import cPickle\nexcept ImportError:\n    import pickle", []),
        ("from StringIO import StringIO", ["StringIO"]),
        ("def f(unicode): return unicode", []),
        ("reduce(f, unicode(x))", ["reduce", "unicode"]),
        ("from functools import reduce\nreduce(f, x)", []),
        ("import itertools\nitertools.izip(a, b)", ["izip"]),
        ("from itertools import imap", ["imap"]),
        ("try:\n    from itertools import izip\nexcept ImportError:\n    pass", []),
        ("sys.maxint + own.maxint", ["maxint"]),
        ("print(1, 2)", []),
    ],
)
def test_names_of_python_2_are_found(source, found):
    assert python2.find_old_names(ast.parse(source)) == found


@pytest.mark.parametrize(
    "source, name, value",
    [
        ("x = list(xrange(2))", "x", [0, 1]),
        ("x = [k for k in {1: 2}.iterkeys()]\nprint", "x", [1]),
        ("x = {1: 2}.has_key(1)", "x", True),
        ("from itertools import izip\nx = list(izip([1], [2]))", "x", [(1, 2)]),
        ("import sys\nx = sys.maxint > 0", "x", True),
        ("import cPickle\nx = cPickle.loads(cPickle.dumps(3))", "x", 3),
        ("import StringIO\nx = StringIO.StringIO(u'a').read()", "x", "a"),
        ("x = unicode('a') + unichr(98)", "x", "ab"),
        ("x = 0777 + 1L", "x", 512),
        ("try:\n  raise KeyError, 'k'\nexcept KeyError, e:\n  x = e.args", "x", ("k",)),
        ("x = map(lambda (a, b): a, [(1, 2)])", "x", [1]),
        ("if 1:\n\tx = 1\n        print x", "x", 1),
        ("import sys\nprint('a', file=sys.stdout)\nx = 1L", "x", 1),
        ("print('a', file=None)\nx = map(str, xrange(1))", "x", ["0"]),
        ("class A:\n  def next(self): return 4\nx = A().next()\nprint x", "x", 4),
    ],
)
def test_python_2_runs(capsys, source, name, value):
    assert run(source)[name] == value


@pytest.mark.parametrize(
    "expression, value",
    [
        ("7 / 2", 3),
        ("-7 / 2", -4),
        ("7 / 2.0", 3.5),
        ("100 / 7 / 2 * 3", 21),
        ("(1 + 6) / (4 / 2) + 9 / (\n  2 )", 7),
        ("[a / 2 for a in (3, 5)]", [1, 2]),
        ("'\u00e4/' + str(5 / 2)  # /", "\u00e4/2"),
        ("(lambda a: a / 2 ** 2)(9)", 2),
        ("np.array([7, -7]) / 2", [3, -4]),
        ("np.array([7., 6.]) / 2", [3.5, 3]),
        ("int(tf.TensorShape([9])[0] / 2)", 4),
        ("tf.Session().run(tf.constant(9) / 2)", 4),
        ("tf.Session().run(tf.constant(9.0) / 2)", 4.5),
    ],
)
def test_python_2_divides_integers_to_integers(expression, value):
    source = f"# coding: utf-8\nprint 0; y = 9\ny /= 5 / 2\nx = {expression}\n"
    with tf.Graph().as_default():
        code = python2.compile_source(source.encode(), "program.py")
        names = {"np": np, "tf": tf}
        exec(code, names)
    assert np.all(names["x"] == value) and np.shape(names["x"]) == np.shape(value)
    assert names["y"] == 4
    true = f"from __future__ import print_function, division\nx = 0L + {expression}"
    if value == 3:
        assert run(true)["x"] == 3.5


def test_lines_keep_their_numbers():
    with pytest.raises(ZeroDivisionError) as error:
        run("print 0\nx = (1 /\n  2)\ny = 1 / x\n")
    assert error.traceback[-2].lineno + 1 == 4


def test_python_3_stays_as_it_is():
    source = "x = {1: 2}.keys()\ny = map(str, x)\n"
    names = run(source)
    assert type(names["y"]) is map
    assert type(names["x"]) is type({}.keys())


def test_what_is_neither_python_is_refused():
    with pytest.raises(python2.Python2Error, match="bad.py is not Python 3 .line 1: "):
        run("def f(:", "bad.py")


def test_text_that_cannot_be_decoded_is_refused():
    with pytest.raises(python2.Python2Error, match="bad.py cannot be decoded: "):
        python2.compile_source(b"x = '\xe9'\nprint x", "bad.py")
    latin = b"# coding: latin-1\nx = '\xe9'\nprint 1"
    names = {}
    exec(python2.compile_source(latin, "latin.py"), names)
    assert names["x"] == "\xe9"


def test_without_a_translator_its_successor_is_named(monkeypatch):
    for package in ("lib2to3", "lib2to3.refactor", "fissix", "fissix.refactor"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(python2.Python2Error, match="old.py .*pip install fissix"):
        run("print 1", "old.py")
    assert run("x = 1")["x"] == 1


@pytest.mark.parametrize(
    "line, lines",
    [
        ("f(a / 2)", [4]),
        ("f(b)", [2]),
        ("f(c)", [2, 3]),
        ("f(d)", []),
        ("b /= 2; f(b)", [2, 4]),
        ("", []),
    ],
)
def test_divisions_are_found_by_name(line, lines):
    source = f"a = 7\nb = a / 2\nc = b * (3 / a)\n{line}\n"
    assert division.find_divisions(ast.parse(source), 4) == lines


# MNIST


@pytest.fixture
def mnist_dir(tmp_path):
    rng = np.random.default_rng(0)
    for name, count in (("train", 20), ("t10k", 6)):
        images = rng.integers(0, 256, [count, 28, 28], np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        sizes = np.array(images.shape, ">i4").tobytes()
        data = b"\0\0\x08\x03" + sizes + images.tobytes()
        path = tmp_path / f"{name}-images-idx3-ubyte.gz"
        path.write_bytes(gzip.compress(data))
        data = b"\0\0\x08\x01" + sizes[:4] + labels.tobytes()
        (tmp_path / f"{name}-labels-idx1-ubyte").write_bytes(data)
    return tmp_path


def test_mnist_is_read_from_local_files(mnist_dir):
    sets = mnist_files.read_data_sets(str(mnist_dir), one_hot=True, validation_size=5)
    assert [s.num_examples for s in sets] == [15, 5, 6]
    assert sets.train.images.shape == (15, 784)
    assert sets.train.images.dtype == np.float32
    assert 0 <= sets.train.images.min() < sets.train.images.max() == 1
    np.testing.assert_array_equal(sets.test.labels, np.eye(10)[:6])
    raw = mnist_files.read_data_sets(
        str(mnist_dir), dtype=tf.uint8, reshape=False, validation_size=0
    )
    assert raw.train.images.shape == (20, 28, 28, 1)
    assert raw.train.images.dtype == np.uint8
    assert raw.validation.num_examples == 0
    with pytest.raises(ValueError, match="no images in this set"):
        raw.validation.next_batch(1)


def test_batches_go_through_epochs(mnist_dir):
    train = mnist_files.read_data_sets(str(mnist_dir), validation_size=0, seed=1).train
    first = [train.next_batch(8)[1] for _ in range(5)]
    assert train.epochs_completed == 1
    both = np.concatenate(first)
    for epoch in (both[:20], both[20:]):
        assert sorted(epoch) == sorted(list(range(10)) * 2)
    assert both[:20].tolist() != both[20:].tolist()
    images, labels = train.next_batch(50, shuffle=False)
    assert len(images) == len(labels) == 50


def test_files_that_are_missing_or_damaged_are_named(mnist_dir):
    with pytest.raises(ValueError, match="validation_size is 5000; there are 20"):
        mnist_files.read_data_sets(str(mnist_dir))
    with pytest.raises(ValueError, match="no fake data"):
        mnist_files.read_data_sets(str(mnist_dir), fake_data=True)
    path = mnist_dir / "train-labels-idx1-ubyte"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="labels-idx1-ubyte is not a whole idx file"):
        mnist_files.read_data_sets(str(mnist_dir))
    path.unlink()
    with pytest.raises(FileNotFoundError, match="no train-labels-idx1-ubyte.gz in"):
        mnist_files.read_data_sets(str(mnist_dir))
