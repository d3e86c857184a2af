"""Inputs, targets and weights in one tuple and out of it; a set of samples in two parts."""

from __future__ import annotations

from typing import Any

import numpy as np

from distnn.data.dataset import ArrayDataset
from distnn.rng import draw_seed
from distnn.tensor import Array


def pack_x_y_sample_weight(x: Any, y: Any = None, sample_weight: Any = None) -> Any:
    """`x`, `(x, y)` or `(x, y, sample_weight)`; a list or tuple of inputs alone becomes `(x,)`."""
    if sample_weight is not None:
        return x, y, sample_weight
    if y is not None:
        return x, y
    return (x,) if isinstance(x, list | tuple) else x


def unpack_x_y_sample_weight(data: Any) -> tuple[Any, Any, Any]:
    """`(x, y, sample_weight)` of what `pack_x_y_sample_weight` gave; None for what is not there.

    Raises:
        ValueError: there are more than three.
    """
    parts = tuple(data) if isinstance(data, list | tuple) else (data,)
    if not 1 <= len(parts) <= 3:
        raise ValueError(
            "Data is expected to be in format `x`, `(x,)`, `(x, y)`, or `(x, y, sample_weight)`, found: "
            f"{len(parts)} parts"
        )
    x, y, sample_weight = (*parts, None, None)[:3]
    return x, y, sample_weight


def split_dataset(
    dataset: Any,
    left_size: float | None = None,
    right_size: float | None = None,
    shuffle: bool = False,
    seed: int | None = None,
    preferred_backend: str | None = None,
) -> tuple[ArrayDataset, ArrayDataset]:
    """Two data sets: the first samples, and those after them.

    Args:
        dataset: an array, `(x, y)`, or what a `..._dataset_from_...` function gave.
        left_size, right_size: a share (float) or a number of samples (int); one follows from the other.
        shuffle: whether samples are mixed first.
        seed: of that order.
        preferred_backend: of Keras; without effect.

    Raises:
        ValueError: for other data, or sizes that do not fit into it.
    """
    given = dataset
    if isinstance(dataset, np.ndarray):
        given = ArrayDataset(dataset)
    elif isinstance(dataset, list | tuple) and len(dataset) == 2 and len(dataset[0]) == len(dataset[1]):
        given = ArrayDataset(np.asarray(dataset[0]), np.asarray(dataset[1]))
    if not isinstance(given, ArrayDataset):
        raise ValueError(
            "split_dataset takes an array, a pair `(x, y)` of arrays of one length, or a dataset. Received: "
            f"{type(dataset).__name__}"
        )
    total = len(given.x)
    left, right = _sizes(total, left_size, right_size)
    order = np.arange(total)
    if shuffle:
        order = np.random.default_rng(draw_seed() if seed is None else seed).permutation(order)
    return _part(given, order[:left]), _part(given, order[left : left + right])


def _sizes(total: int, left_size: float | None, right_size: float | None) -> tuple[int, int]:
    if left_size is None and right_size is None:
        raise ValueError("At least one of the `left_size` or `right_size` must be specified.")
    left, right = _count("left_size", left_size, total), _count("right_size", right_size, total)
    if left is None:
        left = total - (right or 0)
    if right is None:
        right = total - left
    if not (left > 0 and right > 0 and left + right <= total):
        raise ValueError(
            f"both parts need samples, {total} in all. Received: left_size={left_size}, "
            f"right_size={right_size}, which is {left} and {right}"
        )
    return left, right


def _count(name: str, size: float | None, total: int) -> int | None:
    if size is None:
        return None
    if isinstance(size, bool) or not isinstance(size, int | float) or size <= 0:
        raise ValueError(f"`{name}` must be a positive number. Received: {name}={size!r}")
    if isinstance(size, float) and size >= 1:
        raise ValueError(f"`{name}` as a float is a share below 1. Received: {name}={size}")
    return round(size * total) if isinstance(size, float) else size


def _part(dataset: ArrayDataset, chosen: Array) -> ArrayDataset:
    y = None if dataset.y is None else dataset.y[chosen]
    paths = [dataset.file_paths[i] for i in chosen] if dataset.file_paths else []
    names = dataset.class_names
    return ArrayDataset(dataset.x[chosen], y, dataset.batch_size, dataset.shuffle, names, paths)
