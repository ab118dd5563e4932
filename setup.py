"""Installs the image-classification framework; tested with TensorFlow 2.21.0."""

import setuptools

ONNX = ["tf2onnx>=1.17", "onnxruntime>=1.20"]

setuptools.setup(
    name="slim-image-classifier",
    version="0.1.0",
    description="Train, evaluate, export and freeze image classifiers with TF-Slim.",
    python_requires=">=3.10",
    packages=setuptools.find_packages(
        include=["datasets", "deployment*", "nets", "preprocessing"]
    ),
    py_modules=[
        "classify_image",
        "convert_dataset",
        "edit_checkpoint",
        "eval_image_classifier",
        "export_inference_graph",
        "export_model",
        "freeze_graph",
        "inspect_model",
        "plot_training",
        "slim_batch_norm",
        "slim_moving_averages",
        "tf_slim_compat",
        "train_image_classifier",
    ],
    install_requires=[
        # Tested with 2.21.0 on Python 3.11; nothing newer was tried.
        "tensorflow>=2.21,<2.22",
        "tf-slim==1.1.0",
        "absl-py>=2.1",
        "matplotlib>=3.9",
        "numpy>=1.26",
        "pillow>=11",
        "tqdm>=4.66",
    ],
    extras_require={
        "onnx": ONNX,
        "test": [
            *ONNX,
            "pytest>=8",
            "pytest-xdist>=3",
            "ruff==0.17.5",
            "scikit-learn>=1.5",
        ],
    },
)
