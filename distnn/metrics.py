"""Metrics by Keras's names: weighted means of a value per sample.

In a training the values are computed in the graph, per shard, and the sums added by the tree. A metric object
can also be fed with arrays (`update_state`, `result`, `reset_state`). "accuracy" becomes the binary,
categorical or sparse one by the shapes of targets and predictions.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from distnn import losses, ops
from distnn.naming import did_you_mean, snake_case
from distnn.ops.matches import CategoricalMatch, SparseMatch
from distnn.tensor import Spec

MetricFunction = Callable[[Any, Any], Any]


class Metric:
    """A weighted mean of `values(y_true, y_pred)`.

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

    def reset_state(self) -> None:
        self._sum = 0.0
        self._weight = 0.0

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count arrays in."""
        found = self.values(*losses.as_values(y_true, np.asarray(y_pred, np.float32)))
        values = np.asarray(found, np.float64)
        weights = np.ones(values.shape)
        if sample_weight is not None:
            aligned = losses.aligned_weight(sample_weight, values).astype(np.float64)
            weights = np.broadcast_to(aligned, values.shape)
        self._sum += float((values * weights).sum())
        self._weight += float(weights.sum())

    def result(self) -> float:
        return self._sum / self._weight if self._weight else 0.0

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> float:
        self.update_state(y_true, y_pred, sample_weight)
        return self.result()

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Metric:
        return cls(**config)


class FunctionMetric(Metric):
    """A metric around a function of `(y_true, y_pred)` that gives a value per sample."""

    def __init__(self, function: MetricFunction, name: str | None = None) -> None:
        super().__init__(name or getattr(function, "__name__", "metric"))
        self.function = function
        self.direction = "max" if function in _RISING else "min" if function in _FALLING else None

    def values(self, y_true: Any, y_pred: Any) -> Any:
        return self.function(y_true, y_pred)

    def get_config(self) -> dict[str, Any]:
        for name, function in _FUNCTIONS.items():
            if function is self.function:
                return {"name": self.name, "function": name}
        raise ValueError(f"the metric {self.name!r} is a function of your own and cannot be saved")

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> FunctionMetric:
        return cls(_FUNCTIONS[config["function"]], config["name"])


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


class MeanSquaredError(Metric):
    """Mean of squared differences."""

    direction = "min"

    def values(self, y_true: Any, y_pred: Any) -> Any:
        return losses.mean_squared_error(y_true, y_pred)


class MeanAbsoluteError(Metric):
    """Mean of absolute differences."""

    direction = "min"

    def values(self, y_true: Any, y_pred: Any) -> Any:
        return losses.mean_absolute_error(y_true, y_pred)


_CLASSES: dict[str, type[Metric]] = {
    metric_class.__name__: metric_class
    for metric_class in (
        Accuracy,
        BinaryAccuracy,
        CategoricalAccuracy,
        SparseCategoricalAccuracy,
        TopKCategoricalAccuracy,
        SparseTopKCategoricalAccuracy,
        MeanSquaredError,
        MeanAbsoluteError,
        FunctionMetric,
    )
}
_FUNCTIONS: dict[str, MetricFunction] = {
    "binary_accuracy": binary_accuracy,
    "categorical_accuracy": categorical_accuracy,
    "sparse_categorical_accuracy": sparse_categorical_accuracy,
    "top_k_categorical_accuracy": top_k_categorical_accuracy,
    "sparse_top_k_categorical_accuracy": sparse_top_k_categorical_accuracy,
    "mean_squared_error": losses.mean_squared_error,
    "mse": losses.mean_squared_error,
    "MSE": losses.mean_squared_error,
    "mean_absolute_error": losses.mean_absolute_error,
    "mae": losses.mean_absolute_error,
    "MAE": losses.mean_absolute_error,
    "categorical_crossentropy": losses.categorical_crossentropy,
    "sparse_categorical_crossentropy": losses.sparse_categorical_crossentropy,
    "binary_crossentropy": losses.binary_crossentropy,
    "bce": losses.binary_crossentropy,
    "BCE": losses.binary_crossentropy,
}
_RISING = tuple(function for name, function in _FUNCTIONS.items() if name.endswith("accuracy"))
_FALLING = tuple(function for function in _FUNCTIONS.values() if function not in _RISING)
ACCURACY_NAMES = ("accuracy", "acc")


def names() -> list[str]:
    """The names that `compile` knows."""
    return sorted([*ACCURACY_NAMES, *_FUNCTIONS, *(name for name in _CLASSES if name != "FunctionMetric")])


def get(identifier: Any, name: str | None = None) -> Metric:
    """The metric for a name, a function, a `Metric` or its `{"class_name", "config"}`.

    Raises:
        ValueError: for an unknown name, or something that is no metric.
    """
    if isinstance(identifier, Metric):
        return identifier
    if isinstance(identifier, str) and identifier in _FUNCTIONS:
        return FunctionMetric(_FUNCTIONS[identifier], name or identifier)
    if isinstance(identifier, str) and identifier in _CLASSES and identifier != "FunctionMetric":
        return _CLASSES[identifier]()
    if isinstance(identifier, Mapping) and identifier.get("class_name") in _CLASSES:
        return _CLASSES[identifier["class_name"]].from_config(identifier.get("config", {}))
    if inspect.isclass(identifier) and issubclass(identifier, Metric):
        return identifier()
    if callable(identifier) and not inspect.isclass(identifier):
        return FunctionMetric(identifier, name)
    if _is_accuracy(identifier):
        raise ValueError(
            f"Could not interpret metric identifier: {identifier!r}. Its form is chosen in `compile`, by the "
            "shapes; elsewhere name it: BinaryAccuracy, CategoricalAccuracy or SparseCategoricalAccuracy."
        )
    raise ValueError(
        f"Could not interpret metric identifier: {identifier!r}.{did_you_mean(identifier, names())} "
        f"Known: {', '.join(names())}."
    )


def check(identifier: Any) -> None:
    """Raise what `get` would raise; "accuracy", which needs shapes, passes."""
    if not _is_accuracy(identifier):
        get(identifier)


def _is_accuracy(identifier: Any) -> bool:
    return isinstance(identifier, str) and identifier.lower() in ACCURACY_NAMES


def resolve(identifier: Any, target: Spec, output: Spec) -> Metric:
    """The metric for `identifier`; "accuracy" chooses its form by the specs, as Keras does.

    One given as a string has that string for a name.
    """
    if not _is_accuracy(identifier):
        metric = get(identifier)
        if isinstance(identifier, str):
            metric.name = identifier
        return metric
    if output.rank > 0 and output.shape[-1] == 1:
        function: MetricFunction = binary_accuracy
    elif target.rank < output.rank or (target.shape[-1] == 1 and output.shape[-1] != 1):
        function = sparse_categorical_accuracy
    else:
        function = categorical_accuracy
    return FunctionMetric(function, identifier)


def serialize(metric: Metric) -> dict[str, Any]:
    """`{"class_name": ..., "config": ...}`.

    Raises:
        ValueError: for a metric of the user's own, which `get` cannot find by its name.
    """
    if _CLASSES.get(type(metric).__name__) is not type(metric):
        raise ValueError(f"the metric {metric.name!r} is a class of your own and cannot be saved")
    return {"class_name": type(metric).__name__, "config": metric.get_config()}
