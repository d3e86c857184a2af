"""Accuracies: shares of right answers."""

from __future__ import annotations

from typing import Any

from distnn import losses, ops
from distnn.metrics.metric import Metric
from distnn.ops.matches import CategoricalMatch, SparseMatch


def binary_accuracy(y_true: Any, y_pred: Any, threshold: float = 0.5) -> Any:
    """Mean over the last axis of `y_true == (y_pred > threshold)`."""
    y_true, y_pred = losses.same_rank(y_true, y_pred)
    predicted = ops.cast(ops.greater(y_pred, threshold), "float32")
    return ops.mean(ops.cast(ops.equal(ops.cast(y_true, "float32"), predicted), "float32"), axis=-1)


def categorical_accuracy(y_true: Any, y_pred: Any) -> Any:
    """Whether the largest target and the largest prediction are of the same class; the first wins ties."""
    return CategoricalMatch()(ops.cast(y_true, "float32"), ops.cast(y_pred, "float32"))


def sparse_categorical_accuracy(y_true: Any, y_pred: Any) -> Any:
    """Whether the largest prediction is that of the class numbered `y_true`."""
    y_true, y_pred = losses.as_values(y_true, y_pred)
    if losses.rank(y_true) == losses.rank(y_pred) and y_true.shape[-1] == 1:
        y_true = ops.squeeze(y_true, -1)
    return SparseMatch()(ops.cast(y_true, "int32"), ops.cast(y_pred, "float32"))


def top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5) -> Any:
    """Whether the largest target's class is among the `k` largest predictions."""
    return sparse_top_k_categorical_accuracy(ops.argmax(y_true, axis=-1), y_pred, k)


def sparse_top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5) -> Any:
    """Whether fewer than `k` predictions are larger than that of the class numbered `y_true`."""
    y_true, y_pred = losses.as_values(y_true, y_pred)
    if losses.rank(y_true) == losses.rank(y_pred) and y_true.shape[-1] == 1:
        y_true = ops.squeeze(y_true, -1)
    return ops.cast(ops.in_top_k(ops.cast(y_true, "int32"), y_pred, k), "float32")


class Accuracy(Metric):
    """Share of values that are equal."""

    direction = "max"

    def values(self, y_true: Any, y_pred: Any) -> Any:
        y_true, y_pred = losses.same_rank(y_true, y_pred)
        return ops.cast(ops.equal(ops.cast(y_true, "float32"), y_pred), "float32")


class BinaryAccuracy(Metric):
    """See `binary_accuracy`."""

    direction = "max"

    def __init__(self, name: str | None = "binary_accuracy", threshold: float = 0.5) -> None:
        super().__init__(name)
        if not 0 <= threshold <= 1:
            raise ValueError(
                "Invalid value for argument `threshold`. Expected a value in interval [0, 1]. "
                f"Received: threshold={threshold}"
            )
        self.threshold = float(threshold)

    def values(self, y_true: Any, y_pred: Any) -> Any:
        return binary_accuracy(y_true, y_pred, self.threshold)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "threshold": self.threshold}


class CategoricalAccuracy(Metric):
    """See `categorical_accuracy`."""

    direction = "max"

    def values(self, y_true: Any, y_pred: Any) -> Any:
        return categorical_accuracy(y_true, y_pred)


class SparseCategoricalAccuracy(Metric):
    """See `sparse_categorical_accuracy`."""

    direction = "max"

    def values(self, y_true: Any, y_pred: Any) -> Any:
        return sparse_categorical_accuracy(y_true, y_pred)


class TopKCategoricalAccuracy(Metric):
    """See `top_k_categorical_accuracy`."""

    direction = "max"

    def __init__(self, k: int = 5, name: str | None = "top_k_categorical_accuracy") -> None:
        super().__init__(name)
        self.k = k

    def values(self, y_true: Any, y_pred: Any) -> Any:
        return top_k_categorical_accuracy(y_true, y_pred, self.k)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "k": self.k}


class SparseTopKCategoricalAccuracy(Metric):
    """See `sparse_top_k_categorical_accuracy`."""

    direction = "max"

    def __init__(self, k: int = 5, name: str | None = "sparse_top_k_categorical_accuracy") -> None:
        super().__init__(name)
        self.k = k

    def values(self, y_true: Any, y_pred: Any) -> Any:
        return sparse_top_k_categorical_accuracy(y_true, y_pred, self.k)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "k": self.k}
