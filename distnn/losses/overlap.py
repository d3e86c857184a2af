"""Losses of overlap, for segmentation: Dice (1945) and Tversky (1977).

With an `axis` that leaves the batch out each sample has its own value. Without one everything is summed: a
value per shard of the batch, of which the mean over samples is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from distnn import ops
from distnn.losses.loss import Loss
from distnn.losses.values import EPSILON, float_pair

Axis = int | Sequence[int] | None


def dice(y_true: Any, y_pred: Any, axis: Axis = None) -> Any:
    """1 - 2 sum(y_true y_pred) / (sum(y_true) + sum(y_pred)) over `axis`."""
    y_true, y_pred = float_pair(y_true, y_pred)
    common = ops.sum(ops.multiply(y_true, y_pred), axis=axis)
    total = ops.add(ops.sum(y_true, axis=axis), ops.sum(y_pred, axis=axis))
    return ops.subtract(1.0, ops.divide(common * 2.0, total + EPSILON))


def tversky(y_true: Any, y_pred: Any, alpha: float = 0.5, beta: float = 0.5, axis: Axis = None) -> Any:
    """1 - common / (common + alpha * missed + beta * wrong), sums over `axis`."""
    y_true, y_pred = float_pair(y_true, y_pred)
    common = ops.sum(ops.multiply(y_true, y_pred), axis=axis)
    missed = ops.sum(ops.multiply(ops.subtract(1.0, y_pred), y_true), axis=axis)
    wrong = ops.sum(ops.multiply(y_pred, ops.subtract(1.0, y_true)), axis=axis)
    return ops.subtract(1.0, ops.divide(common, common + missed * alpha + wrong * beta + EPSILON))


class Dice(Loss):
    """See `dice`."""

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "dice",
        axis: Axis = None,
    ) -> None:
        super().__init__(name, reduction)
        self.axis = axis

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return dice(y_true, y_pred, self.axis)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axis": self.axis}


class Tversky(Loss):
    """See `tversky`."""

    def __init__(
        self,
        alpha: float = 0.5,
        beta: float = 0.5,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "tversky",
        axis: Axis = None,
    ) -> None:
        super().__init__(name, reduction)
        self.alpha = float(alpha)
        self.beta = float(beta)
        self.axis = axis

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return tversky(y_true, y_pred, self.alpha, self.beta, self.axis)

    def get_config(self) -> dict[str, Any]:
        own = {"alpha": self.alpha, "beta": self.beta, "axis": self.axis}
        return {**super().get_config(), **own}
