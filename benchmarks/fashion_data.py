"""Fashion-MNIST for both sides of `fashion_mnist.py`: IDX files or one .npz, read with NumPy alone."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
"""Of Debian's package dataset-fashion-mnist: all 60,000 images, and 10,000 to validate with."""
_IDX_NAMES = {
    "x_train": "train-images-idx3-ubyte.gz",
    "y_train": "train-labels-idx1-ubyte.gz",
    "x_test": "t10k-images-idx3-ubyte.gz",
    "y_test": "t10k-labels-idx1-ubyte.gz",
}


class FashionMnist(NamedTuple):
    """Images as rows of 784 float32 values from -1 to 1, labels as int64."""

    x_train: Any
    y_train: Any
    x_test: Any
    y_test: Any


def load(path: Path) -> FashionMnist:
    """Read a folder of IDX files, or an .npz with the arrays x_train, y_train, x_test and y_test."""
    if path.is_dir():
        raw = {key: _read_idx(path / name) for key, name in _IDX_NAMES.items()}
    elif path.is_file():
        with np.load(path) as archive:
            raw = {key: archive[key] for key in _IDX_NAMES}
    else:
        raise SystemExit(
            f"no Fashion-MNIST at {path}: install Debian's package dataset-fashion-mnist, or give `--data` "
            "a folder of its IDX files or an .npz with x_train, y_train, x_test and y_test"
        )
    images = (_scaled(raw["x_train"]), _scaled(raw["x_test"]))
    return FashionMnist(images[0], raw["y_train"].astype(np.int64), images[1], raw["y_test"].astype(np.int64))


def _scaled(images: Any) -> Any:
    """What ToTensor and Normalize((0.5,), (0.5,)) make of them."""
    rows = images.reshape(len(images), -1).astype(np.float32)
    rows /= 255
    rows -= 0.5
    rows /= 0.5
    return rows


def _read_idx(path: Path) -> Any:
    """An array of bytes: two zeros, type 8, the number of axes, their lengths in big-endian order, values."""
    data = gzip.decompress(path.read_bytes())
    axes = data[3]
    if data[:3] != b"\x00\x00\x08":
        raise SystemExit(f"{path} is not an IDX file of bytes")
    shape = np.frombuffer(data, ">u4", axes, 4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * axes).reshape(shape)
