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
    author="The egan_keras developers",
    # The project has no address of its own yet.
    project_urls={"Paper": "https://arxiv.org/abs/2104.04162"},
    keywords=[
        "anomaly detection",
        "class imbalance",
        "defect detection",
        "few-shot learning",
        "generative adversarial network",
        "image classification",
        "keras",
        "rare class",
        "tensorflow",
        "transfer learning",
        "visual inspection",
    ],
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=find_packages(include=["egan_keras", "egan_keras.*"]),
    package_data={
        "egan_keras": ["py.typed"],
        "egan_keras.evaluation": ["page/*"],
        "egan_keras.review": ["page/*"],
    },
    # Lower bounds are the oldest that pass `make test-lowest`, upper ones the next
    # version that may break what works: CONTRIBUTING.md, "Dependencies".
    install_requires=[
        "ai-edge-litert>=2.3,<3",
        "fastjsonschema>=2.21,<3",
        # Named for the month, or a major version a quarter: none says what may break.
        "fsspec>=2024.6",
        # tensorflow-datasets imports it without declaring it.
        "importlib-resources>=6",
        "jinja2>=3.1,<4",
        "keras>=3.15.1,<4",
        "keras-tuner>=1.4.8,<2",
        "litert-quantizer>=0.11,<0.12",
        "matplotlib>=3.9,<4",
        "numpy>=1.26,<3",
        "pandas>=2.2,<4",
        # No upper bound: holes are closed in the newest version alone.
        "pillow>=12.3",
        "psutil>=5.9,<8",
        "pyarrow>=16",
        "scikit-learn>=1.6,<2",
        "scipy>=1.12,<2",
        "shtab>=1.13,<2",
        "tabulate>=0.9,<1",
        "tensorboard>=2.20,<3",
        "tensorflow>=2.20,<3",
        "tensorflow-datasets>=4.9.9,<5",
        "tqdm>=4.66,<5",
    ],
    extras_require={
        "backends": ["jax>=0.10,<1", "torch>=2.13,<3"],
        "docs": [
            "mkdocs>=1.6,<2",
            "mkdocs-material>=9.7,<10",
            "mkdocstrings[python]>=1,<2",
        ],
        "hub": ["huggingface-hub>=2.4,<3"],
        "jax": ["jax>=0.10,<1"],
        "onnx": ["onnx>=1.23,<2", "onnxruntime>=1.32,<2", "tf2onnx>=1.17,<2"],
        "photographs": ["elpv-dataset>=1.0.0.post1,<2"],
        "ray": ["ray>=2.60,<3"],
        "review": ["flask>=3.1,<4"],
        "smote": ["imbalanced-learn>=0.13,<1"],
        "test": [
            "flask>=3.1,<4",
            "huggingface-hub>=2.4,<3",
            "imbalanced-learn>=0.13,<1",
            "ipykernel>=6.29",
            "mypy>=2,<3",
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
        "Environment :: Console",
        "Intended Audience :: Developers",
        "Intended Audience :: Manufacturing",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Recognition",
        "Typing :: Typed",
    ],
)
