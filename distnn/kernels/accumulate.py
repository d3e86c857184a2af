"""Kernels that end in float64 sums: one fixed chain of additions over a shard's values."""

from __future__ import annotations

from distnn.kernels.jit import kernel
from distnn.tensor import Array


@kernel
def sum_and_count(x: Array, out: Array) -> None:
    """out = [sum of x, size of x], x 1-D, out float64[2]."""
    total = 0.0
    for i in range(x.shape[0]):
        total += x[i]
    out[0] = total
    out[1] = x.shape[0]


@kernel
def sum_and_weight(x: Array, weight: Array, out: Array) -> None:
    """out = [sum of x, sum of weight], both 1-D, out float64[2]."""
    total = 0.0
    weights = 0.0
    for i in range(x.shape[0]):
        total += x[i]
        weights += weight[i]
    out[0] = total
    out[1] = weights


@kernel
def scaled_by_samples(x: Array, control: Array, word: int, out: Array) -> None:
    """out[i] = x[i] * samples in float64; a further element of `out` holds the samples."""
    samples = float(control[word])
    for i in range(x.shape[0]):
        out[i] = x[i] * samples
    for i in range(x.shape[0], out.shape[0]):
        out[i] = samples


@kernel
def times_samples(x: Array, control: Array, word: int, out: Array) -> None:
    """out[i] = x[i] * samples in x's own dtype."""
    for i in range(x.shape[0]):
        out[i] = x[i] * control[word]
