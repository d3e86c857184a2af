"""`R2Score`: the share of the variance that predictions explain."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from distnn import losses, ops
from distnn.metrics.metric import CountingMetric, columns_of
from distnn.ops.counts import ColumnSums
from distnn.tensor import Array, Spec

AGGREGATIONS = (None, "uniform_average", "variance_weighted_average")


class R2Score(CountingMetric):
    """1 - (sum of squared errors) / (sum of squared distances from the mean target), output by output.

    Args:
        class_aggregation: "uniform_average" or "variance_weighted_average" over the outputs, or None for an
            array, which logs cannot show.
        num_regressors: adjust for so many inputs; 0 does not.
        name: under which it appears in logs.
    """

    direction = "max"

    def __init__(
        self,
        class_aggregation: str | None = "uniform_average",
        num_regressors: int = 0,
        name: str | None = "r2_score",
    ) -> None:
        super().__init__(name)
        if class_aggregation not in AGGREGATIONS:
            raise ValueError(
                "Invalid value for argument `class_aggregation`. Expected one of "
                f"{AGGREGATIONS}. Received: class_aggregation={class_aggregation}"
            )
        if num_regressors < 0:
            raise ValueError(
                "Invalid value for argument `num_regressors`. Expected a value >= 0. "
                f"Received: num_regressors={num_regressors}"
            )
        self.class_aggregation = class_aggregation
        self.num_regressors = num_regressors
        self._outputs = 1

    @property
    def num_sums(self) -> int:
        return 5 * self._outputs

    @property
    def gives_number(self) -> bool:
        return self.class_aggregation is not None

    def build(self, target: Spec, output: Spec) -> None:
        if output.rank != 2:
            raise ValueError(
                "R2Score expects 2D inputs with shape (batch_size, output_dim). Received input shapes: "
                f"y_pred.shape={output.shape} and y_true.shape={target.shape}."
            )
        self._outputs = columns_of(output)

    def sums(self, y_true: Any, y_pred: Any, sample_weight: Any) -> Any:
        """By output: weights, values, their squares, squared errors, all weighted; and the samples."""
        y_true, y_pred = losses.same_rank(y_true, y_pred)
        y = ops.cast(y_true, "float32")
        ones = ops.ones_like(y_pred)
        error = ops.square(ops.subtract(y, y_pred))
        columns = ops.concatenate([ones, y, ops.square(y), error], axis=-1)
        if sample_weight is None:
            weighted = ColumnSums()(ops.concatenate([columns, ones], axis=-1))
        else:
            weight = ops.expand_dims(sample_weight, -1)
            weighted = ColumnSums()(ops.concatenate([ops.multiply(columns, weight), ones], axis=-1))
        return weighted

    def number(self, sums: Array) -> Any:
        count, total, squares, error, samples = sums.reshape(5, -1)
        with np.errstate(divide="ignore", invalid="ignore"):
            variance = squares - total * total / count
            scores = 1 - error / variance
        scores = np.where(np.isinf(scores), 0.0, scores)
        if self.class_aggregation is None:
            found: Any = scores
        elif self.class_aggregation == "uniform_average":
            found = float(np.mean(scores))
        else:
            found = float((variance * scores).sum() / variance.sum())
        return self._adjusted(found, float(samples.sum()))

    def _adjusted(self, score: Any, n: float) -> Any:
        if not self.num_regressors:
            return score
        if self.num_regressors >= n - 1:
            warnings.warn(
                "R2Score has no more samples than `num_regressors` and one: the standard R2 score is given.",
                stacklevel=3,
            )
            return score
        return 1 - (1 - score) * (n - 1) / (n - self.num_regressors - 1)

    def get_config(self) -> dict[str, Any]:
        own = {"class_aggregation": self.class_aggregation, "num_regressors": self.num_regressors}
        return {**super().get_config(), **own}
