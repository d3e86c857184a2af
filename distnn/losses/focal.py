"""Focal cross-entropies (Lin et al., 2018): what is predicted well counts less."""

from __future__ import annotations

from typing import Any

from distnn import ops
from distnn.losses.crossentropy import refuse_other
from distnn.losses.loss import Loss
from distnn.losses.values import EPSILON, float_pair


def binary_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    apply_class_balancing: bool = False,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
) -> Any:
    """Mean over the last axis of (1 - p_t)^gamma * crossentropy, p_t the probability of what is true."""
    y_true, y_pred = float_pair(y_true, y_pred)
    if label_smoothing:
        y_true = y_true * (1.0 - label_smoothing) + 0.5 * label_smoothing
    if from_logits:
        y_pred = ops.sigmoid(y_pred)
    p_t = _chosen(y_true, y_pred, ops.subtract(1.0, y_pred))
    factor = ops.power(ops.subtract(1.0, p_t), gamma)
    values = ops.multiply(factor, ops.binary_crossentropy(y_true, y_pred))
    if apply_class_balancing:
        values = ops.multiply(_chosen(y_true, alpha, 1.0 - alpha), values)
    return ops.mean(values, axis=-1)


def _chosen(y_true: Any, one: Any, zero: Any) -> Any:
    """`one` where the target is 1, `zero` where it is 0."""
    return ops.add(ops.multiply(y_true, one), ops.multiply(ops.subtract(1.0, y_true), zero))


def categorical_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Any:
    """sum(-alpha (1 - y_pred)^gamma y_true log(y_pred)) over the classes; targets are one-hot."""
    y_true, y_pred = float_pair(y_true, y_pred)
    if label_smoothing:
        y_true = y_true * (1.0 - label_smoothing) + label_smoothing / y_pred.shape[axis]
    if from_logits:
        y_pred = ops.softmax(y_pred, axis=axis)
    p = ops.divide(y_pred, ops.sum(y_pred, axis=axis, keepdims=True))
    p = ops.clip(p, EPSILON, 1.0 - EPSILON)
    entropy = ops.negative(ops.multiply(y_true, ops.log(p)))
    return ops.sum(ops.multiply(ops.power(ops.subtract(1.0, p), gamma) * alpha, entropy), axis=axis)


class BinaryFocalCrossentropy(Loss):
    """See `binary_focal_crossentropy`."""

    def __init__(
        self,
        apply_class_balancing: bool = False,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "binary_focal_crossentropy",
    ) -> None:
        super().__init__(name, reduction)
        refuse_other("axis", axis, -1)
        self.settings: dict[str, Any] = {
            "apply_class_balancing": apply_class_balancing,
            "alpha": alpha,
            "gamma": gamma,
            "from_logits": from_logits,
            "label_smoothing": label_smoothing,
        }

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return binary_focal_crossentropy(y_true, y_pred, **self.settings)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.settings}


class CategoricalFocalCrossentropy(Loss):
    """See `categorical_focal_crossentropy`."""

    def __init__(
        self,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "categorical_focal_crossentropy",
    ) -> None:
        super().__init__(name, reduction)
        self.settings: dict[str, Any] = {
            "alpha": alpha,
            "gamma": gamma,
            "from_logits": from_logits,
            "label_smoothing": label_smoothing,
            "axis": axis,
        }

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return categorical_focal_crossentropy(y_true, y_pred, **self.settings)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.settings}
