"""Installs the image-classification framework; tested with TensorFlow 2.21.0."""

import pathlib

import setuptools

BEAM = ["apache-beam>=2.77", "pyarrow>=16"]
MULTILABEL = ["iterative-stratification>=0.1.9"]
ONNX = ["tf2onnx>=1.17", "onnxruntime>=1.20"]
OPENVINO = ["openvino>=2026.4", "nncf>=3.4"]
RAY = ["ray>=2.50"]
# S3; other stores need other packages, see "Remote folders" in docs/reference.md.
REMOTE = ["fsspec>=2026.9", "s3fs>=2026.9"]
# Programs for TensorFlow 1. The first has no requirements of its own; the last
# translates Python 2, which the standard library did until Python 3.12.
TF1 = [
    "tensorflow-estimator==2.15.0",
    "tf-keras>=2.21,<2.22",
    "fissix>=24.4.24; python_version >= '3.13'",
]

setuptools.setup(
    name="slim-image-classifier",
    version="0.1.0",
    description="Train, evaluate, export and freeze image classifiers with TF-Slim.",
    python_requires=">=3.10",
    packages=setuptools.find_packages(
        include=[
            pattern
            for package in (
                *("datasets", "deployment", "nets", "preprocessing"),
                *("remote_files", "tf_slim_compat"),
            )
            for pattern in (package, f"{package}.*")
        ]
    ),
    py_modules=sorted(
        path.stem
        for path in pathlib.Path(__file__).parent.glob("*.py")
        if path.name != "setup.py"
    ),
    entry_points={"console_scripts": ["slim-classifier=slim_classifier:main"]},
    install_requires=[
        # Tested with 2.21.0 on Python 3.11; no newer version has been tried.
        "tensorflow>=2.21,<2.22",
        "tf-slim==1.1.0",
        "absl-py>=2.1",
        "h5py>=3.11",
        "matplotlib>=3.9",
        "msgspec>=0.20",
        "numpy>=1.26",
        "pillow>=11",
        "tqdm>=4.66",
    ],
    extras_require={
        "beam": BEAM,  # For --runner, and pyarrow for predictions in Parquet.
        "benchmark": [
            "torch>=2.6",
            "torchvision>=0.21",
        ],  # For benchmarks/against_peers.py and accuracy_by_time.py.
        "mutation": [
            "cosmic-ray>=8.4,<9",
            "coverage>=7.10",
        ],  # For benchmarks/mutation_score.py.
        "multilabel": MULTILABEL,  # For splitting datasets with several labels.
        "onnx": ONNX,
        "openvino": OPENVINO,
        "ray": RAY,  # For scripts/cluster/ray_train.py.
        "remote": REMOTE,
        "test": [
            *BEAM,
            *MULTILABEL,
            *ONNX,
            *OPENVINO,
            *RAY,
            *REMOTE,
            *TF1,
            "kubeflow-training>=1.9,<2",  # The schema of TFJob.
            "moto[server]>=5.2",
            "pytest>=8",
            "pytest-xdist>=3",
            "ruff==0.17.5",
            "scikit-learn>=1.5",
            "scipy>=1.11",
            "setuptools>=64",
        ],
        "tf1": TF1,
    },
)
