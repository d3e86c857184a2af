"""Fashion-MNIST: 60,000 and 10,000 pictures of clothes, 28 x 28, in ten classes. Xiao et al. 2017."""

from __future__ import annotations

import gzip
import os

import numpy as np

from distnn.data.downloads import get_file
from distnn.datasets.keras_files import BASE
from distnn.errors import DataError
from distnn.tensor import Array

FOLDER = os.path.join("datasets", "fashion-mnist")


def load_data() -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """The pictures and their classes.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: x uint8 [N, 28, 28], y uint8 [N] from 0 to 9.

    Raises:
        DataError: the files are not there and cannot be downloaded, or are damaged.
    """
    return _part("train"), _part("t10k")


def _part(name: str) -> tuple[Array, Array]:
    labels = _bytes(f"{name}-labels-idx1-ubyte.gz", 8)
    images = _bytes(f"{name}-images-idx3-ubyte.gz", 16)
    if images.size != len(labels) * 28 * 28:
        raise DataError(
            f"the {name} files of Fashion-MNIST do not fit together ({len(labels)} labels): remove them from "
            f"~/.keras/{FOLDER}, and they are downloaded again"
        )
    return images.reshape(len(labels), 28, 28), labels


def _bytes(name: str, offset: int) -> Array:
    path = get_file(name, BASE + name, cache_subdir=FOLDER)
    try:
        with gzip.open(path) as file:
            return np.frombuffer(file.read(), np.uint8, offset=offset)
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{path}: is damaged ({error}): remove it, and it is downloaded again") from error
