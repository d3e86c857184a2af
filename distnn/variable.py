"""A model's weight: its name, shape and how it begins; its value is a view of the model's flat vector.

Layers create variables with `add_weight`. A variable holds no array of a step; while a model is traced,
reading one reads a leaf of the graph and `assign` records what it shall hold after the step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from distnn.graph import current_graph
from distnn.tensor import Array, Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

    from distnn.initializers import Initializer
    from distnn.regularizers import Regularizer

Aggregation = Literal["mean", "sum", "none"]


class Variable:
    """One weight of a layer.

    Args:
        shape: all dimensions known.
        initializer: gives the first value.
        name: the name in its layer, such as `kernel`; `path` adds the layers' names.
        trainable: whether an optimizer changes it.
        regularizer: a penalty on it, or None.
        constraint: gives what takes its place after an update, or None.
        aggregation: how values assigned by shards are merged: `mean` weighted by samples, `sum`, or `none`.
    """

    __array_priority__ = 1000

    def __init__(
        self,
        shape: tuple[int, ...],
        initializer: Initializer,
        *,
        name: str,
        trainable: bool = True,
        regularizer: Regularizer | None = None,
        constraint: Callable[[Any], Any] | None = None,
        aggregation: Aggregation = "mean",
    ) -> None:
        if aggregation not in ("mean", "sum", "none"):
            raise ValueError(
                f"Invalid `aggregation` for variable '{name}'. Received: {aggregation!r}. "
                "Expected one of 'mean', 'sum', 'none'."
            )
        self.shape = shape
        self.dtype = "float32"
        self.initializer = initializer
        self.name = name
        self.path = name
        self.trainable = trainable
        self.regularizer = regularizer
        self.constraint: Any = constraint
        self.aggregation: Aggregation = aggregation
        self._array: Array | None = None
        self._initial_key: int | None = None

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def is_initialized(self) -> bool:
        return self._array is not None

    @property
    def array(self) -> Array:
        """The value, shape `shape`, float32; the caller must not keep it over a step."""
        if self._array is None:
            raise AssertionError(f"variable {self.path} was read before its model gave it a value")
        return self._array

    def hold(self, array: Array) -> None:
        """Let `array` (a view of the model's flat vector) be where the value lies."""
        if array.shape != self.shape:
            raise AssertionError(f"{self.path}: shape {self.shape} cannot lie in {array.shape}")
        self._array = array

    def initial_value(self, key: int) -> Array:
        """The initializer's value for the random key `key`."""
        value = np.asarray(self.initializer(self.shape, dtype="float32", key=key), dtype=np.float32)
        if value.shape != self.shape:
            raise ValueError(
                f"the initializer of '{self.path}' returned shape {value.shape}, expected {self.shape}"
            )
        return value

    @property
    def value(self) -> Any:
        """A tensor while a model is traced, else the array."""
        graph = current_graph()
        return self.array if graph is None else graph.variable(self)

    def numpy(self) -> Array:
        return self.array.copy()

    def assign(self, value: Any) -> None:
        """Set the value: at once outside a call, after the step (merged over the shards) inside one."""
        from distnn.ops.op import as_tensor

        graph = value.graph if isinstance(value, Tensor) else current_graph()
        if graph is not None:
            graph.assign(self, as_tensor(value, graph))
            return
        array = np.asarray(value, dtype=np.float32)
        if array.shape != self.shape:
            raise ValueError(
                "The shape of the target variable and the shape of the target value in "
                f"`variable.assign(value)` must match. variable.shape={self.shape}, "
                f"Received: value.shape={array.shape}. Target variable: {self.path}"
            )
        self.array[...] = array

    def assign_add(self, value: Any) -> None:
        """`assign(self + value)`; with the aggregation `sum` the shards' values are all added."""
        from distnn.ops.op import as_tensor

        graph = value.graph if isinstance(value, Tensor) else current_graph()
        if graph is None:
            self.assign(self + value)
            return
        ops, before = _ops(), graph.assignments.get(self)
        added = ops.broadcast_to(ops.cast(as_tensor(value, graph, "float32"), "float32"), self.shape)
        total = ops.add(graph.variable(self), added)
        if before is not None:
            added = None if before.added is None else ops.add(before.added, added)
        graph.assign(self, total, added if self.aggregation == "sum" else None)

    def assign_sub(self, value: Any) -> None:
        """`assign_add(-value)`."""
        self.assign_add(-value)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if current_graph() is not None:
            raise TypeError(
                f"variable '{self.path}' has no value while the model is traced: "
                "use functions of `distnn.ops`"
            )
        return np.array(self.array, dtype=dtype, copy=copy)

    def __repr__(self) -> str:
        return f"<Variable path={self.path}, shape={self.shape}, trainable={self.trainable}>"

    def __getstate__(self) -> dict[str, Any]:
        """Values travel in the model's flat vector, never with the description."""
        return {**self.__dict__, "_array": None}

    def __getitem__(self, key: Any) -> Any:
        return _ops().get_item(self, key)

    def __add__(self, other: Any) -> Any:
        return _ops().add(self, other)

    def __radd__(self, other: Any) -> Any:
        return _ops().add(other, self)

    def __sub__(self, other: Any) -> Any:
        return _ops().subtract(self, other)

    def __rsub__(self, other: Any) -> Any:
        return _ops().subtract(other, self)

    def __mul__(self, other: Any) -> Any:
        return _ops().multiply(self, other)

    def __rmul__(self, other: Any) -> Any:
        return _ops().multiply(other, self)

    def __truediv__(self, other: Any) -> Any:
        return _ops().divide(self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return _ops().divide(other, self)

    def __matmul__(self, other: Any) -> Any:
        return _ops().matmul(self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return _ops().matmul(other, self)

    def __pow__(self, other: Any) -> Any:
        return _ops().power(self, other)

    def __neg__(self) -> Any:
        return _ops().negative(self)


def _ops() -> Any:
    from distnn import ops

    return ops
