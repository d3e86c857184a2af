"""Metrics from counts of right and wrong answers above thresholds: precision, recall, areas under curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from distnn import losses, ops
from distnn.metrics.metric import CountingMetric, weights_like
from distnn.ops.counts import FILTERED, ThresholdCounts, TopKOnly
from distnn.tensor import Array

EPSILON = 1e-7
Thresholds = float | Sequence[float] | None


class Counts(NamedTuple):
    """True and false positives and negatives; float64, an entry per threshold."""

    tp: Array
    fp: Array
    tn: Array
    fn: Array


def quotient(x: Any, y: Any) -> Any:
    """x / y, 0 where y is 0."""
    return np.divide(
        x, y, out=np.zeros(np.broadcast_shapes(np.shape(x), np.shape(y))), where=np.not_equal(y, 0)
    )


class ThresholdMetric(CountingMetric):
    """Counts answers above each of several thresholds.

    Args:
        thresholds: in the order of the results.
        name: under which it appears in logs.
        top_k: count only the k largest predictions of each row as positive.
        class_id: look at this column of targets and predictions only.
        labels: keep so many columns apart.
    """

    def __init__(
        self,
        thresholds: Sequence[float],
        name: str | None,
        *,
        top_k: int | None = None,
        class_id: int | None = None,
        labels: int = 1,
    ) -> None:
        super().__init__(name)
        self.thresholds = [float(threshold) for threshold in thresholds]
        self.top_k = top_k
        self.class_id = class_id
        self.labels = labels
        self._order = np.argsort(self.thresholds, kind="stable")

    @property
    def num_sums(self) -> int:
        return 2 * (len(self.thresholds) + 1) * self.labels

    def sums(self, y_true: Any, y_pred: Any, sample_weight: Any) -> Any:
        y_true, y_pred = losses.same_rank(y_true, y_pred)
        y_true, y_pred = ops.cast(y_true, "float32"), ops.cast(y_pred, "float32")
        if self.top_k is not None:
            y_pred = TopKOnly(self.top_k)(y_pred)
        if self.class_id is not None:
            y_true, y_pred = (ops.get_item(y, (..., self.class_id)) for y in (y_true, y_pred))
        op = ThresholdCounts(tuple(self.thresholds[i] for i in self._order), self.labels)
        return op(y_true, y_pred, *weights_like(sample_weight, y_pred))

    def counts(self, sums: Array) -> Counts:
        """By threshold; by (threshold, label) if labels are kept apart."""
        by_label = sums.reshape(self.labels, 2, len(self.thresholds) + 1)
        above = np.cumsum(by_label[:, :, :0:-1], axis=-1)[:, :, ::-1]
        below = by_label.sum(-1, keepdims=True) - above
        placed = np.empty_like(above), np.empty_like(below)
        for target, source in zip(placed, (above, below), strict=True):
            target[:, :, self._order] = source
        (tp, fp), (fn, tn) = (np.moveaxis(part, (1, 2, 0), (0, 1, 2)) for part in placed)
        found = (tp, fp, tn, fn)
        return Counts(*(part[:, 0] if self.labels == 1 else part for part in found))


class _Counter(ThresholdMetric):
    """One of the four counts."""

    part = "tp"

    def __init__(self, thresholds: Thresholds = None, name: str | None = None) -> None:
        super().__init__(_checked(thresholds, 0.5), name)
        self.init_thresholds = thresholds

    @property
    def gives_number(self) -> bool:
        return len(self.thresholds) == 1

    def number(self, sums: Array) -> Any:
        return _one_or_all(getattr(self.counts(sums), self.part))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "thresholds": _plain(self.init_thresholds)}


class TruePositives(_Counter):
    """How many positives are predicted so."""

    direction = "max"


class FalsePositives(_Counter):
    """How many negatives are predicted positive."""

    direction, part = "min", "fp"


class TrueNegatives(_Counter):
    """How many negatives are predicted so."""

    direction, part = "max", "tn"


class FalseNegatives(_Counter):
    """How many positives are predicted negative."""

    direction, part = "min", "fn"


class _Share(ThresholdMetric):
    """Precision or recall: a share of true positives."""

    direction = "max"

    def __init__(
        self,
        thresholds: Thresholds = None,
        top_k: int | None = None,
        class_id: int | None = None,
        name: str | None = None,
    ) -> None:
        default = 0.5 if top_k is None else FILTERED
        super().__init__(_checked(thresholds, default), name, top_k=top_k, class_id=class_id)
        self.init_thresholds = thresholds

    @property
    def gives_number(self) -> bool:
        return len(self.thresholds) == 1

    def get_config(self) -> dict[str, Any]:
        own = {"thresholds": _plain(self.init_thresholds), "top_k": self.top_k, "class_id": self.class_id}
        return {**super().get_config(), **own}


class Precision(_Share):
    """How many of those predicted positive are.

    Args:
        thresholds: above which a prediction is positive; 0.5 by default. With several, an array results.
        top_k: count only the k largest predictions of each row as positive.
        class_id: look at this class only.
        name: under which it appears in logs.
    """

    def number(self, sums: Array) -> Any:
        counts = self.counts(sums)
        return _one_or_all(quotient(counts.tp, counts.tp + counts.fp))


class Recall(_Share):
    """How many of the positives are predicted so. Arguments as of `Precision`."""

    def number(self, sums: Array) -> Any:
        counts = self.counts(sums)
        return _one_or_all(quotient(counts.tp, counts.tp + counts.fn))


class _Constrained(ThresholdMetric):
    """The best of one quantity over the thresholds at which another is at least a given value."""

    direction = "max"
    argument = "value"

    def __init__(
        self,
        value: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
    ) -> None:
        if not 0 <= value <= 1:
            raise ValueError(
                f"Argument `{self.argument}` must be in the range [0, 1]. Received: {self.argument}={value}"
            )
        if num_thresholds <= 0:
            raise ValueError(
                f"Argument `num_thresholds` must be an integer > 0. Received: num_thresholds={num_thresholds}"
            )
        inner = [(i + 1) / (num_thresholds - 1) for i in range(num_thresholds - 2)]
        super().__init__([0.5] if num_thresholds == 1 else [0.0, *inner, 1.0], name, class_id=class_id)
        self.value = float(value)
        self.num_thresholds = num_thresholds

    def _best(self, constrained: Array, dependent: Array) -> float:
        return float(np.where(constrained >= self.value, dependent, 0.0).max(initial=0.0))

    def get_config(self) -> dict[str, Any]:
        own = {"num_thresholds": self.num_thresholds, "class_id": self.class_id, self.argument: self.value}
        return {**super().get_config(), **own}


class SensitivityAtSpecificity(_Constrained):
    """The largest sensitivity where the specificity is at least as given."""

    argument = "specificity"

    def __init__(
        self,
        specificity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(specificity, num_thresholds, class_id, name)

    def number(self, sums: Array) -> float:
        tp, fp, tn, fn = self.counts(sums)
        return self._best(quotient(tn, tn + fp), quotient(tp, tp + fn))


class SpecificityAtSensitivity(_Constrained):
    """The largest specificity where the sensitivity is at least as given."""

    argument = "sensitivity"

    def __init__(
        self,
        sensitivity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(sensitivity, num_thresholds, class_id, name)

    def number(self, sums: Array) -> float:
        tp, fp, tn, fn = self.counts(sums)
        return self._best(quotient(tp, tp + fn), quotient(tn, tn + fp))


class PrecisionAtRecall(_Constrained):
    """The largest precision where the recall is at least as given."""

    argument = "recall"

    def __init__(
        self, recall: float, num_thresholds: int = 200, class_id: int | None = None, name: str | None = None
    ) -> None:
        super().__init__(recall, num_thresholds, class_id, name)

    def number(self, sums: Array) -> float:
        tp, fp, _, fn = self.counts(sums)
        return self._best(quotient(tp, tp + fn), quotient(tp, tp + fp))


class RecallAtPrecision(_Constrained):
    """The largest recall where the precision is at least as given."""

    argument = "precision"

    def __init__(
        self,
        precision: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(precision, num_thresholds, class_id, name)

    def number(self, sums: Array) -> float:
        tp, fp, _, fn = self.counts(sums)
        return self._best(quotient(tp, tp + fp), quotient(tp, tp + fn))


def _checked(thresholds: Thresholds, default: float) -> list[float]:
    if thresholds is None:
        return [default]
    found = [float(t) for t in (thresholds if isinstance(thresholds, Sequence) else [thresholds])]
    wrong = [t for t in found if not 0 <= t <= 1]
    if wrong or not found:
        raise ValueError(f"Threshold values must be in [0, 1]. Received: {wrong or thresholds}")
    return found


def _plain(thresholds: Thresholds) -> Any:
    return list(thresholds) if isinstance(thresholds, Sequence) else thresholds


def _one_or_all(values: Array) -> Any:
    return float(values[0]) if len(values) == 1 else values
