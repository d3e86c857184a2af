"""CIFAR-10: 50,000 and 10,000 colour pictures, 32 x 32, in ten classes. Krizhevsky 2009."""

from __future__ import annotations

import numpy as np

from distnn.datasets.cifar import load_parts
from distnn.tensor import Array

SHA256 = "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"
FOLDER = "cifar-10-batches-py"


def load_data() -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """The pictures and their classes.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: x uint8 [N, 32, 32, 3], y uint8 [N, 1] from 0 to 9.

    Raises:
        DataError: the archive is not there and cannot be downloaded.
    """
    parts = [[f"{FOLDER}/data_batch_{i}" for i in range(1, 6)], [f"{FOLDER}/test_batch"]]
    found = load_parts(f"{FOLDER}-target_archive", "cifar-10-python.tar.gz", SHA256, parts, "labels")
    train, test = ((x, y.astype(np.uint8)) for x, y in found)
    return train, test
