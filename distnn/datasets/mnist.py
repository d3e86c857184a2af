"""MNIST: 60,000 and 10,000 handwritten digits, 28 x 28. LeCun et al. 1998."""

from __future__ import annotations

import numpy as np

from distnn.datasets.keras_files import keras_file
from distnn.tensor import Array


def load_data(path: str = "mnist.npz") -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """The digits and their classes.

    Args:
        path: the file's name in `~/.keras/datasets`.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: x uint8 [N, 28, 28], y uint8 [N] from 0 to 9.

    Raises:
        DataError: the file is not there and cannot be downloaded.
    """
    with np.load(keras_file("mnist.npz", path), allow_pickle=False) as arrays:
        return (arrays["x_train"], arrays["y_train"]), (arrays["x_test"], arrays["y_test"])
