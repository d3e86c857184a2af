"""Writing and choosing among the sixteen-lane vectors of `vectors`; used by pooling and normalization."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types

from distnn.kernels.jit import Array, emitting
from distnn.kernels.vectors import LANES, VectorType


def store(array: Array, index: int, vector: Array) -> None:
    """Sixteen elements of a contiguous 1-D array, from `index` on, become the lanes."""
    array[index : index + LANES] = vector


def store_whole(array: Array, index: int, vector: Array) -> None:
    """The same for an array of uint8 or int32 and lanes that are whole numbers it can hold."""
    array[index : index + LANES] = vector


def load_whole(array: Array, index: int, like: Array) -> Array:
    """Sixteen elements of an array of uint8 or int32, as floats of the dtype of `like`."""
    return array[index : index + LANES].astype(like.dtype)


def where_equal(left: Array, right: Array, taken: Array, other: Array) -> Array:
    """Lanes of `taken` where those of `left` and `right` are equal, else of `other`."""
    return np.where(left == right, taken, other)


def where_above(left: Array, right: Array, taken: Array, other: Array) -> Array:
    """Lanes of `taken` where those of `left` are above those of `right`, else of `other`."""
    return np.where(left > right, taken, other)


def multiply_add(left: Array, right: Array, added: Array) -> Array:
    """left * right + added, rounded once where it is compiled."""
    return left * right + added


def not_below(vector: Array, floor: Array) -> Array:
    """Lanes below those of `floor` become these; NaN stays."""
    return np.where(vector < floor, floor, vector)


def narrow(vector: Array, array: Array) -> Array:
    """float64 lanes in the dtype of an array."""
    return vector.astype(array.dtype)


@emitting(store)
def _emit_store(typing_context: Any, array: Any, index: Any, vector: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        view = context.make_array(signature.args[0])(context, builder, arguments[0])
        pointer = builder.gep(view.data, [arguments[1]])
        place = builder.bitcast(pointer, arguments[2].type.as_pointer())
        builder.store(arguments[2], place, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), generate


@emitting(store_whole)
def _emit_store_whole(typing_context: Any, array: Any, index: Any, vector: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        view = context.make_array(signature.args[0])(context, builder, arguments[0])
        pointer = builder.gep(view.data, [arguments[1]])
        whole = builder.fptosi(arguments[2], ir.VectorType(ir.IntType(32), LANES))
        kind = ir.VectorType(ir.IntType(array.dtype.bitwidth), LANES)
        if array.dtype.bitwidth < 32:
            whole = builder.trunc(whole, kind)
        builder.store(whole, builder.bitcast(pointer, kind.as_pointer()), align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), generate


@emitting(load_whole)
def _emit_load_whole(typing_context: Any, array: Any, index: Any, like: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        view = context.make_array(signature.args[0])(context, builder, arguments[0])
        pointer = builder.gep(view.data, [arguments[1]])
        kind = ir.VectorType(ir.IntType(array.dtype.bitwidth), LANES)
        loaded = builder.load(builder.bitcast(pointer, kind.as_pointer()))
        loaded.align = array.dtype.bitwidth // 8
        wide = ir.VectorType(ir.IntType(32), LANES)
        whole = builder.zext(loaded, wide) if array.dtype.bitwidth < 32 else loaded
        return builder.sitofp(whole, context.get_value_type(like))

    return like(array, types.intp, like), generate


@emitting(where_equal)
def _emit_where_equal(typing_context: Any, left: Any, right: Any, taken: Any, other: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        is_equal = builder.fcmp_ordered("==", arguments[0], arguments[1])
        return builder.select(is_equal, arguments[2], arguments[3])

    return left(left, right, taken, other), generate


@emitting(where_above)
def _emit_where_above(typing_context: Any, left: Any, right: Any, taken: Any, other: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        is_above = builder.fcmp_ordered(">", arguments[0], arguments[1])
        return builder.select(is_above, arguments[2], arguments[3])

    return taken(left, right, taken, other), generate


@emitting(multiply_add)
def _emit_multiply_add(typing_context: Any, left: Any, right: Any, added: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        name = "llvm.fma.v16f64" if left.scalar == types.float64 else "llvm.fma.v16f32"
        kind = arguments[0].type
        function_type = ir.FunctionType(kind, [kind] * 3)
        function = cgutils.get_or_insert_function(builder.module, function_type, name)
        return builder.call(function, arguments)

    return left(left, right, added), generate


@emitting(not_below)
def _emit_not_below(typing_context: Any, vector: Any, floor: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value, lowest = arguments
        return builder.select(builder.fcmp_ordered("<", value, lowest), lowest, value)

    return vector(vector, floor), generate


@emitting(narrow)
def _emit_narrow(typing_context: Any, vector: Any, array: Any) -> Any:
    narrow_vector = VectorType(array.dtype)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if array.dtype == types.float64:
            return arguments[0]
        return builder.fptrunc(arguments[0], context.get_value_type(narrow_vector))

    return narrow_vector(vector, array), generate
