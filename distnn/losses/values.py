"""Targets and predictions as losses and metrics take them: of one rank, of one shape, as values."""

from __future__ import annotations

from typing import Any

import numpy as np

from distnn import ops
from distnn.ops.softmax import Softmax
from distnn.tensor import Tensor
from distnn.variable import Variable

EPSILON = 1e-7
"""Keras's: what keeps logarithms and quotients finite."""


def rank(value: Any) -> int:
    """Number of axes of a tensor or array."""
    return len(value.shape) if isinstance(value, Tensor | Variable) else np.ndim(value)


def as_values(*given: Any) -> tuple[Any, ...]:
    """Tensors and arrays as they are; lists and numbers as arrays, their floats float32."""
    return tuple(_as_value(value) for value in given)


def _as_value(value: Any) -> Any:
    if isinstance(value, Tensor | Variable | np.ndarray):
        return value
    array = np.asarray(value)
    return array.astype(np.float32) if array.dtype.kind == "f" else array


def same_rank(y_true: Any, y_pred: Any) -> tuple[Any, Any]:
    """Keras's rule where one side has one axis more, of size 1: vectors get it too, others lose it."""
    y_true, y_pred = as_values(y_true, y_pred)
    if rank(y_true) == rank(y_pred) + 1:
        y_pred, y_true = same_rank(y_pred, y_true)
    elif rank(y_pred) == rank(y_true) + 1 and y_pred.shape[-1] == 1:
        if rank(y_true) == 1:
            y_true = ops.expand_dims(y_true, -1)
        else:
            y_pred = ops.squeeze(y_pred, -1)
    return y_true, y_pred


def aligned_weight(sample_weight: Any, values: Any) -> Any:
    """Weights with axes of size 1 dropped or appended until they broadcast over `values`."""
    weight = np.asarray(sample_weight, np.float32)
    if weight.ndim == rank(values) + 1 and weight.shape[-1] == 1:
        weight = weight[..., 0]
    return weight.reshape(weight.shape + (1,) * (rank(values) - weight.ndim))


def reduced(values: Any, sample_weight: Any, mask: Any, reduction: str) -> Any:
    """One number of a loss's values, or with "none" the values; divided as `distnn.losses.Loss` says."""
    weight = None if sample_weight is None else aligned_weight(sample_weight, values)
    counted = None if mask is None else ops.cast(mask, "float32")
    for factor in (weight, counted):
        values = values if factor is None else ops.multiply(values, factor)
    if reduction == "none" or rank(values) == 0:
        return values
    total = ops.sum(values)
    if reduction == "sum":
        return total
    if reduction == "mean_with_sample_weight" and weight is not None:
        counted = weight if counted is None else ops.multiply(counted, weight)
    if counted is None:
        return ops.mean(values)
    divisor = ops.sum(ops.multiply(ops.ones_like(values), counted))
    is_none = ops.equal(divisor, 0.0)
    return ops.where(is_none, 0.0, ops.divide(total, ops.where(is_none, 1.0, divisor)))


def float_pair(y_true: Any, y_pred: Any) -> tuple[Any, Any]:
    """Targets as floats, and predictions, of one shape.

    Raises:
        ValueError: if they differ.
    """
    y_true, y_pred = same_rank(y_true, y_pred)
    if tuple(y_true.shape) != tuple(y_pred.shape):
        raise ValueError(
            "`y_true` and `y_pred` must have the same shape. "
            f"Received: y_true.shape={tuple(y_true.shape)}, y_pred.shape={tuple(y_pred.shape)}"
        )
    return ops.cast(y_true, "float32"), y_pred


def softmax_input(y_pred: Any) -> Any:
    """The logits under probabilities that a softmax over the last axis computed in this graph, or None."""
    node = y_pred.node if isinstance(y_pred, Tensor) else None
    if node is not None and isinstance(node.op, Softmax):
        return node.inputs[0]
    return None
