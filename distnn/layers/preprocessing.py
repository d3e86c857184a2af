"""Numeric preprocessing inside a model: Rescaling, Normalization, Discretization, CategoryEncoding.

What is learnt from data (`adapt`) is learnt in float64, in two passes, by the process that calls it; it is
part of the model from then on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from distnn import ops
from distnn.layers.layer import Layer
from distnn.tensor import Array


class Rescaling(Layer):
    """`x * scale + offset`.

    Args:
        scale, offset: numbers, or one for each channel (the last axis).
    """

    def __init__(self, scale: Any, offset: Any = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scale, self.offset = _numbers("scale", scale), _numbers("offset", offset)

    def call(self, inputs: Any) -> Any:
        scale, offset = (np.asarray(one, np.float32) for one in (self.scale, self.offset))
        return ops.add(ops.multiply(ops.cast(inputs, "float32"), scale), offset)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scale": self.scale, "offset": self.offset}


def _numbers(name: str, given: Any) -> float | list[float]:
    array = np.asarray(given)
    if array.dtype.kind not in "fiu" or array.ndim > 1:
        raise ValueError(f"`{name}` must be a number or a list of numbers. Received: {name}={given!r}")
    return array.astype(float).tolist()  # type: ignore[no-any-return]


class Normalization(Layer):
    """`(x - mean) / sqrt(variance)`, with statistics that are given or learnt by `adapt`.

    Args:
        axis: axes that keep statistics of their own; the last by default, None for one mean of everything.
        mean, variance: given together, or learnt.
        invert: undo it: `x * sqrt(variance) + mean`.
    """

    def __init__(
        self,
        axis: int | Sequence[int] | None = -1,
        mean: Any = None,
        variance: Any = None,
        invert: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if (mean is None) != (variance is None):
            raise ValueError(
                "When setting values directly, both `mean` and `variance` must be set. "
                f"Received: mean={mean} and variance={variance}"
            )
        self.axis = axis
        self.invert = bool(invert)
        self.mean = None if mean is None else np.asarray(mean, np.float64)
        self.variance = None if variance is None else np.asarray(variance, np.float64)

    def adapt(self, data: Any) -> None:
        """Learn mean and variance of `data` (samples along axis 0); what was learnt before is forgotten."""
        array = np.asarray(data.to_numpy() if hasattr(data, "to_numpy") else data)
        if array.dtype.kind not in "fiub" or not array.size:
            raise ValueError(f"`adapt` takes an array of numbers. Received: {array.dtype} of {array.shape}")
        kept = self._kept_axes(array.ndim)
        others = tuple(i for i in range(array.ndim) if i not in kept)
        wide = array.astype(np.float64)
        mean = wide.mean(axis=others, keepdims=True)
        self.variance = np.square(wide - mean).mean(axis=others)
        self.mean = mean.reshape(self.variance.shape)

    def _kept_axes(self, rank: int) -> tuple[int, ...]:
        given = () if self.axis is None else (self.axis,) if isinstance(self.axis, int) else tuple(self.axis)
        kept = tuple(sorted(axis + rank if axis < 0 else axis for axis in given))
        if any(not 0 < axis < rank for axis in kept):
            raise ValueError(
                f"All `axis` values must be in the range [1, {rank}) or negative, and not the batch axis. "
                f"Received: axis={self.axis} for an input of {rank} axes"
            )
        return kept

    def call(self, inputs: Any) -> Any:
        if self.mean is None or self.variance is None:
            raise ValueError(
                f"layer '{self.name}' has no statistics: call `adapt(data)` first, or give `mean` and "
                "`variance`"
            )
        x = ops.cast(inputs, "float32")
        rank = len(x.shape)
        kept = self._kept_axes(rank)
        shape = [1] * rank
        sizes = self.mean.shape if self.mean.ndim == len(kept) else (self.mean.size,) * len(kept)
        for axis, size in zip(kept, sizes, strict=True):
            shape[axis] = size
        mean = self.mean.reshape(shape).astype(np.float32)
        deviation = np.maximum(np.sqrt(self.variance.reshape(shape)), 1e-7).astype(np.float32)
        if self.invert:
            return ops.add(ops.multiply(x, deviation), mean)
        return ops.divide(ops.subtract(x, mean), deviation)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "axis": self.axis if self.axis is None or isinstance(self.axis, int) else list(self.axis),
            "mean": None if self.mean is None else self.mean.tolist(),
            "variance": None if self.variance is None else self.variance.tolist(),
            "invert": self.invert,
        }


OUTPUT_MODES = ("int", "one_hot", "multi_hot", "count")


class CategoryEncoding(Layer):
    """Whole numbers below `num_tokens` as one-hot, multi-hot or counted vectors.

    Input shape: `(batch,)` or `(batch, n)`. Output shape: `(batch, num_tokens)`, or for "one_hot" of several
    `(batch, n, num_tokens)`.

    Args:
        num_tokens: how many numbers there are; others leave zeros.
        output_mode: "one_hot", "multi_hot" or "count".
    """

    def __init__(self, num_tokens: int | None = None, output_mode: str = "multi_hot", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(num_tokens, int) or num_tokens < 1:
            raise ValueError(f"`num_tokens` must be a positive integer. Received: num_tokens={num_tokens}")
        if output_mode not in OUTPUT_MODES[1:]:
            raise ValueError(
                f"Unknown value for `output_mode`: {output_mode!r}. Expected one of {OUTPUT_MODES[1:]}"
            )
        self.num_tokens, self.output_mode = num_tokens, output_mode

    def call(self, inputs: Any) -> Any:
        return encoded(inputs, self.num_tokens, self.output_mode)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_tokens": self.num_tokens, "output_mode": self.output_mode}


def encoded(indices: Any, num_tokens: int, mode: str) -> Any:
    """Whole numbers as `CategoryEncoding` gives them."""
    whole = ops.cast(indices, "int32")
    rank = len(whole.shape)
    vectors = ops.one_hot(whole, num_tokens)
    if mode == "one_hot" and rank > 1 and whole.shape[-1] == 1:
        return ops.squeeze(vectors, -2)
    if mode == "one_hot" or rank == 1:
        return vectors
    return ops.sum(vectors, axis=-2) if mode == "count" else ops.max(vectors, axis=-2)


class Discretization(Layer):
    """Numbers as the number of the bin in which they lie.

    Args:
        bin_boundaries: rising; n of them make n + 1 bins, a boundary belongs to the bin above.
        num_bins: that `adapt` is to find, each with about as many of its values.
        output_mode: "int", "one_hot", "multi_hot" or "count".
    """

    def __init__(
        self,
        bin_boundaries: Sequence[float] | None = None,
        num_bins: int | None = None,
        output_mode: str = "int",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if (bin_boundaries is None) == (num_bins is None):
            raise ValueError(
                "Give either `bin_boundaries` or `num_bins`. "
                f"Received: bin_boundaries={bin_boundaries}, num_bins={num_bins}"
            )
        if output_mode not in OUTPUT_MODES:
            raise ValueError(
                f"Unknown value for `output_mode`: {output_mode!r}. Expected one of {OUTPUT_MODES}"
            )
        self.num_bins, self.output_mode = num_bins, output_mode
        self.bin_boundaries = None if bin_boundaries is None else sorted(float(b) for b in bin_boundaries)

    def adapt(self, data: Any) -> None:
        """Find boundaries between `num_bins` bins with about equally many of the values of `data`."""
        if self.num_bins is None:
            raise ValueError("Cannot adapt a Discretization layer that was given `bin_boundaries`")
        values = np.sort(np.asarray(data, np.float64).reshape(-1))
        places = [len(values) * i // self.num_bins for i in range(1, self.num_bins)]
        self.bin_boundaries = [float(np.float32(values[place])) for place in places]

    def call(self, inputs: Any) -> Any:
        if self.bin_boundaries is None:
            raise ValueError(f"layer '{self.name}' has no boundaries: call `adapt(data)` first")
        x = ops.cast(inputs, "float32")
        edges: Array = np.asarray(self.bin_boundaries, np.float32)
        above = ops.greater_equal(ops.expand_dims(x, -1), edges)
        bins = ops.cast(ops.sum(ops.cast(above, "float32"), axis=-1), "int32")
        if self.output_mode == "int":
            return bins
        return encoded(bins, len(self.bin_boundaries) + 1, self.output_mode)

    def get_config(self) -> dict[str, Any]:
        found = {**super().get_config(), "output_mode": self.output_mode}
        if self.bin_boundaries is not None:
            return {**found, "bin_boundaries": self.bin_boundaries}
        return {**found, "num_bins": self.num_bins}
