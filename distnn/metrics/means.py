"""Means of losses per sample, the root of one, and means of numbers at hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from distnn import losses, ops
from distnn.metrics.metric import Metric, weighted_sum, weighted_sum_of_values, weights_like
from distnn.tensor import Array


class MeanSquaredError(Metric):
    """Mean of `distnn.losses.mean_squared_error`."""

    direction = "min"

    def values(self, y_true: Any, y_pred: Any) -> Any:
        return losses.mean_squared_error(y_true, y_pred)


class MeanAbsoluteError(Metric):
    """Mean of `distnn.losses.mean_absolute_error`."""

    direction = "min"

    def values(self, y_true: Any, y_pred: Any) -> Any:
        return losses.mean_absolute_error(y_true, y_pred)


class MeanAbsolutePercentageError(Metric):
    """Mean of `distnn.losses.mean_absolute_percentage_error`."""

    direction = "min"

    def values(self, y_true: Any, y_pred: Any) -> Any:
        return losses.mean_absolute_percentage_error(y_true, y_pred)


class MeanSquaredLogarithmicError(Metric):
    """Mean of `distnn.losses.mean_squared_logarithmic_error`."""

    direction = "min"

    def values(self, y_true: Any, y_pred: Any) -> Any:
        return losses.mean_squared_logarithmic_error(y_true, y_pred)


class LogCoshError(Metric):
    """Mean of `distnn.losses.log_cosh`."""

    direction = "min"

    def __init__(self, name: str | None = "logcosh") -> None:
        super().__init__(name)

    def values(self, y_true: Any, y_pred: Any) -> Any:
        return losses.log_cosh(y_true, y_pred)


class KLDivergence(Metric):
    """Mean of `distnn.losses.kl_divergence`."""

    direction = "min"

    def values(self, y_true: Any, y_pred: Any) -> Any:
        return losses.kl_divergence(y_true, y_pred)


class Poisson(Metric):
    """Mean of `distnn.losses.poisson`."""

    direction = "min"

    def values(self, y_true: Any, y_pred: Any) -> Any:
        return losses.poisson(y_true, y_pred)


class Hinge(Metric):
    """Mean of `distnn.losses.hinge`."""

    direction = "min"

    def values(self, y_true: Any, y_pred: Any) -> Any:
        return losses.hinge(y_true, y_pred)


class SquaredHinge(Metric):
    """Mean of `distnn.losses.squared_hinge`."""

    direction = "min"

    def values(self, y_true: Any, y_pred: Any) -> Any:
        return losses.squared_hinge(y_true, y_pred)


class CategoricalHinge(Metric):
    """Mean of `distnn.losses.categorical_hinge`."""

    direction = "min"

    def values(self, y_true: Any, y_pred: Any) -> Any:
        return losses.categorical_hinge(y_true, y_pred)


class BinaryCrossentropy(Metric):
    """Mean of `distnn.losses.binary_crossentropy`."""

    direction = "min"

    def __init__(
        self,
        name: str | None = "binary_crossentropy",
        from_logits: bool = False,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(name)
        self.settings: dict[str, Any] = {"from_logits": from_logits, "label_smoothing": label_smoothing}

    def values(self, y_true: Any, y_pred: Any) -> Any:
        return losses.binary_crossentropy(y_true, y_pred, **self.settings)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.settings}


class CategoricalCrossentropy(Metric):
    """Mean of `distnn.losses.categorical_crossentropy`."""

    direction = "min"

    def __init__(
        self,
        name: str | None = "categorical_crossentropy",
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
    ) -> None:
        super().__init__(name)
        self.settings: dict[str, Any] = {
            "from_logits": from_logits,
            "label_smoothing": label_smoothing,
            "axis": axis,
        }

    def values(self, y_true: Any, y_pred: Any) -> Any:
        return losses.categorical_crossentropy(y_true, y_pred, **self.settings)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.settings}


class SparseCategoricalCrossentropy(Metric):
    """Mean of `distnn.losses.sparse_categorical_crossentropy`.

    Values of `ignore_class` are 0; as in Keras they count, unless there are weights (or a mask).
    """

    direction = "min"

    def __init__(
        self,
        name: str | None = "sparse_categorical_crossentropy",
        from_logits: bool = False,
        ignore_class: int | None = None,
        axis: int = -1,
    ) -> None:
        super().__init__(name)
        self.settings: dict[str, Any] = {
            "from_logits": from_logits,
            "ignore_class": ignore_class,
            "axis": axis,
        }

    def values(self, y_true: Any, y_pred: Any) -> Any:
        return losses.sparse_categorical_crossentropy(y_true, y_pred, **self.settings)

    def sums(self, y_true: Any, y_pred: Any, sample_weight: Any) -> Any:
        values = self.values(y_true, y_pred)
        valid = losses.labels_that_count(y_true, y_pred, self.settings["ignore_class"])
        if valid is not None and sample_weight is not None:
            (spread,) = weights_like(sample_weight, values)
            sample_weight = ops.multiply(spread, ops.cast(valid, "float32"))
        return weighted_sum(self.name, values, sample_weight)

    def _sums_of_arrays(self, y_true: Any, y_pred: Any, sample_weight: Any) -> Array:
        values = np.asarray(self.values(y_true, y_pred), np.float64)
        valid = losses.labels_that_count(y_true, y_pred, self.settings["ignore_class"])
        if valid is not None and sample_weight is not None:
            sample_weight = losses.aligned_weight(sample_weight, values) * valid
        return weighted_sum_of_values(values, sample_weight)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.settings}


class RootMeanSquaredError(Metric):
    """Root of the mean of squared differences of all values."""

    direction = "min"

    def values(self, y_true: Any, y_pred: Any) -> Any:
        y_true, y_pred = losses.same_rank(y_true, y_pred)
        return ops.square(ops.subtract(y_pred, ops.cast(y_true, "float32")))

    def number(self, sums: Array) -> float:
        return math.sqrt(super().number(sums))


def cosine_similarity(y_true: Any, y_pred: Any, axis: int = -1) -> Any:
    """The cosine of the angle between them, along `axis`; the loss of that name is its negative."""
    return ops.negative(losses.cosine_similarity(y_true, y_pred, axis))


class CosineSimilarity(Metric):
    """Mean cosine of the angle between targets and predictions."""

    direction = "max"

    def __init__(self, name: str | None = "cosine_similarity", axis: int = -1) -> None:
        super().__init__(name)
        self.axis = axis

    def values(self, y_true: Any, y_pred: Any) -> Any:
        return cosine_similarity(y_true, y_pred, self.axis)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axis": self.axis}


class _OfNumbers(Metric):
    """Counts numbers at hand: `update_state(values)`; it has no place in `compile`."""

    def values(self, y_true: Any, y_pred: Any) -> Any:
        raise ValueError(
            f"{type(self).__name__} takes numbers, `update_state(values)`, not targets and predictions: it "
            "cannot be given to `compile`"
        )

    def update_state(self, values: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        """Count numbers in."""
        self._count_in(weighted_sum_of_values(np.asarray(values, np.float64), sample_weight))

    def __call__(self, values: Any, sample_weight: Any = None) -> Any:  # type: ignore[override]
        self.update_state(values, sample_weight)
        return self.result()


class Mean(_OfNumbers):
    """Weighted mean of the numbers given."""


class Sum(_OfNumbers):
    """Weighted sum of the numbers given."""

    def number(self, sums: Array) -> float:
        return float(sums[0])
