"""Shared fixtures, and how tests are selected and spread over processes."""

import gc
import os
import pathlib
import random
import secrets
import tempfile

import pytest

# Nothing of the user who runs the tests is read or written.
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="cache-")

ROOT = pathlib.Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
REFERENCE = pathlib.Path(os.environ.get("REFERENCE_DIR", SHARED / "reference"))
SATELLITE = pathlib.Path(
    os.environ.get("SATELLITE_DIR", SHARED / "data" / "satellite" / "train")
)

needs_reference = pytest.mark.skipif(
    not REFERENCE.is_dir(), reason="needs the reference facts (REFERENCE_DIR)"
)
needs_satellite = pytest.mark.skipif(
    not SATELLITE.is_dir(), reason="needs the satellite images (SATELLITE_DIR)"
)

# Tests of a file share fixtures, so one process runs them all; except in these files,
# whose tests are long and independent. They come last, to end at about the same time.
SPREAD = (
    "tests/test_tf_slims_own_tests.py",  # The longest.
    "tests/test_training_survives.py",
    "tests/deployment/quantize/test_reference.py",
    "tests/nets/test_lifecycle.py",
    "tests/nets/test_reference.py",
)
# Files with many tests of medium length, of which --quick runs only those marked
# `quick`; the main path and the probes of networks run much of the same code.
NOT_QUICK = (
    "tests/test_classify_image.py",
    "tests/test_export_model.py",
    "tests/test_three_tasks.py",
    "tests/datasets/test_input_pipeline.py",
    "tests/datasets/test_shuffled_stream.py",
    "tests/deployment/formats/test_exporting.py",
    "tests/deployment/models/test_graph_folding.py",
    "tests/deployment/train/test_training_options.py",
    "tests/deployment/inspect/test_network.py",
    "tests/nets/test_inception.py",
    "tests/nets/test_mobilenet.py",
    "tests/nets/test_nasnet.py",
    "tests/nets/test_resnet_v1.py",
    "tests/nets/test_resnet_v2.py",
    "tests/nets/test_stack_utils.py",
    "tests/nets/test_video.py",
)


def pytest_addoption(parser):
    parser.addoption(
        "--quick",
        action="store_true",
        help="run only what answers within two minutes on two cores: tests that are "
        "not marked slow, and those marked quick",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    if config.getoption("quick"):
        left_out = [item for item in items if not is_quick(item)]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    items.sort(key=get_place)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Runs each file in one process, which its fixtures share, except for `SPREAD`."""
    from xdist.scheduler import LoadScopeScheduling

    class FileScheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            path = nodeid.partition("::")[0]
            return nodeid if path in SPREAD else path

    return FileScheduling(config, log)


def is_quick(item):
    path = str(item.path.relative_to(ROOT))
    is_long = path in NOT_QUICK or item.get_closest_marker("slow") is not None
    return not is_long or item.get_closest_marker("quick") is not None


def get_place(item):
    path = str(item.path.relative_to(ROOT))
    return SPREAD.index(path) + 1 if path in SPREAD else 0


def pytest_collection_finish():
    """Prepares TensorFlow, which is loaded by now."""
    # Each full garbage collection would visit its many objects again.
    gc.collect()
    gc.freeze()
    seed_what_is_unseeded()


# Seeds of graphs and of runs that have none of their own.
seeds = random.Random()


def seed_what_is_unseeded():
    """Lets `seeds` decide what graphs and runs without a seed leave to chance."""
    from tf_slim_compat import tf

    def get_seed(graph):
        if graph._seed is None:
            graph._seed = seeds.randrange(2**31)
        return graph._seed

    tf.Graph.seed = property(get_seed, tf.Graph.seed.fset)
    secrets.randbelow = seeds.randrange


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Makes each test compute the same whenever it runs, though no two alike."""
    seeds.seed(item.nodeid)


@pytest.fixture(scope="session")
def pictures_dir(tmp_path_factory):
    """A folder of generated images, 20 in each of five classes."""
    import draw_patterns

    folder = tmp_path_factory.mktemp("pictures")
    rng = random.Random(0)
    for pattern in draw_patterns.PATTERNS:
        (folder / pattern).mkdir()
        for number in range(20):
            draw_patterns.draw(pattern, rng).save(folder / pattern / f"{number}.jpg")
    return folder


@pytest.fixture(scope="session")
def data_dir(pictures_dir, tmp_path_factory):
    """The generated images as the dataset `patterns`: 80 train, 20 validation."""
    from datasets import convert_images

    folder = tmp_path_factory.mktemp("data")
    convert_images.convert(
        convert_images.ConvertConfig(
            str(pictures_dir), str(folder), "patterns", shards=2, workers=1
        )
    )
    return folder


@pytest.fixture
def graph():
    """The test's own default graph, seeded."""
    from tf_slim_compat import tf

    with tf.Graph().as_default() as graph:
        tf.set_random_seed(1)
        yield graph


@pytest.fixture
def run(graph):
    """Runs fetches in one session, whose first run initializes the variables."""
    from tf_slim_compat import tf

    sessions = []

    def run(fetches, feed_dict=None):
        if not sessions:
            sessions.append(tf.Session())
            sessions[0].run(tf.global_variables_initializer())
        return sessions[0].run(fetches, feed_dict)

    yield run
    for session in sessions:
        session.close()


@pytest.fixture
def fetched(monkeypatch):
    """The names of the files that are fetched from remote folders."""
    from remote_files.store import Store

    names = []
    real_fetch = Store.fetch

    def fetch(self, name, size, target):
        names.append(name)
        real_fetch(self, name, size, target)

    monkeypatch.setattr(Store, "fetch", fetch)
    return names
