"""What is done to raw arrays before training, and done again, identically, before prediction.

Fitted once on the training part, in float64, in two passes, with plain additions and divisions only, so that
the numbers do not depend on the machine. A `Preprocessor` holds the whole chain and becomes JSON in a model
file. Whoever fits or loads one is outside (jobs); nothing here is part of a step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from distnn.data.arrays import Array, ArrayData
from distnn.data.csv import TableColumns, read_csv_as
from distnn.errors import DataError
from distnn.naming import did_you_mean

Float64 = npt.NDArray[np.float64]

_CHUNK_VALUES = 1 << 20


@dataclass(frozen=True, eq=False)
class Standardize:
    """`(x - mean) / deviation`, for each feature; a deviation of zero is taken as 1."""

    mean: Float64
    deviation: Float64

    @classmethod
    def fit(cls, x: Array) -> Standardize:
        """Mean and standard deviation over the samples: two passes in float64."""
        n = x.shape[0]
        mean = _sum_rows(block for block in _blocks(x)) / n
        squares = _sum_rows(np.square(block - mean) for block in _blocks(x))
        deviation = np.sqrt(squares / n)
        return cls(mean, np.where(deviation == 0.0, 1.0, deviation))

    def masked(self, mask: npt.NDArray[np.bool_]) -> Standardize:
        """The same, leaving features outside `mask` as they are."""
        return Standardize(np.where(mask, self.mean, 0.0), np.where(mask, self.deviation, 1.0))

    def transform(self, x: Array) -> npt.NDArray[np.float32]:
        return _transform(x, self.mean, self.deviation)

    def to_config(self) -> dict[str, Any]:
        """JSON-able; floats survive JSON exactly."""
        return {"type": "standard", "mean": self.mean.tolist(), "deviation": self.deviation.tolist()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Standardize:
        return cls(np.asarray(config["mean"], np.float64), np.asarray(config["deviation"], np.float64))


@dataclass(frozen=True, eq=False)
class MinMax:
    """`(x - minimum) / range`, for each feature: 0 to 1 in training; a range of zero is taken as 1."""

    minimum: Float64
    range: Float64

    @classmethod
    def fit(cls, x: Array) -> MinMax:
        low = np.minimum.reduce([block.min(axis=0) for block in _blocks(x)])
        high = np.maximum.reduce([block.max(axis=0) for block in _blocks(x)])
        width = high - low
        return cls(low, np.where(width == 0.0, 1.0, width))

    def masked(self, mask: npt.NDArray[np.bool_]) -> MinMax:
        """The same, leaving features outside `mask` as they are."""
        return MinMax(np.where(mask, self.minimum, 0.0), np.where(mask, self.range, 1.0))

    def transform(self, x: Array) -> npt.NDArray[np.float32]:
        return _transform(x, self.minimum, self.range)

    def to_config(self) -> dict[str, Any]:
        """JSON-able; floats survive JSON exactly."""
        return {"type": "minmax", "minimum": self.minimum.tolist(), "range": self.range.tolist()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> MinMax:
        return cls(np.asarray(config["minimum"], np.float64), np.asarray(config["range"], np.float64))


Normalizer = Standardize | MinMax
NORMALIZERS: dict[str, type[Standardize] | type[MinMax]] = {"standard": Standardize, "minmax": MinMax}


@dataclass(frozen=True)
class Preprocessor:
    """The chain from a source's arrays to the arrays of a training.

    Args:
        columns: of the table the data came from, or None.
        normalizer: for the first (and then only) input, or None.
        num_classes: class indices become one-hot vectors of this length; None leaves targets alone.
    """

    columns: TableColumns | None = None
    normalizer: Normalizer | None = None
    num_classes: int | None = None

    @property
    def class_names(self) -> tuple[str, ...] | None:
        return None if self.columns is None else self.columns.class_names

    def transform(self, data: ArrayData) -> ArrayData:
        """Data of a source, ready for the model: floats are float32, targets encoded."""
        x = self.transform_inputs(data.x)
        y = data.y
        if self.num_classes is not None and y:
            y = (one_hot(y[0], self.num_classes, self.class_names), *y[1:])
        return replace(data, x=x, y=tuple(_float32(array) for array in y))

    def transform_inputs(self, x: Sequence[Array]) -> tuple[Array, ...]:
        """The inputs alone, as `predict` needs them."""
        if self.normalizer is None:
            return tuple(_float32(array) for array in x)
        if len(x) != 1:
            raise DataError(f"normalisation was fitted on one input. Received: {len(x)} inputs")
        return (self.normalizer.transform(x[0]),)

    def read_csv(self, path: Path, *, needs_target: bool) -> ArrayData:
        """Another table, read under the columns of the training table (not yet transformed)."""
        if self.columns is None:
            raise DataError(
                f"{path}: the model was not trained on a table, so columns have no meaning for it"
            )
        return read_csv_as(path, self.columns, needs_target=needs_target)

    def to_config(self) -> dict[str, Any]:
        """A JSON-able description, for a model file."""
        return {
            "columns": None if self.columns is None else self.columns.to_config(),
            "normalizer": None if self.normalizer is None else self.normalizer.to_config(),
            "num_classes": self.num_classes,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Preprocessor:
        columns, normalizer = config["columns"], config["normalizer"]
        return cls(
            None if columns is None else TableColumns.from_config(columns),
            None if normalizer is None else NORMALIZERS[normalizer["type"]].from_config(normalizer),
            config["num_classes"],
        )


def fit_preprocessor(
    train: ArrayData,
    *,
    columns: TableColumns | None = None,
    normalize: str | None = None,
    one_hot_classes: int | None = None,
) -> Preprocessor:
    """Fit on the training part only.

    Args:
        train: as a source gave it.
        columns: of the table it came from; one-hot columns are not normalised.
        normalize: `"standard"`, `"minmax"` or None.
        one_hot_classes: number of classes if class indices shall become one-hot vectors.
    """
    if normalize is None:
        return Preprocessor(columns, None, one_hot_classes)
    if normalize not in NORMALIZERS:
        raise DataError(
            f"unknown normalisation {normalize!r}: expected one of {sorted(NORMALIZERS)}."
            f"{did_you_mean(normalize, NORMALIZERS)}"
        )
    if len(train.x) != 1:
        raise DataError(f"normalisation needs data with one input. Received: {len(train.x)} inputs")
    normalizer: Normalizer = NORMALIZERS[normalize].fit(train.x[0])
    if columns is not None:
        normalizer = normalizer.masked(np.array(columns.numeric_mask))
    return Preprocessor(columns, normalizer, one_hot_classes)


def count_classes(y: Array) -> int:
    """One more than the largest class index."""
    return int(_class_indices(y).max()) + 1


def one_hot(y: Array, num_classes: int, class_names: Sequence[str] | None = None) -> npt.NDArray[np.float32]:
    """Class indices [B] or [B, 1] to vectors [B, num_classes]; what is one-hot already is left alone."""
    if y.ndim == 2 and y.shape[1] == num_classes and num_classes > 1:
        return np.ascontiguousarray(y, dtype=np.float32)
    indices = _class_indices(y)
    outside = (indices < 0) | (indices >= num_classes)
    if outside.any():
        row = int(np.argmax(outside))
        names = f" ({', '.join(class_names)})" if class_names else ""
        raise DataError(
            f"y has label {indices[row]} at row {row}: expected 0 to {num_classes - 1}, "
            f"for {num_classes} classes{names}"
        )
    encoded = np.zeros((len(indices), num_classes), dtype=np.float32)
    encoded[np.arange(len(indices)), indices] = 1.0
    return encoded


def _class_indices(y: Array) -> npt.NDArray[np.int64]:
    flat = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    if flat.ndim != 1:
        raise DataError(f"y has shape {y.shape}: expected one class index for each sample")
    indices = flat.astype(np.int64)
    if flat.dtype.kind == "f" and not np.array_equal(indices, flat):
        row = int(np.argmax(indices != flat))
        raise DataError(f"y has value {flat[row]} at row {row}: class indices must be whole numbers")
    return indices


def _blocks(x: Array) -> Iterator[Float64]:
    """Float64 copies of runs of samples."""
    step = max(1, _CHUNK_VALUES // max(1, x[0].size))
    for start in range(0, x.shape[0], step):
        yield x[start : start + step].astype(np.float64)


def _sum_rows(blocks: Iterator[Float64]) -> Float64:
    total: Float64 | None = None
    for block in blocks:
        part = np.asarray(np.add.reduce(block, axis=0), dtype=np.float64)
        total = part if total is None else total + part
    assert total is not None, "data without samples is refused earlier"
    return total


def _transform(x: Array, shift: Float64, scale: Float64) -> npt.NDArray[np.float32]:
    if x.shape[1:] != shift.shape:
        raise DataError(f"x has samples of shape {x.shape[1:]}: normalisation was fitted on {shift.shape}")
    result = np.empty(x.shape, dtype=np.float32)
    start = 0
    for block in _blocks(x):
        result[start : start + len(block)] = (block - shift) / scale
        start += len(block)
    return result


def _float32(array: Array) -> Array:
    return np.ascontiguousarray(array, dtype=np.float32) if array.dtype == np.float64 else array
