"""A plain installation, without the checkout, has everything."""

import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig
import venv

import pytest
from conftest import ROOT

PACKAGES = ("datasets", "deployment", "nets", "preprocessing")
# One network per family, the cheapest to build, with its image size; of a NASNet one
# cell is enough.
NETWORKS = {
    "alexnet_v2": (71, {}),
    "cifarnet": (32, {}),
    "densenet_121": (32, {}),
    "i3d": (64, {}),
    "inception_v1": (64, {}),
    "lenet": (28, {}),
    "linear_regression": (8, {}),
    "logistic_regression": (8, {}),
    "mobilenet_v1_025": (32, {}),
    "mobilenet_v2_035": (32, {}),
    "mobilenet_v3_small": (32, {}),
    "nasnet_mobile": (32, {"final_endpoint": "Cell_0"}),
    "overfeat": (71, {}),
    "pnasnet_mobile": (32, {"final_endpoint": "Cell_0"}),
    "resnet_v1_50": (32, {}),
    "resnet_v2_50": (32, {}),
    "s3dg": (64, {}),
    "simple_cnn": (32, {}),
    "softmax_regression": (8, {}),
    "vgg_a": (32, {}),
}
BUILD_NETWORKS = f"""
from nets import nets_factory
from tf_slim_compat import tf

for name, (size, options) in {NETWORKS}.items():
    frames = [16] if name in ("i3d", "s3dg") else []
    with tf.Graph().as_default():
        network_fn = nets_factory.get_network_fn(name, 2)
        network_fn(tf.zeros([1, *frames, size, size, 3]), **options)
    print("built", name)
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A virtual environment with a plain installation; its Python and its packages.

    Dependencies come from the running environment.
    """
    folder = tmp_path_factory.mktemp("installed")
    # A copy, since setuptools writes into the folder that it builds from.
    shutil.copytree(
        ROOT,
        folder / "source",
        ignore=shutil.ignore_patterns(
            ".*", "__pycache__", "*.egg-info", "build", "dist", "tests", "benchmarks"
        ),
    )
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    python = folder / "venv" / "bin" / "python"
    (site_packages,) = (folder / "venv").glob("lib/python*/site-packages")
    (site_packages / "running.pth").write_text(sysconfig.get_path("purelib"))
    subprocess.run(
        [sys.executable, "-m", "pip", "install", str(folder / "source")]
        + ["--no-deps", "--no-build-isolation", "--no-index", "--quiet"]
        + ["--disable-pip-version-check", f"--target={site_packages}"],
        check=True,
        cwd=folder,
    )
    return python, site_packages


def list_modules(folder):
    """Returns the paths of the project's modules relative to a folder."""
    tops = [path for path in folder.glob("*.py") if path.name != "setup.py"]
    files = [*tops, *(p for name in PACKAGES for p in (folder / name).rglob("*.py"))]
    return {path.relative_to(folder) for path in files}


@pytest.mark.slow
def test_every_module_is_installed(installed):
    assert list_modules(ROOT) == list_modules(installed[1])


@pytest.mark.slow
def test_the_console_command_is_installed(installed, tmp_path):
    python, site_packages = installed
    (path,) = site_packages.glob("*.dist-info/entry_points.txt")
    assert "slim-classifier = slim_classifier:main" in path.read_text()
    done = subprocess.run(
        [str(python), "-m", "slim_classifier", "convert", "--help"],
        cwd=tmp_path,
        env={},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: slim-classifier convert")


@pytest.mark.slow
def test_every_family_builds_in_an_empty_folder(installed, tmp_path):
    python, site_packages = installed
    done = subprocess.run(
        [str(python), "-c", BUILD_NETWORKS + "print(nets_factory.__file__)"],
        cwd=tmp_path,
        env={},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert re.findall("^built (.*)$", done.stdout, re.M) == list(NETWORKS)
    factory = pathlib.Path(done.stdout.splitlines()[-1])
    assert factory == site_packages / "nets" / "nets_factory.py"


def test_every_module_of_networks_has_one_that_is_built():
    from nets import nets_factory

    def module_of(name):
        return nets_factory.get_network(name).arg_scope.__module__

    modules = {module_of(name) for name in nets_factory.list_networks()}
    rest = {name for name in modules if name.startswith("nets.")}  # Not of other tests.
    rest -= {module_of(name) for name in NETWORKS}
    # Larger networks of the same family.
    assert rest <= {
        "nets.inception_v2",
        "nets.inception_v3",
        "nets.inception_v4",
        "nets.inception_resnet_v2",
    }
