"""Losses of numbers: how far predictions are from targets."""

from __future__ import annotations

import math
from typing import Any

from distnn import ops
from distnn.losses.loss import Loss, PlainLoss
from distnn.losses.values import EPSILON, float_pair


def mean_squared_error(y_true: Any, y_pred: Any) -> Any:
    """mean((y_true - y_pred)^2) over the last axis."""
    y_true, y_pred = float_pair(y_true, y_pred)
    return ops.mean(ops.square(ops.subtract(y_true, y_pred)), axis=-1)


def mean_absolute_error(y_true: Any, y_pred: Any) -> Any:
    """mean(|y_true - y_pred|) over the last axis."""
    y_true, y_pred = float_pair(y_true, y_pred)
    return ops.mean(ops.abs(ops.subtract(y_true, y_pred)), axis=-1)


def huber(y_true: Any, y_pred: Any, delta: float = 1.0) -> Any:
    """Mean over the last axis of e^2 / 2 where |e| <= delta, else delta |e| - delta^2 / 2. Huber 1964."""
    y_true, y_pred = float_pair(y_true, y_pred)
    error = ops.abs(ops.subtract(y_pred, y_true))
    inside = ops.minimum(error, delta)
    return ops.mean(inside * (error - inside * 0.5), axis=-1)


def mean_absolute_percentage_error(y_true: Any, y_pred: Any) -> Any:
    """100 mean(|y_true - y_pred| / max(|y_true|, 1e-7)) over the last axis."""
    y_true, y_pred = float_pair(y_true, y_pred)
    size = ops.maximum(ops.abs(y_true), EPSILON)
    return 100.0 * ops.mean(ops.abs(ops.divide(ops.subtract(y_true, y_pred), size)), axis=-1)


def mean_squared_logarithmic_error(y_true: Any, y_pred: Any) -> Any:
    """mean((log(y_true + 1) - log(y_pred + 1))^2) over the last axis, of values of at least 1e-7."""
    y_true, y_pred = float_pair(y_true, y_pred)
    logs = (ops.log(ops.maximum(value, EPSILON) + 1.0) for value in (y_pred, y_true))
    return ops.mean(ops.square(ops.subtract(*logs)), axis=-1)


def log_cosh(y_true: Any, y_pred: Any) -> Any:
    """mean(log(cosh(y_pred - y_true))) over the last axis."""
    y_true, y_pred = float_pair(y_true, y_pred)
    error = ops.subtract(y_pred, y_true)
    return ops.mean(error + ops.softplus(error * -2.0) - math.log(2.0), axis=-1)


def cosine_similarity(y_true: Any, y_pred: Any, axis: int = -1) -> Any:
    """Minus the cosine of the angle between them, along `axis`: -1 for the same direction."""
    y_true, y_pred = float_pair(y_true, y_pred)
    return ops.negative(ops.sum(normalized(y_true, axis) * normalized(y_pred, axis), axis=axis))


def normalized(x: Any, axis: int) -> Any:
    """x divided by its norm along `axis`; zeros stay zeros."""
    squares = ops.maximum(ops.sum(ops.square(x), axis=axis, keepdims=True), EPSILON**2)
    return ops.multiply(x, ops.rsqrt(squares))


class MeanSquaredError(PlainLoss):
    """See `mean_squared_error`."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return mean_squared_error(y_true, y_pred)


class MeanAbsoluteError(PlainLoss):
    """See `mean_absolute_error`."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return mean_absolute_error(y_true, y_pred)


class MeanAbsolutePercentageError(PlainLoss):
    """See `mean_absolute_percentage_error`."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return mean_absolute_percentage_error(y_true, y_pred)


class MeanSquaredLogarithmicError(PlainLoss):
    """See `mean_squared_logarithmic_error`."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return mean_squared_logarithmic_error(y_true, y_pred)


class LogCosh(PlainLoss):
    """See `log_cosh`."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return log_cosh(y_true, y_pred)


class Huber(Loss):
    """See `huber`."""

    def __init__(
        self,
        delta: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "huber_loss",
    ) -> None:
        super().__init__(name, reduction)
        self.delta = float(delta)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return huber(y_true, y_pred, self.delta)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "delta": self.delta}


class CosineSimilarity(Loss):
    """See `cosine_similarity`."""

    def __init__(
        self,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "cosine_similarity",
    ) -> None:
        super().__init__(name, reduction)
        self.axis = axis

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return cosine_similarity(y_true, y_pred, self.axis)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axis": self.axis}
