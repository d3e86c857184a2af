"""Ops of metrics that count: float64 sums of a shard. They have no gradient.

Each takes what is counted and, as a last input, weights, if there are any.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from distnn.kernels import metrics as kernels
from distnn.ops.op import Bound, Op
from distnn.tensor import Array, Spec, keras_shape

FILTERED = -1e10
"""What stands for predictions that are not among the largest."""


class TopKOnly(Op):
    """The predictions that are among the k largest of their row, `FILTERED` for the others."""

    def __init__(self, k: int) -> None:
        self.k = k

    def infer(self, *inputs: Spec) -> Spec:
        return inputs[0]

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        x, out = (array.reshape(-1, array.shape[-1]) for array in (inputs[0], outputs[0]))
        return partial(kernels.keep_top_k, x, self.k, FILTERED, out)


class ThresholdCounts(Op):
    """Positives and negatives by how many of the sorted thresholds lie below the prediction, for each label.

    Args:
        thresholds: in rising order.
        labels: into how many columns the last axis is kept apart; 1 takes everything together.
    """

    def __init__(self, thresholds: tuple[float, ...], labels: int = 1) -> None:
        self.thresholds = thresholds
        self.labels = labels

    def infer(self, *inputs: Spec) -> Spec:
        _same_shape(inputs)
        return Spec((2 * (len(self.thresholds) + 1) * self.labels,), "float64")

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        target, prediction, weight = _flat(inputs)
        thresholds = np.array(self.thresholds, prediction.dtype)
        return partial(
            kernels.threshold_counts, target, prediction, weight, thresholds, self.labels, outputs[0]
        )


class ConfusionCounts(Op):
    """The confusion matrix of int32 labels and predictions, row by row.

    Args:
        classes: of both.
        ignored: a label that is left out; -1 for none.
    """

    def __init__(self, classes: int, ignored: int = -1) -> None:
        self.classes = classes
        self.ignored = ignored

    def infer(self, *inputs: Spec) -> Spec:
        _same_shape(inputs)
        return Spec((self.classes**2,), "float64")

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        label, prediction, weight = _flat(inputs)
        return partial(
            kernels.confusion_counts, label, prediction, weight, self.classes, self.ignored, outputs[0]
        )


class ColumnSums(Op):
    """Sums of each column of (batch, K) values, weighted by (batch,) weights."""

    def infer(self, *inputs: Spec) -> Spec:
        if inputs[0].rank != 2 or (len(inputs) == 2 and inputs[1].shape != inputs[0].shape[:1]):
            raise ValueError(
                "expected values of shape (batch, K) and a weight for each row. Received: shapes "
                f"{', '.join(str(keras_shape(spec.shape)) for spec in inputs)}"
            )
        return Spec(inputs[0].shape[1:], "float64")

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        weight = inputs[1] if len(inputs) == 2 else np.zeros(0, inputs[0].dtype)
        return partial(kernels.column_sums, inputs[0], weight, outputs[0])


def _flat(inputs: tuple[Array, ...]) -> tuple[Array, Array, Array]:
    """Targets, predictions and weights (none: an empty array), 1-D."""
    target, prediction, *weights = (array.reshape(-1) for array in inputs)
    return target, prediction, weights[0] if weights else np.zeros(0, np.float32)


def _same_shape(inputs: tuple[Spec, ...]) -> None:
    if len({spec.shape for spec in inputs}) != 1:
        raise ValueError(
            "targets, predictions and weights must have the same shape. Received: shapes "
            f"{', '.join(str(keras_shape(spec.shape)) for spec in inputs)}"
        )
