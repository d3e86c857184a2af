"""`Metric`: sums that add up, and the number they stand for. Means of values, functions, counters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from distnn import identifiers, losses, ops
from distnn.naming import snake_case
from distnn.ops.accumulate import ScaledBySamples, SumAndCount
from distnn.tensor import Array, Spec, Tensor

MetricFunction = Callable[[Any, Any], Any]


class Metric:
    """A number from float64 sums that add up over samples; here a weighted mean of `values(y_true, y_pred)`.

    Args:
        name: under which it appears in logs.

    Attributes:
        direction: "max" or "min", what is better; None where only the user knows.
    """

    direction: str | None = None

    def __init__(self, name: str | None = None) -> None:
        self.name = name or snake_case(type(self).__name__)
        self.reset_state()

    def values(self, y_true: Any, y_pred: Any) -> Any:
        """One value per sample, float32, shape `(batch, ...)`; written with `distnn.ops`."""
        raise NotImplementedError(f"{type(self).__name__} must define `values(self, y_true, y_pred)`")

    @property
    def num_sums(self) -> int:
        """How many float64 sums a shard leaves; known after `build`."""
        return 2

    @property
    def gives_number(self) -> bool:
        """Whether `number` is one number, as logs need it."""
        return True

    def build(self, target: Spec, output: Spec) -> None:
        """Learn the shapes of targets and predictions."""

    def sums(self, y_true: Any, y_pred: Any, sample_weight: Any) -> Any:
        """The float64 sums of the samples given, which add up over shards and batches."""
        return weighted_sum(self.name, self.values(y_true, y_pred), sample_weight)

    def number(self, sums: Array) -> Any:
        """The metric from the sums of all samples."""
        return float(sums[0]) / float(sums[1]) if sums[1] else 0.0

    def reset_state(self) -> None:
        """Forget what was counted."""
        self._counted: Array | None = None

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count arrays in."""
        y_true, y_pred = losses.as_values(y_true, np.asarray(y_pred, np.float32))
        self._count_in(self._sums_of_arrays(y_true, y_pred, sample_weight))

    def _sums_of_arrays(self, y_true: Any, y_pred: Any, sample_weight: Any) -> Array:
        values = np.asarray(self.values(y_true, y_pred), np.float64)
        return weighted_sum_of_values(values, sample_weight)

    def _count_in(self, sums: Array) -> None:
        self._counted = sums.copy() if self._counted is None else self._counted + sums

    def result(self) -> Any:
        """The metric of what was counted."""
        return 0.0 if self._counted is None else self.number(self._counted)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        self.update_state(y_true, y_pred, sample_weight)
        return self.result()

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Metric:
        return cls(**config)


class CountingMetric(Metric):
    """A metric from several counters. Subclasses define `num_sums`, `sums` and `number`."""

    def _sums_of_arrays(self, y_true: Any, y_pred: Any, sample_weight: Any) -> Array:
        self.build(Spec(np.shape(y_true)), Spec(np.shape(y_pred)))
        weight = None if sample_weight is None else np.asarray(sample_weight, np.float32)
        return np.asarray(self.sums(y_true, y_pred, weight), np.float64)


class FunctionMetric(Metric):
    """A metric around a function of `(y_true, y_pred)` that gives a value per sample."""

    def __init__(self, function: MetricFunction, name: str | None = None) -> None:
        super().__init__(name or getattr(function, "__name__", "metric"))
        self.function = function
        self.direction = _direction_of(function)

    def values(self, y_true: Any, y_pred: Any) -> Any:
        return self.function(y_true, y_pred)

    def get_config(self) -> dict[str, Any]:
        from distnn.metrics.registry import FUNCTIONS

        return {"name": self.name, "function": identifiers.name_of(self.function, FUNCTIONS, "metric")}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Metric:
        from distnn.metrics.registry import deserialize

        return deserialize({"class_name": "FunctionMetric", "config": config})


def _direction_of(function: MetricFunction) -> str | None:
    """Which way a function that `compile` knows by a name gets better."""
    from distnn.metrics.registry import FUNCTIONS

    names = [name for name, known in FUNCTIONS.items() if known is function]
    if not names:
        return None
    return "max" if names[0].endswith(("accuracy", "similarity")) else "min"


def columns_of(spec: Spec) -> int:
    """Length of the last axis."""
    last = spec.shape[-1]
    if not isinstance(last, int):
        raise ValueError(f"expected values of shape (batch, columns). Received: shape {spec.shape}")
    return last


def weighted_sum(name: str, values: Any, sample_weight: Any) -> Any:
    """float64 (sum of weighted values, sum of weights); weights count once per value.

    One number for the whole shard is taken for the mean over its samples.
    """
    if not isinstance(values, Tensor):
        raise ValueError(
            f"the metric '{name}' must return a tensor made with `distnn.ops`. "
            f"Received: {type(values).__name__}"
        )
    values = ops.cast(values, "float32")
    if values.spec.rank == 0:
        if sample_weight is not None:
            raise ValueError(
                f"the metric '{name}' returns one number for the whole shard, so it cannot be one of "
                "`weighted_metrics`; return one value per sample"
            )
        return ScaledBySamples(append_count=True)(values)
    return SumAndCount()(values, *weights_like(sample_weight, values))


def weighted_sum_of_values(values: Array, sample_weight: Any) -> Array:
    """The same of values at hand."""
    weights = np.ones(values.shape)
    if sample_weight is not None:
        aligned = losses.aligned_weight(sample_weight, values).astype(np.float64)
        weights = np.broadcast_to(aligned, values.shape)
    return np.array([(values * weights).sum(), weights.sum()])


def weights_like(sample_weight: Any, values: Any) -> tuple[Any, ...]:
    """The weights with the shape of `values`, as the last input of an op; none if there are none."""
    if sample_weight is None:
        return ()
    if isinstance(sample_weight, Tensor):
        missing = losses.rank(values) - sample_weight.spec.rank
        if missing < 0:
            raise ValueError(
                f"`sample_weight` has shape {sample_weight.shape}, and the metric has values of shape "
                f"{values.shape}: give one number for each sample, or for each of its values"
            )
        shape = (*sample_weight.spec.shape, *(1 for _ in range(missing)))
        aligned = sample_weight if not missing else ops.reshape(sample_weight, shape)
        return (ops.broadcast_to(aligned, values.spec.shape),)
    aligned = losses.aligned_weight(sample_weight, values)
    return (np.ascontiguousarray(np.broadcast_to(aligned, np.shape(values)), np.float32),)
