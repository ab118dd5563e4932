"""What several tests share: where facts and photographs lie, pictures, graphs."""

import os
import pathlib
import random

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
REFERENCE = pathlib.Path(os.environ.get("REFERENCE_DIR", SHARED / "reference"))
SATELLITE = pathlib.Path(
    os.environ.get("SATELLITE_DIR", SHARED / "data" / "satellite" / "train")
)

needs_reference = pytest.mark.skipif(
    not REFERENCE.is_dir(), reason="the reference facts are not here (REFERENCE_DIR)"
)
needs_satellite = pytest.mark.skipif(
    not SATELLITE.is_dir(),
    reason="the satellite photographs are not here (SATELLITE_DIR)",
)


@pytest.fixture(scope="session")
def pictures_dir(tmp_path_factory):
    """A folder of drawn pictures, five classes of 20."""
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
    """The drawn pictures as a dataset `patterns`: 80 to train on, 20 held out."""
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
    """A graph of its own for the test, seeded."""
    from tf_slim_compat import tf

    with tf.Graph().as_default() as graph:
        tf.set_random_seed(1)
        yield graph


@pytest.fixture
def run(graph):
    """Runs fetches in one session, with the variables initialized at the first run."""
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
