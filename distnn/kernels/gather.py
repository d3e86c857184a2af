"""Samples picked by index and cast, from a source array into a step's input buffer."""

from __future__ import annotations

import numpy as np

from distnn.kernels.jit import Array, kernel


@kernel
def gather_rows(source_NF: Array, index_B: Array, out_BF: Array) -> None:
    """out[b] = source[index[b]], cast to the dtype of out.

    Args:
        source_NF: N samples of F features, any number dtype.
        index_B: int64, each in [0, N); not checked.
        out_BF: float32, float64 or int32.
    """
    features = source_NF.shape[1]
    for b in range(out_BF.shape[0]):
        row = np.uint64(index_B[b])
        for f in range(features):
            out_BF[b, f] = source_NF[row, f]


@kernel
def one_hot(index_B: Array, out_BC: Array) -> None:
    """1 at each row's index, 0 elsewhere; a row of zeros where the index lies outside [0, C)."""
    zero, one = out_BC.dtype.type(0), out_BC.dtype.type(1)
    for b in range(out_BC.shape[0]):
        index = index_B[b]
        for c in range(out_BC.shape[1]):
            out_BC[b, c] = one if c == index else zero
