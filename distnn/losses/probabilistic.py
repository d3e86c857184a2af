"""Losses of distributions and rates."""

from __future__ import annotations

from typing import Any

from distnn import ops
from distnn.losses.loss import PlainLoss
from distnn.losses.values import EPSILON, float_pair


def kl_divergence(y_true: Any, y_pred: Any) -> Any:
    """sum(y_true log(y_true / y_pred)) over the last axis, of values from 1e-7 to 1."""
    y_true, y_pred = (ops.clip(value, EPSILON, 1.0) for value in float_pair(y_true, y_pred))
    return ops.sum(ops.multiply(y_true, ops.log(ops.divide(y_true, y_pred))), axis=-1)


def poisson(y_true: Any, y_pred: Any) -> Any:
    """mean(y_pred - y_true log(y_pred)) over the last axis."""
    y_true, y_pred = float_pair(y_true, y_pred)
    logs = ops.log(ops.add(y_pred, EPSILON))
    return ops.mean(ops.subtract(y_pred, ops.multiply(y_true, logs)), axis=-1)


class KLDivergence(PlainLoss):
    """See `kl_divergence`."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return kl_divergence(y_true, y_pred)


class Poisson(PlainLoss):
    """See `poisson`."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return poisson(y_true, y_pred)
