"""F scores: harmonic means of precision and recall, class by class."""

from __future__ import annotations

from typing import Any

import numpy as np

from distnn import ops
from distnn.metrics.confusion import EPSILON
from distnn.metrics.metric import CountingMetric, columns_of
from distnn.ops.counts import ColumnSums
from distnn.tensor import Array, Spec

AVERAGES = (None, "micro", "macro", "weighted")


class FBetaScore(CountingMetric):
    """(1 + beta^2) precision recall / (beta^2 precision + recall), of (batch, classes) values.

    Args:
        average: "micro" (all classes together), "macro" (their mean), "weighted" (by how often each is), or
            None for an array, which logs cannot show.
        beta: how much more recall counts than precision.
        threshold: above which a class is predicted; None takes the largest of each row.
        name: under which it appears in logs.
    """

    direction = "max"

    def __init__(
        self,
        average: str | None = None,
        beta: float = 1.0,
        threshold: float | None = None,
        name: str | None = "fbeta_score",
    ) -> None:
        super().__init__(name)
        if average not in AVERAGES:
            raise ValueError(
                f"Invalid `average` argument value. Expected one of: {AVERAGES}. Received: average={average}"
            )
        if not isinstance(beta, float) or beta <= 0:
            raise ValueError(
                f"Invalid `beta` argument value. It should be a float > 0. Received: beta={beta}"
            )
        if threshold is not None and not (isinstance(threshold, float) and 0 < threshold <= 1):
            raise ValueError(
                "Invalid `threshold` argument value. It should verify 0 < threshold <= 1. "
                f"Received: threshold={threshold}"
            )
        self.average = average
        self.beta = beta
        self.threshold = threshold
        self._classes = 0

    @property
    def num_sums(self) -> int:
        return 3 * self._classes

    @property
    def gives_number(self) -> bool:
        return self.average is not None

    def build(self, target: Spec, output: Spec) -> None:
        if target.rank != 2 or output.rank != 2:
            raise ValueError(
                f"{type(self).__name__} expects 2D inputs with shape (batch_size, output_dim). Received "
                f"input shapes: y_pred.shape={output.shape} and y_true.shape={target.shape}."
            )
        self._classes = columns_of(output)

    def sums(self, y_true: Any, y_pred: Any, sample_weight: Any) -> Any:
        """By class, each row weighted: true positives, all predicted, all true."""
        y_true = ops.cast(y_true, "float32")
        if self.threshold is None:
            largest = ops.greater_equal(y_pred, ops.max(y_pred, axis=-1, keepdims=True))
            chosen = ops.logical_and(largest, ops.greater(ops.abs(y_pred), 1e-9))
        else:
            chosen = ops.greater(y_pred, self.threshold)
        predicted = ops.cast(chosen, "float32")
        columns = ops.concatenate([ops.multiply(predicted, y_true), predicted, y_true], axis=-1)
        return ColumnSums()(columns, *(() if sample_weight is None else (sample_weight,)))

    def number(self, sums: Array) -> Any:
        tp, predicted, true = sums.reshape(3, -1)
        if self.average == "micro":
            tp, predicted, true = (part.sum() for part in (tp, predicted, true))
        precision, recall = tp / (predicted + EPSILON), tp / (true + EPSILON)
        square = self.beta**2
        score = (1 + square) * precision * recall / (square * precision + recall + EPSILON)
        if self.average == "weighted":
            return float((score * true / (true.sum() + EPSILON)).sum())
        return score if self.average is None else float(np.mean(score))

    def get_config(self) -> dict[str, Any]:
        own = {"average": self.average, "beta": self.beta, "threshold": self.threshold}
        return {**super().get_config(), **own}


class F1Score(FBetaScore):
    """The F score with beta 1; arguments as of `FBetaScore`."""

    def __init__(
        self, average: str | None = None, threshold: float | None = None, name: str | None = "f1_score"
    ) -> None:
        super().__init__(average, 1.0, threshold, name)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return {key: value for key, value in config.items() if key != "beta"}
