"""Correlations of targets and predictions, sample by sample; the metric is their mean."""

from __future__ import annotations

from typing import Any

from distnn import losses, ops
from distnn.metrics.metric import Metric

_EPSILON = 1e-7


def _pair(y_true: Any, y_pred: Any, axis: int) -> tuple[Any, Any]:
    y_true, y_pred = losses.same_rank(y_true, y_pred)
    rank = losses.rank(y_pred)
    if axis in (0, -rank):
        raise ValueError(
            "a correlation is taken within each sample, not along the batch, which is spread over shards. "
            f"Received: axis={axis} for predictions of shape {tuple(y_pred.shape)}"
        )
    return ops.cast(y_true, "float32"), y_pred


def pearson_correlation(y_true: Any, y_pred: Any, axis: int = -1) -> Any:
    """The mean product of both, each less its mean and divided by its deviation, along `axis`."""
    pair = _pair(y_true, y_pred, axis)
    middle = [ops.subtract(one, ops.mean(one, axis=axis, keepdims=True)) for one in pair]
    scaled = [ops.divide(one, ops.std(one, axis=axis, keepdims=True)) for one in middle]
    return ops.mean(ops.multiply(*scaled), axis=axis)


def concordance_correlation(y_true: Any, y_pred: Any, axis: int = -1) -> Any:
    """2 covariance / (both variances + the squared difference of means), along `axis`. Lin, 1989."""
    y_true, y_pred = _pair(y_true, y_pred, axis)
    true_mean, mean = (ops.mean(one, axis=axis, keepdims=True) for one in (y_true, y_pred))
    true_distance, distance = ops.subtract(y_true, true_mean), ops.subtract(y_pred, mean)
    covariance = ops.mean(ops.multiply(true_distance, distance), axis=axis)
    variances = ops.mean(ops.add(ops.square(true_distance), ops.square(distance)), axis=axis)
    shift = ops.squeeze(ops.square(ops.subtract(true_mean, mean)), axis)
    return ops.divide(covariance * 2.0, ops.add(variances, shift) + _EPSILON)


class _Correlation(Metric):
    direction = "max"

    def __init__(self, name: str | None, axis: int) -> None:
        super().__init__(name)
        self.axis = axis

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axis": self.axis}


class PearsonCorrelation(_Correlation):
    """Mean of `pearson_correlation`."""

    def __init__(self, name: str | None = "pearson_correlation", axis: int = -1) -> None:
        super().__init__(name, axis)

    def values(self, y_true: Any, y_pred: Any) -> Any:
        return pearson_correlation(y_true, y_pred, self.axis)


class ConcordanceCorrelation(_Correlation):
    """Mean of `concordance_correlation`."""

    def __init__(self, name: str | None = "concordance_correlation", axis: int = -1) -> None:
        super().__init__(name, axis)

    def values(self, y_true: Any, y_pred: Any) -> Any:
        return concordance_correlation(y_true, y_pred, self.axis)
