"""California housing: 20,640 districts of 1990 with 8 columns and the median price of a house in dollars.

Pace and Barry 1997.
"""

from __future__ import annotations

import numpy as np

from distnn.datasets.keras_files import checked_split, keras_file, shuffled, split_at_the_end
from distnn.tensor import Array


def load_data(
    version: str = "large", path: str = "california_housing.npz", test_split: float = 0.2, seed: int = 113
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """The districts, in the order that Keras has for the seed.

    Args:
        version: "large", or "small" for the first 600.
        path: the file's name in `~/.keras/datasets`.
        test_split: the share of the last ones that is the test part.
        seed: of the order.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: x float32 [N, 8], y float32 [N].

    Raises:
        DataError: the file is not there and cannot be downloaded.
    """
    if version not in ("small", "large"):
        raise ValueError(f"Argument `version` must be one of 'small', 'large'. Received: version={version}")
    checked_split(test_split)
    with np.load(keras_file("california_housing.npz", path), allow_pickle=False) as arrays:
        x, y = arrays["x"], arrays["y"]
    count = 600 if version == "small" else len(x)
    ((x, y),) = shuffled(seed, (x[:count], y[:count]))
    return split_at_the_end(x, y, test_split)
