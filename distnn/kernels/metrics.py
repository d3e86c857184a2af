"""Per-sample values of metrics, float32, so that weights can be applied before they are summed.

Letters: B samples, C classes. Ties: the first largest wins, as in Keras.
"""

from __future__ import annotations

import numpy as np

from distnn.kernels.jit import Array, helper, kernel


@helper
def _first_largest(x_BC: Array, b: int) -> int:
    best, place = x_BC[b, 0], 0
    for c in range(1, x_BC.shape[1]):
        if x_BC[b, c] > best:
            best, place = x_BC[b, c], c
    return place


@kernel
def sparse_accuracy(label_B: Array, prediction_BC: Array, match_B: Array) -> None:
    """1 where the largest prediction is at the label."""
    one, zero = match_B.dtype.type(1), match_B.dtype.type(0)
    for b in range(match_B.size):
        match_B[b] = one if _first_largest(prediction_BC, b) == label_B[b] else zero


@kernel
def categorical_accuracy(target_BC: Array, prediction_BC: Array, match_B: Array) -> None:
    """1 where target and prediction have their largest value at the same class."""
    one, zero = match_B.dtype.type(1), match_B.dtype.type(0)
    for b in range(match_B.size):
        is_match = _first_largest(prediction_BC, b) == _first_largest(target_BC, b)
        match_B[b] = one if is_match else zero


@helper
def _is_in_top_k(prediction_BC: Array, b: int, label: int, k: int) -> bool:
    """Whether fewer than k predictions are above the label's; False if that one is not finite."""
    if not 0 <= label < prediction_BC.shape[1]:
        return False
    value = prediction_BC[b, label]
    above = 0
    for c in range(prediction_BC.shape[1]):
        above += prediction_BC[b, c] > value
    return above < k and bool(np.isfinite(value))


@kernel
def sparse_top_k_accuracy(label_B: Array, prediction_BC: Array, k: int, match_B: Array) -> None:
    """1 where the label is among the k largest predictions."""
    one, zero = match_B.dtype.type(1), match_B.dtype.type(0)
    for b in range(match_B.size):
        match_B[b] = one if _is_in_top_k(prediction_BC, b, label_B[b], k) else zero
