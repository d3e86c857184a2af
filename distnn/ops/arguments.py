"""What the ops' functions do with their arguments before an op is called: operands of one dtype, axes."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from distnn.ops.op import as_tensor, graph_of
from distnn.tensor import Array, Dim, Shape, Tensor
from distnn.variable import Variable


def operand(value: Any) -> Tensor | Array:
    """A tensor where a graph is at hand, else an array."""
    graph = graph_of([value])
    return np.asarray(value) if graph is None else as_tensor(value, graph)


def operands(*values: Any) -> tuple[Any, ...]:
    """Tensors (or arrays) of one dtype: float32 as soon as one is a float, else int32."""
    graph = graph_of(values)
    if graph is None:
        arrays = [np.asarray(value) for value in values]
        wide = any(
            a.dtype == np.float64 and isinstance(v, np.ndarray) for a, v in zip(arrays, values, strict=True)
        )
        float_dtype = np.float64 if wide else np.float32
        has_float = any(array.dtype.kind == "f" for array in arrays)
        return tuple(array.astype(float_dtype if has_float else np.int32, copy=False) for array in arrays)
    kinds = [_kind(value) for value in values]
    dtype = "float32" if "f" in kinds else "int32"
    return tuple(_cast(as_tensor(value, graph, _constant_dtype(value, dtype)), dtype) for value in values)


def _kind(value: Any) -> str:
    if isinstance(value, Tensor | Variable):
        return "f" if value.dtype.startswith("float") else "i"
    return np.asarray(value).dtype.kind


def _constant_dtype(value: Any, dtype: str) -> str | None:
    return None if isinstance(value, Tensor | Variable) else dtype


def _cast(tensor: Tensor, dtype: str) -> Tensor:
    if tensor.spec.dtype == dtype:
        return tensor
    from distnn.ops.elementwise import cast

    result: Tensor = cast(tensor, dtype)
    return result


def shape_of(value: Any) -> Shape:
    """The symbolic shape of a tensor or variable, the plain one of an array."""
    if isinstance(value, Tensor):
        return value.spec.shape
    return tuple(value.shape) if isinstance(value, Variable) else tuple(np.shape(value))


def normalized_axes(axis: int | Sequence[int] | None, rank: int) -> tuple[int, ...]:
    """Sorted, non-negative axes; all for None.

    Raises:
        ValueError: for an axis out of range or given twice.
    """
    if axis is None:
        return tuple(range(rank))
    given = map(operator.index, (axis,) if isinstance(axis, int | np.integer) else axis)
    found = sorted(a + rank if a < 0 else a for a in given)
    if any(not 0 <= a < rank for a in found) or len(set(found)) != len(found):
        raise ValueError(f"axis {axis} is not valid for a tensor with {rank} axes")
    return tuple(found)


def normalized_axis(axis: int, rank: int) -> int:
    """One axis, non-negative.

    Raises:
        ValueError: it is out of range.
    """
    return normalized_axes((axis,), rank)[0]


def rows_shape(shape: Shape) -> tuple[Dim, Dim]:
    """(all leading axes as one, last axis)."""
    from distnn.ops.shapes import product

    return product(shape[:-1]), shape[-1]
