"""Training and validation parts: a seeded split for specs, the last samples for Keras's `validation_split`.

The seeded split is a function of the seed and the number of samples only.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from distnn import rng
from distnn.data.arrays import ArrayData
from distnn.errors import DataError


def split_validation(data: ArrayData, fraction: float, seed: int) -> tuple[ArrayData, ArrayData]:
    """A random part of the samples for validation, the same for the same seed and number of samples.

    Args:
        data: at least two samples.
        fraction: the share for validation, between 0 and 1; rounded to at least one sample on each side.
        seed: of the run.

    Returns:
        The training part and the validation part, each in the order of `data`.
    """
    train, validation = split_indices(data.num_samples, fraction, seed)
    return data.take(train), data.take(validation)


def split_indices(
    num_samples: int, fraction: float, seed: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The sample numbers of the training part and of the validation part, each ascending.

    Every sample gets a 64-bit random number; the validation part is the samples with the smallest. Only the
    bit generator is used, because NumPy does not promise that `Generator.permutation` stays as it is.
    """
    if not 0 < fraction < 1:
        raise DataError(f"the validation fraction must be between 0 and 1. Received: {fraction!r}")
    if num_samples < 2:
        raise DataError(f"{num_samples} sample cannot be split into a training and a validation part")
    num_validation = min(max(1, math.floor(num_samples * fraction + 0.5)), num_samples - 1)
    bit_generator: Any = rng.generator(seed, "split").bit_generator
    order = np.argsort(bit_generator.random_raw(num_samples), kind="stable")
    return np.sort(order[num_validation:]), np.sort(order[:num_validation])


def split_last(data: ArrayData, validation_split: float) -> tuple[ArrayData, ArrayData]:
    """Keras's `validation_split`: the last part, before any shuffling, as views."""
    if not 0 < validation_split < 1:
        raise DataError(
            f"`validation_split` must be between 0 and 1. Received: validation_split={validation_split!r}"
        )
    n = data.num_samples
    split_at = math.floor(n * (1.0 - validation_split))
    if split_at in (0, n):
        raise DataError(
            f"Training data contains {n} samples, which is not sufficient to split it into a validation and "
            f"training set as specified by `validation_split={validation_split}`. Either provide more data, "
            "or a different value for the `validation_split` argument."
        )
    return data.slice(0, split_at), data.slice(split_at, n)
