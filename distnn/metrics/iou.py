"""Intersection over union of classes, from a confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from distnn import ops
from distnn.losses import rank, same_rank
from distnn.metrics.confusion import EPSILON
from distnn.metrics.metric import CountingMetric, weights_like
from distnn.ops.counts import ConfusionCounts
from distnn.tensor import Array


class IoU(CountingMetric):
    """Mean over classes of (right) / (labelled or predicted so); classes that never occur are left out.

    Args:
        num_classes: classes of labels and predictions.
        target_class_ids: the classes that count.
        name: under which it appears in logs.
        ignore_class: samples of this label are left out.
        sparse_y_true: targets are class numbers; otherwise the largest along `axis`.
        sparse_y_pred: the same of predictions.
        axis: of the classes.
    """

    direction = "max"

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ) -> None:
        super().__init__(name)
        self.num_classes = num_classes
        self.target_class_ids = list(target_class_ids)
        self.ignore_class = ignore_class
        self.sparse_y_true = sparse_y_true
        self.sparse_y_pred = sparse_y_pred
        self.axis = axis
        if self.target_class_ids and max(self.target_class_ids) >= num_classes:
            raise ValueError(
                f"Target class id {max(self.target_class_ids)} is out of range, which is "
                f"[{0}, {num_classes})."
            )

    @property
    def num_sums(self) -> int:
        return self.num_classes**2

    def predicted(self, y_pred: Any) -> Any:
        """Class numbers of the predictions."""
        return y_pred if self.sparse_y_pred else ops.argmax(y_pred, axis=self.axis)

    def sums(self, y_true: Any, y_pred: Any, sample_weight: Any) -> Any:
        labels = y_true if self.sparse_y_true else ops.argmax(y_true, axis=self.axis)
        predicted = self.predicted(y_pred)
        if rank(labels) != rank(predicted):
            labels, predicted = same_rank(labels, predicted)
        labels, predicted = ops.cast(labels, "int32"), ops.cast(predicted, "int32")
        ignored = -1 if self.ignore_class is None else self.ignore_class
        op = ConfusionCounts(self.num_classes, ignored)
        return op(labels, predicted, *weights_like(sample_weight, predicted))

    def number(self, sums: Array) -> float:
        matrix = sums.reshape(self.num_classes, self.num_classes)
        right = np.diag(matrix)
        either = matrix.sum(axis=0) + matrix.sum(axis=1) - right
        right, either = right[self.target_class_ids], either[self.target_class_ids]
        occurs = either > 1e-9
        shares = np.where(occurs, right / (either + EPSILON), 0.0)
        return float(shares.sum() / (occurs.sum() + EPSILON))

    def get_config(self) -> dict[str, Any]:
        own = {
            "num_classes": self.num_classes,
            "target_class_ids": self.target_class_ids,
            "ignore_class": self.ignore_class,
            "sparse_y_true": self.sparse_y_true,
            "sparse_y_pred": self.sparse_y_pred,
            "axis": self.axis,
        }
        return {**super().get_config(), **own}


def _without(config: dict[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in names}


class BinaryIoU(IoU):
    """IoU of the classes 0 and 1, of predictions at or above a threshold.

    Args:
        target_class_ids: of 0 and 1, those that count.
        threshold: from which a prediction is 1.
        name: under which it appears in logs.
    """

    def __init__(
        self, target_class_ids: Sequence[int] = (0, 1), threshold: float = 0.5, name: str | None = None
    ) -> None:
        super().__init__(2, target_class_ids, name)
        self.threshold = threshold

    def predicted(self, y_pred: Any) -> Any:
        return ops.cast(ops.greater_equal(y_pred, self.threshold), "int32")

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        only = {key: config[key] for key in ("name", "target_class_ids")}
        return {**only, "threshold": self.threshold}


class MeanIoU(IoU):
    """IoU over all classes; arguments as of `IoU`."""

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ) -> None:
        ids = list(range(num_classes))
        super().__init__(num_classes, ids, name, ignore_class, sparse_y_true, sparse_y_pred, axis)

    def get_config(self) -> dict[str, Any]:
        return _without(super().get_config(), "target_class_ids")


class OneHotIoU(IoU):
    """IoU of one-hot targets; arguments as of `IoU`."""

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None = None,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
    ) -> None:
        super().__init__(num_classes, target_class_ids, name, ignore_class, False, sparse_y_pred, axis)

    def get_config(self) -> dict[str, Any]:
        return _without(super().get_config(), "sparse_y_true")


class OneHotMeanIoU(MeanIoU):
    """IoU over all classes of one-hot targets; arguments as of `IoU`."""

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
    ) -> None:
        super().__init__(num_classes, name, ignore_class, False, sparse_y_pred, axis)

    def get_config(self) -> dict[str, Any]:
        return _without(super().get_config(), "sparse_y_true")
