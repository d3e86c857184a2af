"""Values made from nothing: constants of a traced model, arrays outside of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from distnn.graph import current_graph
from distnn.tensor import Tensor

_DTYPES = {"float32": np.float32, "int32": np.int32, "bool": np.bool_}


def _made(array: Any, dtype: str | None) -> Any:
    """An array of a dtype of ours, as a constant where a model is traced."""
    kinds = {"f": "float32", "i": "int32", "u": "int32", "b": "bool"}
    wanted = dtype or kinds[array.dtype.kind]
    if wanted not in _DTYPES:
        raise ValueError(f"`dtype` must be 'float32', 'int32' or 'bool'. Received: {dtype!r}")
    graph = current_graph()
    if graph is None:
        return array.astype(_DTYPES[wanted])
    return graph.constant(array, wanted)


def convert_to_tensor(x: Any, dtype: str | None = None) -> Any:
    """x as a tensor where a model is traced, else as an array."""
    from distnn.ops.arguments import operand
    from distnn.ops.comparison import cast

    value = operand(x)
    return value if dtype is None else cast(value, dtype)


def convert_to_numpy(x: Any) -> Any:
    """x as an array; a traced tensor has no values."""
    return x.numpy() if isinstance(x, Tensor) else np.asarray(x)


def is_tensor(x: Any) -> bool:
    """Whether x is a tensor of a model."""
    return isinstance(x, Tensor)


def arange(start: float, stop: float | None = None, step: float = 1, dtype: str | None = None) -> Any:
    """Numbers from `start` up to (not including) `stop`; from 0 to `start` if alone."""
    low, high = (0, start) if stop is None else (start, stop)
    return _made(np.arange(low, high, step), dtype)


def linspace(
    start: float, stop: float, num: int = 50, endpoint: bool = True, dtype: str | None = None
) -> Any:
    """`num` numbers evenly spaced from `start` to `stop`."""
    return _made(np.linspace(start, stop, num, endpoint=endpoint), dtype)


def full(shape: Sequence[int] | int, fill_value: float, dtype: str | None = None) -> Any:
    """`fill_value` in a shape."""
    return _made(np.full(shape, fill_value), dtype)


def zeros(shape: Sequence[int] | int, dtype: str = "float32") -> Any:
    """0 in a shape."""
    return full(shape, 0, dtype)


def ones(shape: Sequence[int] | int, dtype: str = "float32") -> Any:
    """1 in a shape."""
    return full(shape, 1, dtype)


def eye(N: int, M: int | None = None, k: int = 0, dtype: str = "float32") -> Any:  # noqa: N803  (Keras's names)
    """1 along the k-th diagonal of an N by M matrix, 0 elsewhere."""
    return _made(np.eye(N, M, k), dtype)


def identity(n: int, dtype: str = "float32") -> Any:
    """1 along the diagonal of an n by n matrix, 0 elsewhere."""
    return eye(n, dtype=dtype)


def tri(N: int, M: int | None = None, k: int = 0, dtype: str = "float32") -> Any:  # noqa: N803
    """1 at and below the k-th diagonal of an N by M matrix, 0 above."""
    return _made(np.tri(N, M, k), dtype)
