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


@kernel
def keep_top_k(x_BC: Array, k: int, filtered: float, out_BC: Array) -> None:
    """x where it is among the k largest of its row (of equals the first are), else `filtered`."""
    nothing = out_BC.dtype.type(filtered)
    for b in range(x_BC.shape[0]):
        for c in range(x_BC.shape[1]):
            above = 0
            for other in range(x_BC.shape[1]):
                is_before = other < c and x_BC[b, other] == x_BC[b, c]
                above += x_BC[b, other] > x_BC[b, c] or is_before
            out_BC[b, c] = x_BC[b, c] if above < k else nothing


# Counters: float64 sums of a shard, exact as long as the weights are whole


@kernel
def threshold_counts(
    target: Array, prediction: Array, weight: Array, thresholds_T: Array, labels: int, out_LxT: Array
) -> None:
    """Weights of positives and of negatives by how many thresholds are below the prediction.

    The value at i belongs to label i % labels. `out_LxT` has, label by label, T + 1 sums of positives
    (target not 0), then T + 1 of negatives. An empty `weight` counts each value once.
    """
    out_LxT[:] = 0.0
    buckets = thresholds_T.size + 1
    for i in range(target.size):
        low, high = 0, thresholds_T.size
        while low < high:
            middle = (low + high) // 2
            if prediction[i] > thresholds_T[middle]:
                low = middle + 1
            else:
                high = middle
        side = 0 if target[i] != 0 else buckets
        place = 2 * buckets * (i % labels) + side + low
        out_LxT[place] += np.float64(weight[i]) if weight.size > 0 else 1.0


@kernel
def confusion_counts(
    label: Array, prediction: Array, weight: Array, classes: int, ignored: int, out_CxC: Array
) -> None:
    """Weights by (label, prediction), row by row; what is no class, and the label `ignored`, is left out."""
    out_CxC[:] = 0.0
    for i in range(label.size):
        row, column = label[i], prediction[i]
        if 0 <= row < classes and 0 <= column < classes and row != ignored:
            out_CxC[row * classes + column] += np.float64(weight[i]) if weight.size > 0 else 1.0


@kernel
def column_sums(x_BK: Array, weight_B: Array, out_K: Array) -> None:
    """Sums over the rows, weighted; an empty `weight_B` weighs nothing."""
    out_K[:] = 0.0
    for b in range(x_BK.shape[0]):
        weight = np.float64(weight_B[b]) if weight_B.size > 0 else 1.0
        for k in range(out_K.size):
            out_K[k] += np.float64(x_BK[b, k]) * weight
