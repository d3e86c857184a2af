"""Boston housing: 506 districts of 1978 with 13 columns and the median price of a house in 1,000 dollars.

One of the columns holds a claim about races; for new work take `california_housing`.
"""

from __future__ import annotations

import numpy as np

from distnn.datasets.keras_files import checked_split, keras_file, shuffled, split_at_the_end
from distnn.tensor import Array


def load_data(
    path: str = "boston_housing.npz", test_split: float = 0.2, seed: int = 113
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """The districts, in the order that Keras has for the seed.

    Args:
        path: the file's name in `~/.keras/datasets`.
        test_split: the share of the last ones that is the test part.
        seed: of the order.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: x float64 [N, 13], y float64 [N].

    Raises:
        DataError: the file is not there and cannot be downloaded.
    """
    checked_split(test_split)
    with np.load(keras_file("boston_housing.npz", path), allow_pickle=False) as arrays:
        x, y = arrays["x"], arrays["y"]
    ((x, y),) = shuffled(seed, (x, y))
    return split_at_the_end(x, y, test_split)
