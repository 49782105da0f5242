"""Packaging of egan_keras."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(
    r'^__version__ = "(.+)"$',
    (HERE / "egan_keras" / "version.py").read_text(encoding="utf-8"),
    re.MULTILINE,
).group(1)

setup(
    name="egan-keras",
    version=VERSION,
    description="Find the rare class in images from a handful of examples, in Keras.",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=find_packages(include=["egan_keras", "egan_keras.*"]),
    package_data={
        "egan_keras": ["py.typed"],
        "egan_keras.evaluation": ["page/*"],
        "egan_keras.review": ["page/*"],
    },
    install_requires=[
        "ai-edge-litert>=2.3",
        "fastjsonschema>=2.21",
        # tensorflow-datasets imports it without declaring it.
        "importlib-resources>=6",
        "jinja2>=3.1",
        "keras>=3.15.1,<4",
        "keras-tuner>=1.4.8",
        "litert-quantizer>=0.11",
        "matplotlib>=3.9",
        "numpy>=1.26",
        "pandas>=2.2",
        "pillow>=12.3",
        "psutil>=5.9",
        "scikit-learn>=1.5",
        "scipy>=1.11",
        "tabulate>=0.9",
        "tensorboard>=2.20",
        "tensorflow>=2.20",
        "tensorflow-datasets>=4.9.9",
    ],
    extras_require={
        "backends": ["jax>=0.10", "torch>=2.13"],
        "docs": ["mkdocs>=1.6,<2", "mkdocs-material>=9.7", "mkdocstrings[python]>=1"],
        "hub": ["huggingface-hub>=2.4"],
        "jax": ["jax>=0.10"],
        "onnx": ["onnx>=1.23", "onnxruntime>=1.32", "tf2onnx>=1.17"],
        "review": ["flask>=3.1"],
        "smote": ["imbalanced-learn>=0.13"],
        "test": [
            "flask>=3.1",
            "huggingface-hub>=2.4",
            "imbalanced-learn>=0.13",
            "ipykernel>=6.29",
            "nbclient>=0.10",
            "nbformat>=5.10",
            "onnx>=1.23",
            "onnxruntime>=1.32",
            "pytest>=8.3",
            "pytest-xdist>=3.6",
            "ruff>=0.12",
            "tf2onnx>=1.17",
        ],
    },
    entry_points={"console_scripts": ["egan-keras = egan_keras.cli:main"]},
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Image Recognition",
    ],
)
