"""The 1,797 handwritten digits (8 x 8, 0 to 16) of `digits.npz`; digits_LICENCE.md tells their origin."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.uint8]

NUM_TRAIN = 1437
"""The first 1,437 are the training part of `load_data`, the last 360 (a fifth) the test part."""


def load_data() -> tuple[tuple[Images, Images], tuple[Images, Images]]:
    """A fixed split, as `keras.datasets` has it.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: x uint8 [N, 8, 8] from 0 to 16, y uint8 [N] from 0 to 9.
    """
    x, y = load_all()
    return (x[:NUM_TRAIN], y[:NUM_TRAIN]), (x[NUM_TRAIN:], y[NUM_TRAIN:])


def load_all() -> tuple[Images, Images]:
    """All 1,797: x uint8 [1797, 8, 8], y uint8 [1797], in the order of the source."""
    with files("distnn.datasets").joinpath("digits.npz").open("rb") as file:
        arrays: Any = np.load(file, allow_pickle=False)
        return arrays["x"], arrays["y"]
