"""`AUC`: the area under a curve of rates over thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from distnn import ops
from distnn.metrics.confusion import EPSILON, Counts, ThresholdMetric, quotient
from distnn.metrics.metric import columns_of
from distnn.naming import did_you_mean
from distnn.tensor import Array, Spec

CURVES = ("ROC", "PR")
METHODS = ("interpolation", "minoring", "majoring")


class AUC(ThresholdMetric):
    """Area under the ROC or the precision-recall curve, by Riemann sums over thresholds.

    Args:
        num_thresholds: how many, evenly from 0 to 1.
        curve: "ROC" or "PR".
        summation_method: "interpolation", "minoring" (heights from below) or "majoring".
        name: under which it appears in logs.
        thresholds: these, and one below and one above, instead of even ones.
        multi_label: an area for each column, of which the mean is taken.
        num_labels: columns, if `multi_label`; otherwise the predictions say.
        label_weights: of the columns' areas.
        from_logits: apply a sigmoid first.
    """

    direction = "max"

    def __init__(
        self,
        num_thresholds: int = 200,
        curve: str = "ROC",
        summation_method: str = "interpolation",
        name: str | None = None,
        thresholds: Sequence[float] | None = None,
        multi_label: bool = False,
        num_labels: int | None = None,
        label_weights: Sequence[float] | None = None,
        from_logits: bool = False,
    ) -> None:
        self.curve = _one_of("curve", curve, CURVES)
        self.summation_method = _one_of("summation_method", summation_method, METHODS)
        if thresholds is None and num_thresholds <= 1:
            raise ValueError(
                f"Argument `num_thresholds` must be an integer > 1. Received: num_thresholds={num_thresholds}"
            )
        if num_labels and not multi_label:
            raise ValueError("`num_labels` is needed only when `multi_label` is True.")
        self.init_thresholds = None if thresholds is None else list(thresholds)
        self.num_thresholds = num_thresholds if thresholds is None else len(thresholds) + 2
        inner = [(i + 1) / (num_thresholds - 1) for i in range(num_thresholds - 2)]
        inner = inner if thresholds is None else sorted(thresholds)
        self.multi_label = multi_label
        self.num_labels = num_labels
        self.label_weights = None if label_weights is None else list(label_weights)
        self.from_logits = from_logits
        super().__init__([-EPSILON, *inner, 1 + EPSILON], name, labels=num_labels or 1)

    def build(self, target: Spec, output: Spec) -> None:
        if not self.multi_label:
            return
        if output.rank != 2:
            raise ValueError(f"`y_pred` must have rank 2 when `multi_label=True`. Found rank {output.rank}.")
        self.labels = columns_of(output)

    def sums(self, y_true: Any, y_pred: Any, sample_weight: Any) -> Any:
        return super().sums(y_true, ops.sigmoid(y_pred) if self.from_logits else y_pred, sample_weight)

    def number(self, sums: Array) -> float:
        counts = self.counts(sums)
        if self.curve == "PR" and self.summation_method == "interpolation":
            terms = _interpolated_precision(counts)
        else:
            terms = self._terms(counts)
        areas = terms.sum(axis=0)
        if self.label_weights is None:
            return float(np.mean(areas))
        return float(quotient((areas * self.label_weights).sum(), np.sum(self.label_weights)))

    def _terms(self, counts: Counts) -> Array:
        tp, fp, tn, fn = counts
        recall = quotient(tp, tp + fn)
        x, y = (recall, quotient(tp, tp + fp)) if self.curve == "PR" else (quotient(fp, fp + tn), recall)
        sides = np.stack([y[:-1], y[1:]])
        if self.summation_method == "interpolation":
            heights = sides.mean(axis=0)
        else:
            heights = sides.min(axis=0) if self.summation_method == "minoring" else sides.max(axis=0)
        found: Array = (x[:-1] - x[1:]) * heights
        return found

    def get_config(self) -> dict[str, Any]:
        own = {
            "num_thresholds": self.num_thresholds,
            "curve": self.curve,
            "summation_method": self.summation_method,
            "multi_label": self.multi_label,
            "num_labels": self.num_labels,
            "label_weights": self.label_weights,
            "from_logits": self.from_logits,
        }
        if self.init_thresholds is not None:
            own["thresholds"] = self.init_thresholds
        return {**super().get_config(), **own}


def _interpolated_precision(counts: Counts) -> Array:
    """Areas between thresholds with true positives a line in all positives (Davis & Goadrich, 2006)."""
    tp, fp, _, fn = counts
    p = tp + fp
    dtp, dp = tp[:-1] - tp[1:], p[:-1] - p[1:]
    slope = quotient(dtp, np.maximum(dp, 0))
    intercept = tp[1:] - slope * p[1:]
    ratio = np.where((p[:-1] > 0) & (p[1:] > 0), quotient(p[:-1], np.maximum(p[1:], 0)), 1.0)
    found: Array = quotient(slope * (dtp + intercept * np.log(ratio)), np.maximum(tp[1:] + fn[1:], 0))
    return found


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> str:
    for known in allowed:
        if isinstance(value, str) and value.lower() == known.lower():
            return known
    raise ValueError(
        f'Invalid `{name}` argument value "{value}". Expected one of: {list(allowed)}.'
        f"{did_you_mean(str(value), allowed)}"
    )
