"""Where Keras's data sets come from, and what their files hash to; how they are split."""

from __future__ import annotations

from typing import Any

import numpy as np

from distnn.data.downloads import get_file
from distnn.tensor import Array

BASE = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
"""Where Keras keeps those that are its own."""
HASHES = {
    "mnist.npz": "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
    "imdb.npz": "69664113be75683a8fe16e3ed0ab59fda8886cb3cd7ada244f7d9544e4676b9f",
    "imdb_word_index.json": "bfafd718b763782e994055a2d397834f",
    "reuters.npz": "d6586e694ee56d7a4e65172e12b3e987c03096cb01eab99753921ef915959916",
    "reuters_word_index.json": "4d44cc38712099c9e383dc6e5f11a921",
    "boston_housing.npz": "f553886a1f8d56431e820c5b82552d9d95cfcb96d1e678153f8839538947dff5",
    "california_housing.npz": "1a2e3a52e0398de6463aebe6f4a8da34fb21fbb6b934cf88c3425e766f2a1a6f",
}
"""SHA-256, or MD5 where Keras knows only that."""


def keras_file(name: str, path: str) -> str:
    """The file `name` of Keras's, kept as `path`; downloaded if it is not there."""
    return get_file(path, BASE + name, file_hash=HASHES[name])


def shuffled(seed: int, *parts: tuple[Array, Array]) -> list[tuple[Array, Array]]:
    """The samples and labels of each part in the order that Keras has for the seed: one generator for all."""
    draw, found = np.random.RandomState(seed), []
    for x, y in parts:
        order = np.arange(len(x))
        draw.shuffle(order)
        found.append((x[order], y[order]))
    return found


def split_at_the_end(x: Any, y: Any, test_split: float) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """`(x_train, y_train), (x_test, y_test)`: the last part is the test's.

    Raises:
        ValueError: `test_split` is no share below 1.
    """
    count = int(len(x) * (1 - checked_split(test_split)))
    return (x[:count], y[:count]), (x[count:], y[count:])


def checked_split(test_split: float) -> float:
    """`test_split`, if it is a share below 1."""
    if not 0 <= test_split < 1:
        raise ValueError(
            f"Invalid `test_split` argument: {test_split}. It must be between 0 and 1 (exclusive of 1)."
        )
    return test_split
