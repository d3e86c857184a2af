"""What flows through a model: a `Spec` (shape and dtype) and the `Tensor` that carries it.

A tensor belongs to the graph that recorded it. In a traced run it is symbolic and its batch axis is a
`Batch`; in an eager run it also holds its value. All arithmetic goes through `distnn.ops`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from distnn.graph import Graph, Node

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Batch:
    """A dimension of `multiple` times the number of samples in the shard.

    `batch_size`: of every whole batch, where the model's input says so.
    """

    multiple: int = 1
    batch_size: int | None = field(default=None, compare=False)

    def __repr__(self) -> str:
        return "None" if self.multiple == 1 else f"{self.multiple}*None"


Dim = int | Batch
Shape = tuple[Dim, ...]


def concrete_shape(shape: Shape, samples: int) -> tuple[int, ...]:
    """`shape` for a shard of `samples` samples."""
    return tuple(dim.multiple * samples if isinstance(dim, Batch) else dim for dim in shape)


def symbolic_shape(shape: Sequence[int | Batch | None]) -> Shape:
    """A Keras shape (`None` for the batch axis) as ours."""
    return tuple(Batch() if dim is None else dim for dim in shape)


def keras_shape(shape: Shape) -> tuple[int | None, ...]:
    """Our shape as Keras shows it: `None` where the batch size enters."""
    return tuple(None if isinstance(dim, Batch) else dim for dim in shape)


def size_of(shape: Shape) -> tuple[int, int]:
    """Number of elements as (factor, power of the batch size)."""
    factor, power = 1, 0
    for dim in shape:
        if isinstance(dim, Batch):
            factor, power = factor * dim.multiple, power + 1
        else:
            factor *= dim
    return factor, power


def broadcast_shapes(a: Shape, b: Shape, what: str = "operands") -> Shape:
    """NumPy's broadcasting rule over shapes with a symbolic batch axis.

    Raises:
        ValueError: if a pair of dimensions agrees neither in size nor by a 1.
    """
    rank = max(len(a), len(b))
    padded_a: Shape = (1,) * (rank - len(a)) + a
    padded_b: Shape = (1,) * (rank - len(b)) + b
    out: list[Dim] = []
    for left, right in zip(padded_a, padded_b, strict=True):
        if left == right or right == 1:
            out.append(left)
        elif left == 1:
            out.append(right)
        else:
            raise ValueError(
                f"{what} could not be broadcast together: shapes {keras_shape(a)} and {keras_shape(b)}"
            )
    return tuple(out)


@dataclass(frozen=True)
class Spec:
    """Shape and dtype of a tensor. `float32` stands for the program's own float type."""

    shape: Shape
    dtype: str = "float32"

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def is_float(self) -> bool:
        return self.dtype.startswith("float")

    def concrete(self, samples: int) -> tuple[int, ...]:
        return concrete_shape(self.shape, samples)

    def size(self, samples: int) -> int:
        return math.prod(self.concrete(samples))


def batch_size_of(spec: Spec) -> int | None:
    """The batch size that the model's input states, if it does."""
    first = spec.shape[0] if spec.shape else None
    return first.batch_size if isinstance(first, Batch) else None


class Tensor:
    """One result of a graph's node, or a leaf (input, variable, constant) of the graph."""

    __slots__ = ("graph", "spec", "node", "index", "value", "name", "mask", "__weakref__")
    __array_priority__ = 1000  # NumPy's operators leave `array + tensor` to us

    def __init__(
        self, graph: Graph, spec: Spec, node: Node | None = None, index: int = 0, name: str = ""
    ) -> None:
        self.graph = graph
        self.spec = spec
        self.node = node
        self.index = index
        self.value: Array | None = None
        self.name = name
        self.mask: Tensor | None = None
        """Which steps count (bool, `shape[:2]`), as the layer that made the tensor says; None: all."""

    @property
    def shape(self) -> tuple[int | None, ...]:
        """As in Keras: the batch axis is `None` while symbolic, a number in an eager run."""
        if self.value is not None:
            return self.value.shape
        return keras_shape(self.spec.shape)

    @property
    def dtype(self) -> str:
        return self.spec.dtype

    @property
    def ndim(self) -> int:
        return self.spec.rank

    def numpy(self) -> Array:
        """The value, in an eager run.

        Raises:
            TypeError: while the model is traced; a traced tensor has no value.
        """
        if self.value is None:
            raise TypeError(
                "a symbolic tensor has no value: the model is being traced. Use functions of `distnn.ops` "
                "on it, or compile(run_eagerly=True) to see values in `call`."
            )
        return self.value

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def __repr__(self) -> str:
        text = f"<Tensor {self.name or 'unnamed'} shape={self.shape} dtype={self.dtype}"
        return f"{text}>" if self.value is None else f"{text}\n{self.value!r}>"

    def __bool__(self) -> bool:
        if self.value is None:
            raise TypeError(
                "a symbolic tensor has no truth value: use distnn.ops.where instead of `if`, "
                "or compile(run_eagerly=True)"
            )
        return bool(self.value)

    def __float__(self) -> float:
        return float(self.numpy())

    def __int__(self) -> int:
        return int(self.numpy())

    def __len__(self) -> int:
        if not self.spec.shape or isinstance(self.spec.shape[0], Batch):
            raise TypeError(
                "the length of the batch axis is not known while tracing; use distnn.ops.shape(x)[0]"
            )
        return self.spec.shape[0]

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

    def __abs__(self) -> Any:
        return _ops().abs(self)

    def __gt__(self, other: Any) -> Any:
        return _ops().greater(self, other)

    def __ge__(self, other: Any) -> Any:
        return _ops().greater_equal(self, other)

    def __lt__(self, other: Any) -> Any:
        return _ops().less(self, other)

    def __le__(self, other: Any) -> Any:
        return _ops().less_equal(self, other)


KerasTensor = Tensor
"""Keras's name."""


def _ops() -> Any:
    """The ops import tensors; the operators above need the ops at the call."""
    from distnn import ops

    return ops
