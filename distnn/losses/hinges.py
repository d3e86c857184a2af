"""Hinge losses: nothing is lost beyond a margin of 1.

Targets are -1 or 1; 0 stands for -1, wherever it is. (Keras looks whether a whole batch has only 0 and 1.)
"""

from __future__ import annotations

from typing import Any

from distnn import ops
from distnn.losses.loss import PlainLoss
from distnn.losses.values import float_pair


def _missing(y_true: Any, y_pred: Any) -> Any:
    """max(1 - y_true * y_pred, 0)."""
    y_true, y_pred = float_pair(y_true, y_pred)
    signs = ops.where(ops.equal(y_true, 0.0), -1.0, y_true)
    return ops.maximum(ops.subtract(1.0, ops.multiply(signs, y_pred)), 0.0)


def hinge(y_true: Any, y_pred: Any) -> Any:
    """mean(max(1 - y_true * y_pred, 0)) over the last axis."""
    return ops.mean(_missing(y_true, y_pred), axis=-1)


def squared_hinge(y_true: Any, y_pred: Any) -> Any:
    """mean(max(1 - y_true * y_pred, 0)^2) over the last axis."""
    return ops.mean(ops.square(_missing(y_true, y_pred)), axis=-1)


def categorical_hinge(y_true: Any, y_pred: Any) -> Any:
    """max(neg - pos + 1, 0): pos the prediction of the true class, neg the largest of the others."""
    y_true, y_pred = float_pair(y_true, y_pred)
    pos = ops.sum(ops.multiply(y_true, y_pred), axis=-1)
    neg = ops.max(ops.multiply(ops.subtract(1.0, y_true), y_pred), axis=-1)
    return ops.maximum(ops.subtract(neg, pos) + 1.0, 0.0)


class Hinge(PlainLoss):
    """See `hinge`."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return hinge(y_true, y_pred)


class SquaredHinge(PlainLoss):
    """See `squared_hinge`."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return squared_hinge(y_true, y_pred)


class CategoricalHinge(PlainLoss):
    """See `categorical_hinge`."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return categorical_hinge(y_true, y_pred)
