"""The generalised cross-entropy (Zhang & Sabuncu, 2018), which wrong labels disturb less."""

from __future__ import annotations

from typing import Any

from distnn import ops
from distnn.losses.crossentropy import class_numbers
from distnn.losses.loss import Loss
from distnn.losses.values import as_values


def categorical_generalized_cross_entropy(y_true: Any, y_pred: Any, q: float) -> Any:
    """(1 - p^q) / q, p the probability of the label; targets are class numbers.

    Args:
        y_true: class numbers.
        y_pred: probabilities.
        q: between 0 (cross-entropy) and 1 (mean absolute error).
    """
    y_true, y_pred = as_values(y_true, y_pred)
    labels = ops.cast(class_numbers(y_true, y_pred), "int32")
    p = ops.sum(ops.multiply(y_pred, ops.one_hot(labels, y_pred.shape[-1])), axis=-1)
    return ops.divide(ops.subtract(1.0, ops.power(p, q)), q)


class CategoricalGeneralizedCrossEntropy(Loss):
    """See `categorical_generalized_cross_entropy`."""

    def __init__(
        self,
        q: float = 0.5,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "categorical_generalized_cross_entropy",
    ) -> None:
        if not 0 < q < 1:
            raise ValueError(f"q must be in the interval (0, 1). Received: q={q}")
        super().__init__(name, reduction)
        self.q = float(q)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return categorical_generalized_cross_entropy(y_true, y_pred, self.q)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "q": self.q}
