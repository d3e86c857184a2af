"""Cross-entropies: of classes by number or one-hot, and of yes and no."""

from __future__ import annotations

from typing import Any

from distnn import ops
from distnn.losses.loss import Loss
from distnn.losses.values import as_values, float_pair, rank, softmax_input
from distnn.tensor import Tensor


def categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
) -> Any:
    """-sum(y_true log(y_pred)) over the classes; targets are one-hot or probabilities.

    Where `y_pred` comes from a softmax of the model, the logits under it are used.
    """
    y_true, y_pred = as_values(y_true, y_pred)
    if rank(y_true) != rank(y_pred) or tuple(y_true.shape)[-1] != tuple(y_pred.shape)[-1]:
        raise ValueError(
            "categorical_crossentropy needs targets of the shape of the predictions (one-hot); for integer "
            f"labels use sparse_categorical_crossentropy. Received: y_true.shape={tuple(y_true.shape)}, "
            f"y_pred.shape={tuple(y_pred.shape)}"
        )
    y_true = ops.cast(y_true, "float32")
    if label_smoothing:
        y_true = y_true * (1.0 - label_smoothing) + label_smoothing / y_pred.shape[-1]
    logits = None if from_logits else softmax_input(y_pred)
    if logits is not None:
        return ops.categorical_crossentropy(y_true, logits, from_logits=True, axis=axis)
    return ops.categorical_crossentropy(y_true, y_pred, from_logits=from_logits, axis=axis)


def sparse_categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, ignore_class: int | None = None, axis: int = -1
) -> Any:
    """-log(y_pred[label]); targets are class numbers.

    Where `y_pred` comes from a softmax of the model, the logits under it are used.

    Args:
        y_true: class numbers.
        y_pred: predictions.
        from_logits: whether they are logits.
        ignore_class: values of this label are 0, and do not count in a loss; it need not be a class.
        axis: of the classes, the last.
    """
    y_true, y_pred = as_values(y_true, y_pred)
    y_true = class_numbers(y_true, y_pred)
    if rank(y_true) != rank(y_pred) - 1:
        raise ValueError(
            "sparse_categorical_crossentropy needs one class number per prediction. Received: "
            f"y_true.shape={tuple(y_true.shape)}, y_pred.shape={tuple(y_pred.shape)}"
        )
    y_true = ops.cast(y_true, "int32")
    valid = None if ignore_class is None else ops.not_equal(y_true, int(ignore_class))
    if valid is not None:
        y_true = ops.where(valid, y_true, 0)
    logits = None if from_logits else softmax_input(y_pred)
    if logits is not None:
        y_pred, from_logits = logits, True
    values = ops.sparse_categorical_crossentropy(y_true, y_pred, from_logits=from_logits, axis=axis)
    if valid is None:
        return values
    values = ops.where(valid, values, 0.0)
    if isinstance(values, Tensor):
        values.mask = valid
    return values


def class_numbers(y_true: Any, y_pred: Any) -> Any:
    """Targets without a last axis of size 1 that predictions have no use for."""
    if rank(y_true) == rank(y_pred) and y_true.shape[-1] == 1:
        return ops.squeeze(y_true, -1)
    return y_true


def labels_that_count(y_true: Any, y_pred: Any, ignore_class: int | None) -> Any:
    """Whether each label is another than `ignore_class`; None without one."""
    if ignore_class is None:
        return None
    return ops.not_equal(ops.cast(class_numbers(y_true, y_pred), "int32"), int(ignore_class))


def binary_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0
) -> Any:
    """Mean over the last axis of -(t log(p) + (1 - t) log(1 - p))."""
    y_true, y_pred = float_pair(y_true, y_pred)
    if label_smoothing:
        y_true = y_true * (1.0 - label_smoothing) + 0.5 * label_smoothing
    return ops.mean(ops.binary_crossentropy(y_true, y_pred, from_logits=from_logits), axis=-1)


def refuse_other(name: str, value: Any, only: Any) -> None:
    """Raise ValueError unless an argument that Keras has is left at its default."""
    if value != only:
        raise ValueError(f"`{name}` is not supported yet: leave it {only}. Received: {name}={value!r}")


class CategoricalCrossentropy(Loss):
    """See `categorical_crossentropy`."""

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "categorical_crossentropy",
    ) -> None:
        super().__init__(name, reduction)
        self.from_logits = from_logits
        self.label_smoothing = label_smoothing
        self.axis = axis

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return categorical_crossentropy(y_true, y_pred, self.from_logits, self.label_smoothing, self.axis)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "from_logits": self.from_logits,
            "label_smoothing": self.label_smoothing,
            "axis": self.axis,
        }


class SparseCategoricalCrossentropy(Loss):
    """See `sparse_categorical_crossentropy`."""

    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        axis: int = -1,
        name: str | None = "sparse_categorical_crossentropy",
    ) -> None:
        super().__init__(name, reduction)
        if ignore_class is not None and (isinstance(ignore_class, bool) or not isinstance(ignore_class, int)):
            raise ValueError(f"`ignore_class` must be a class number. Received: {ignore_class!r}")
        self.from_logits = from_logits
        self.ignore_class = ignore_class
        self.axis = axis

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return sparse_categorical_crossentropy(y_true, y_pred, self.from_logits, self.ignore_class, self.axis)

    def valid_values(self, y_true: Any, y_pred: Any) -> Any:
        return labels_that_count(y_true, y_pred, self.ignore_class)

    def get_config(self) -> dict[str, Any]:
        own = {"from_logits": self.from_logits, "ignore_class": self.ignore_class, "axis": self.axis}
        return {**super().get_config(), **own}


class BinaryCrossentropy(Loss):
    """See `binary_crossentropy`."""

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "binary_crossentropy",
    ) -> None:
        super().__init__(name, reduction)
        refuse_other("axis", axis, -1)
        self.from_logits = from_logits
        self.label_smoothing = label_smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return binary_crossentropy(y_true, y_pred, self.from_logits, self.label_smoothing)

    def get_config(self) -> dict[str, Any]:
        options = {"from_logits": self.from_logits, "label_smoothing": self.label_smoothing}
        return {**super().get_config(), **options}
