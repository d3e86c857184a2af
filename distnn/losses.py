"""Losses by Keras's names: functions that give a value per sample, and classes with a reduction.

A training uses `call` (values per sample) and divides once, over the whole batch; calling a loss object on
arrays gives the reduced number, as in Keras. A user's loss is a function of `(y_true, y_pred)` written with
`distnn.ops`, or a subclass of `Loss`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from distnn import ops
from distnn.naming import did_you_mean, snake_case
from distnn.ops.softmax import Softmax
from distnn.tensor import Tensor
from distnn.variable import Variable

LossFunction = Callable[[Any, Any], Any]
REDUCTIONS = ("sum_over_batch_size", "mean", "sum", "none")


def rank(value: Any) -> int:
    """Number of axes of a tensor or array."""
    return len(value.shape) if isinstance(value, Tensor | Variable) else np.ndim(value)


def as_values(*given: Any) -> tuple[Any, ...]:
    """Tensors and arrays as they are; lists and numbers as arrays, their floats float32."""
    return tuple(_as_value(value) for value in given)


def _as_value(value: Any) -> Any:
    if isinstance(value, Tensor | Variable | np.ndarray):
        return value
    array = np.asarray(value)
    return array.astype(np.float32) if array.dtype.kind == "f" else array


def same_rank(y_true: Any, y_pred: Any) -> tuple[Any, Any]:
    """Keras's rule where one side has one axis more, of size 1: vectors get it too, others lose it."""
    y_true, y_pred = as_values(y_true, y_pred)
    if rank(y_true) == rank(y_pred) + 1:
        y_pred, y_true = same_rank(y_pred, y_true)
    elif rank(y_pred) == rank(y_true) + 1 and y_pred.shape[-1] == 1:
        if rank(y_true) == 1:
            y_true = ops.expand_dims(y_true, -1)
        else:
            y_pred = ops.squeeze(y_pred, -1)
    return y_true, y_pred


def aligned_weight(sample_weight: Any, values: Any) -> Any:
    """Weights with axes of size 1 dropped or appended until they broadcast over `values`."""
    weight = np.asarray(sample_weight, np.float32)
    if weight.ndim == rank(values) + 1 and weight.shape[-1] == 1:
        weight = weight[..., 0]
    return weight.reshape(weight.shape + (1,) * (rank(values) - weight.ndim))


def _float_pair(y_true: Any, y_pred: Any) -> tuple[Any, Any]:
    y_true, y_pred = same_rank(y_true, y_pred)
    if tuple(y_true.shape) != tuple(y_pred.shape):
        raise ValueError(
            "`y_true` and `y_pred` must have the same shape. "
            f"Received: y_true.shape={tuple(y_true.shape)}, y_pred.shape={tuple(y_pred.shape)}"
        )
    return ops.cast(y_true, "float32"), y_pred


def _softmax_input(y_pred: Any) -> Any:
    """The logits under probabilities that a softmax over the last axis computed in this graph, or None."""
    node = y_pred.node if isinstance(y_pred, Tensor) else None
    if node is not None and isinstance(node.op, Softmax):
        return node.inputs[0]
    return None


def mean_squared_error(y_true: Any, y_pred: Any) -> Any:
    """mean((y_true - y_pred)^2) over the last axis."""
    y_true, y_pred = _float_pair(y_true, y_pred)
    return ops.mean(ops.square(ops.subtract(y_true, y_pred)), axis=-1)


def mean_absolute_error(y_true: Any, y_pred: Any) -> Any:
    """mean(|y_true - y_pred|) over the last axis."""
    y_true, y_pred = _float_pair(y_true, y_pred)
    return ops.mean(ops.abs(ops.subtract(y_true, y_pred)), axis=-1)


def huber(y_true: Any, y_pred: Any, delta: float = 1.0) -> Any:
    """Mean over the last axis of e^2 / 2 where |e| <= delta, else delta |e| - delta^2 / 2. Huber 1964."""
    y_true, y_pred = _float_pair(y_true, y_pred)
    error = ops.abs(ops.subtract(y_pred, y_true))
    inside = ops.minimum(error, delta)
    return ops.mean(inside * (error - inside * 0.5), axis=-1)


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
    logits = None if from_logits else _softmax_input(y_pred)
    if logits is not None:
        return ops.categorical_crossentropy(y_true, logits, from_logits=True, axis=axis)
    return ops.categorical_crossentropy(y_true, y_pred, from_logits=from_logits, axis=axis)


def sparse_categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, axis: int = -1
) -> Any:
    """-log(y_pred[label]); targets are class numbers.

    Where `y_pred` comes from a softmax of the model, the logits under it are used.
    """
    y_true, y_pred = as_values(y_true, y_pred)
    if rank(y_true) == rank(y_pred) and y_true.shape[-1] == 1:
        y_true = ops.squeeze(y_true, -1)
    if rank(y_true) != rank(y_pred) - 1:
        raise ValueError(
            "sparse_categorical_crossentropy needs one class number per prediction. Received: "
            f"y_true.shape={tuple(y_true.shape)}, y_pred.shape={tuple(y_pred.shape)}"
        )
    y_true = ops.cast(y_true, "int32")
    logits = None if from_logits else _softmax_input(y_pred)
    if logits is not None:
        return ops.sparse_categorical_crossentropy(y_true, logits, from_logits=True, axis=axis)
    return ops.sparse_categorical_crossentropy(y_true, y_pred, from_logits=from_logits, axis=axis)


def binary_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0
) -> Any:
    """Mean over the last axis of -(t log(p) + (1 - t) log(1 - p))."""
    y_true, y_pred = _float_pair(y_true, y_pred)
    if label_smoothing:
        y_true = y_true * (1.0 - label_smoothing) + 0.5 * label_smoothing
    return ops.mean(ops.binary_crossentropy(y_true, y_pred, from_logits=from_logits), axis=-1)


class Loss:
    """A loss with a name and a reduction. Subclasses define `call(y_true, y_pred)`.

    Args:
        name: under which it appears.
        reduction: "sum_over_batch_size" or "mean" (over all values), "sum", or "none" (of arrays only).
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
        values = self.call(*as_values(y_true, y_pred))
        if sample_weight is not None:
            values = ops.multiply(values, aligned_weight(sample_weight, values))
        if self.reduction == "none" or rank(values) == 0:
            return values
        return ops.sum(values) if self.reduction == "sum" else ops.mean(values)

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
        for name, function in _FUNCTIONS.items():
            if function is self.function:
                return {"name": self.name, "function": name}
        raise ValueError(f"the loss {self.name!r} is a function of your own and cannot be saved")

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> FunctionLoss:
        return cls(_FUNCTIONS[config["function"]], config["name"])


class MeanSquaredError(Loss):
    """See `mean_squared_error`."""

    def __init__(
        self, reduction: str | None = "sum_over_batch_size", name: str | None = "mean_squared_error"
    ) -> None:
        super().__init__(name, reduction)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return mean_squared_error(y_true, y_pred)


class MeanAbsoluteError(Loss):
    """See `mean_absolute_error`."""

    def __init__(
        self, reduction: str | None = "sum_over_batch_size", name: str | None = "mean_absolute_error"
    ) -> None:
        super().__init__(name, reduction)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return mean_absolute_error(y_true, y_pred)


class Huber(Loss):
    """See `huber`."""

    def __init__(
        self,
        delta: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "huber_loss",
    ) -> None:
        super().__init__(name, reduction)
        self.delta = float(delta)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return huber(y_true, y_pred, self.delta)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "delta": self.delta}


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
        ignore_class: None = None,
        reduction: str | None = "sum_over_batch_size",
        axis: int = -1,
        name: str | None = "sparse_categorical_crossentropy",
    ) -> None:
        super().__init__(name, reduction)
        _refuse("ignore_class", ignore_class, None)
        self.from_logits = from_logits
        self.axis = axis

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return sparse_categorical_crossentropy(y_true, y_pred, self.from_logits, self.axis)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "from_logits": self.from_logits, "axis": self.axis}


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
        _refuse("axis", axis, -1)
        self.from_logits = from_logits
        self.label_smoothing = label_smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return binary_crossentropy(y_true, y_pred, self.from_logits, self.label_smoothing)

    def get_config(self) -> dict[str, Any]:
        options = {"from_logits": self.from_logits, "label_smoothing": self.label_smoothing}
        return {**super().get_config(), **options}


def _refuse(name: str, value: Any, only: Any) -> None:
    if value != only:
        raise ValueError(f"`{name}` is not supported yet: leave it {only}. Received: {name}={value!r}")


_CLASSES: dict[str, type[Loss]] = {
    loss_class.__name__: loss_class
    for loss_class in (
        MeanSquaredError,
        MeanAbsoluteError,
        Huber,
        CategoricalCrossentropy,
        SparseCategoricalCrossentropy,
        BinaryCrossentropy,
        FunctionLoss,
    )
}
_FUNCTIONS: dict[str, LossFunction] = {
    "mean_squared_error": mean_squared_error,
    "mse": mean_squared_error,
    "mean_absolute_error": mean_absolute_error,
    "mae": mean_absolute_error,
    "huber": huber,
    "categorical_crossentropy": categorical_crossentropy,
    "sparse_categorical_crossentropy": sparse_categorical_crossentropy,
    "binary_crossentropy": binary_crossentropy,
}
_ALIASES = {"MSE": "mse", "MAE": "mae", "bce": "binary_crossentropy", "BCE": "binary_crossentropy"}


def names() -> list[str]:
    """The names that `get` knows."""
    return sorted([*_FUNCTIONS, *(name for name in _CLASSES if name != "FunctionLoss")])


def get(identifier: Any) -> Loss:
    """The loss for a name, a function, a `Loss` or its `{"class_name", "config"}`.

    Raises:
        ValueError: for an unknown name, or something that is no loss.
    """
    if isinstance(identifier, Loss):
        return identifier
    if isinstance(identifier, str):
        name = _ALIASES.get(identifier, identifier)
        if name in _FUNCTIONS:
            return FunctionLoss(_FUNCTIONS[name])
        if name in _CLASSES and name != "FunctionLoss":
            return _CLASSES[name]()
    if isinstance(identifier, Mapping) and identifier.get("class_name") in _CLASSES:
        return _CLASSES[identifier["class_name"]].from_config(identifier.get("config", {}))
    if inspect.isclass(identifier) and issubclass(identifier, Loss):
        return identifier()
    if callable(identifier) and not inspect.isclass(identifier):
        return FunctionLoss(identifier)
    raise ValueError(
        f"Could not interpret loss identifier: {identifier!r}.{did_you_mean(identifier, names())} "
        f"Known: {', '.join(names())}."
    )


def serialize(loss: Loss) -> dict[str, Any]:
    """`{"class_name": ..., "config": ...}`.

    Raises:
        ValueError: for a loss of the user's own, which `get` cannot find by its name.
    """
    if _CLASSES.get(type(loss).__name__) is not type(loss):
        raise ValueError(f"the loss {loss.name!r} is a class of your own and cannot be saved")
    return {"class_name": type(loss).__name__, "config": loss.get_config()}


def is_sparse(loss: Loss) -> bool:
    """Whether the targets are class numbers."""
    function = loss.function if isinstance(loss, FunctionLoss) else None
    return isinstance(loss, SparseCategoricalCrossentropy) or function is sparse_categorical_crossentropy
