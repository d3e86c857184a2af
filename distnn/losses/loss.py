"""`Loss`: a value per sample with a name and a reduction, and losses around functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from distnn import identifiers
from distnn.losses.values import as_values, reduced, same_rank
from distnn.naming import snake_case

LossFunction = Callable[[Any, Any], Any]
REDUCTIONS = ("sum_over_batch_size", "mean", "mean_with_sample_weight", "sum", "none")


class Loss:
    """A loss with a name and a reduction. Subclasses define `call(y_true, y_pred)`.

    Args:
        name: under which it appears.
        reduction: "sum_over_batch_size" or "mean" (over all values that a mask lets count),
            "mean_with_sample_weight" (divided by the values' weights), "sum", or "none" (of arrays only).
    """

    def __init__(self, name: str | None = None, reduction: str | None = "sum_over_batch_size") -> None:
        reduction = reduction or "none"
        if reduction not in REDUCTIONS:
            raise ValueError(
                "Invalid value for argument `reduction`. Expected one of "
                f"{REDUCTIONS}. Received: reduction={reduction}"
            )
        self.name = name or snake_case(type(self).__name__)
        self.reduction = reduction

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """One value per sample (shape `(batch, ...)`), or a scalar: the mean over the samples given."""
        raise NotImplementedError(f"{type(self).__name__} must define `call(self, y_true, y_pred)`")

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The reduced loss of arrays (or, of tensors, the reduced tensor)."""
        y_true, y_pred = as_values(y_true, y_pred)
        values = self.call(y_true, y_pred)
        return reduced(values, sample_weight, self.valid_values(y_true, y_pred), self.reduction)

    def valid_values(self, y_true: Any, y_pred: Any) -> Any:
        """Which of the values count, as a mask of their shape; None for all of them."""
        return None

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "reduction": self.reduction}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Loss:
        return cls(**config)


class FunctionLoss(Loss):
    """A loss around a function of `(y_true, y_pred)`."""

    def __init__(self, function: LossFunction, name: str | None = None) -> None:
        super().__init__(name or getattr(function, "__name__", "loss"))
        self.function = function

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return self.function(*same_rank(y_true, y_pred))

    def get_config(self) -> dict[str, Any]:
        from distnn.losses.registry import FUNCTIONS

        return {"name": self.name, "function": identifiers.name_of(self.function, FUNCTIONS, "loss")}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Loss:
        from distnn.losses.registry import deserialize

        return deserialize({"class_name": "FunctionLoss", "config": config})


class PlainLoss(Loss):
    """A loss without settings.

    Args:
        reduction: see `Loss`.
        name: under which it appears; the class's by default.
    """

    def __init__(self, reduction: str | None = "sum_over_batch_size", name: str | None = None) -> None:
        super().__init__(name, reduction)
