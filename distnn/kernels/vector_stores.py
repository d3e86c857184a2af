"""Writing and choosing among the sixteen-lane vectors of `vectors`; used by pooling."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.core import types
from numba.extending import intrinsic, overload

from distnn.kernels.jit import Array
from distnn.kernels.vectors import LANES


@intrinsic  # type: ignore[untyped-decorator]
def _store(typing_context: Any, array: Any, index: Any, vector: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        view = context.make_array(signature.args[0])(context, builder, arguments[0])
        pointer = builder.gep(view.data, [arguments[1]])
        place = builder.bitcast(pointer, arguments[2].type.as_pointer())
        builder.store(arguments[2], place, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), generate


@intrinsic  # type: ignore[untyped-decorator]
def _where_equal(typing_context: Any, left: Any, right: Any, taken: Any, other: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        is_equal = builder.fcmp_ordered("==", arguments[0], arguments[1])
        return builder.select(is_equal, arguments[2], arguments[3])

    return left(left, right, taken, other), generate


def store(array: Array, index: int, vector: Array) -> None:
    """Sixteen elements of a contiguous 1-D array, from `index` on, become the lanes."""
    array[index : index + LANES] = vector


def where_equal(left: Array, right: Array, taken: Array, other: Array) -> Array:
    """Lanes of `taken` where those of `left` and `right` are equal, else of `other`."""
    return np.where(left == right, taken, other)


@overload(store, strict=False)  # type: ignore[untyped-decorator]
def _overload_store(array: Any, index: Any, vector: Any) -> Any:
    return lambda array, index, vector: _store(array, index, vector)


@overload(where_equal, strict=False)  # type: ignore[untyped-decorator]
def _overload_where_equal(left: Any, right: Any, taken: Any, other: Any) -> Any:
    return lambda left, right, taken, other: _where_equal(left, right, taken, other)
