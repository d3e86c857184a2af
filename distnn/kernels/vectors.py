"""Sixteen lanes at once: the explicit vectors behind sums and maxima along contiguous memory.

LLVM may not reorder a float sum, so a plain loop over a row is one slow chain. Here the order is part of the
definition: lane `l` takes the elements `start + 16 k + l` in rising `k`, the lanes are added as a tree
(8 apart, 4, 2, 1), and what is left over (fewer than 16 elements) follows in order. The result is the same
on every CPU. Under `NUMBA_DISABLE_JIT=1` a vector is a NumPy array of 16.
Only `rows.py` and kernels beside it use this; everything else reads as plain arithmetic.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import models, register_model

from distnn.kernels.jit import Array, emitting

LANES = 16


class VectorType(types.Type):
    """Numba's type of a vector of 16 floats."""

    def __init__(self, scalar: Any) -> None:
        self.scalar = scalar
        super().__init__(name=f"lanes16({scalar})")


@register_model(VectorType)
class _VectorModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, frontend_type: VectorType) -> None:
        element = manager.lookup(frontend_type.scalar).get_value_type()
        super().__init__(manager, frontend_type, ir.VectorType(element, LANES))


def _broadcast(builder: Any, scalar: Any) -> Any:
    vector_type = ir.VectorType(scalar.type, LANES)
    undefined = ir.Constant(vector_type, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(first, undefined, zeros)


def _select_larger(builder: Any, left: Any, right: Any) -> Any:
    # A NaN on the right wins, as a NaN on the left does by the second comparison.
    is_taken = builder.fcmp_unordered("ugt", right, left)
    taken = builder.select(is_taken, right, left)
    return builder.select(builder.fcmp_unordered("uno", left, left), left, taken)


def _take_lanes(builder: Any, vector: Any, first: int, count: int) -> Any:
    lanes = ir.Constant(ir.VectorType(ir.IntType(32), count), list(range(first, first + count)))
    return builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), lanes)


def load(array: Array, index: int) -> Array:
    """Sixteen elements of a contiguous 1-D array from `index` on."""
    return array[index : index + LANES].copy()


def widen(vector: Array) -> Array:
    """The lanes as float64."""
    return vector.astype(np.float64)


def magnitude(vector: Array) -> Array:
    """The lanes without their signs."""
    return np.abs(vector)


def splat(scalar: Any) -> Array:
    """The same value in every lane."""
    return np.full(LANES, scalar, np.asarray(scalar).dtype)


def larger(left: Array, right: Array) -> Array:
    """The larger of each pair of lanes; NaN if either is."""
    return np.where(np.isnan(left) | (left >= right), left, right)


def tree_sum(vector: Array) -> Any:
    """The sum of the lanes: 8 apart, 4, 2, 1."""
    while vector.size > 1:
        vector = vector[: vector.size // 2] + vector[vector.size // 2 :]
    return vector[0]


def tree_max(vector: Array) -> Any:
    """The largest lane; NaN if any is."""
    while vector.size > 1:
        vector = larger(vector[: vector.size // 2], vector[vector.size // 2 :])
    return vector[0]


@emitting(load)
def _emit_load(typing_context: Any, array: Any, index: Any) -> Any:
    vector = VectorType(array.dtype)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        view = context.make_array(signature.args[0])(context, builder, arguments[0])
        pointer = builder.gep(view.data, [arguments[1]])
        vector_ir = context.get_value_type(vector)
        loaded = builder.load(builder.bitcast(pointer, vector_ir.as_pointer()))
        loaded.align = array.dtype.bitwidth // 8
        return loaded

    return vector(array, types.intp), generate


@emitting(widen)
def _emit_widen(typing_context: Any, vector: Any) -> Any:
    wide = VectorType(types.float64)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if signature.args[0].scalar == types.float64:
            return arguments[0]
        return builder.fpext(arguments[0], context.get_value_type(wide))

    return wide(vector), generate


@emitting(magnitude)
def _emit_magnitude(typing_context: Any, vector: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        operand = arguments[0]
        name = "llvm.fabs.v16f64" if signature.args[0].scalar == types.float64 else "llvm.fabs.v16f32"
        function_type = ir.FunctionType(operand.type, [operand.type])
        return builder.call(cgutils.get_or_insert_function(builder.module, function_type, name), [operand])

    return vector(vector), generate


@emitting(splat)
def _emit_splat(typing_context: Any, scalar: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _broadcast(builder, arguments[0])

    return VectorType(scalar)(scalar), generate


def _emit_pairwise(function: Any, instruction: Callable[[Any, Any, Any], Any]) -> None:
    @emitting(function)
    def operation(typing_context: Any, left: Any, right: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return instruction(builder, arguments[0], arguments[1])

        are_vectors = isinstance(left, VectorType) and isinstance(right, VectorType)
        return (left(left, right), generate) if are_vectors else None


_emit_pairwise(larger, _select_larger)
_emit_pairwise(operator.add, lambda builder, left, right: builder.fadd(left, right))
_emit_pairwise(operator.sub, lambda builder, left, right: builder.fsub(left, right))
_emit_pairwise(operator.mul, lambda builder, left, right: builder.fmul(left, right))


def _emit_tree(function: Any, combine: Callable[[Any, Any, Any], Any]) -> None:
    @emitting(function)
    def tree(typing_context: Any, vector: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            current, width = arguments[0], LANES // 2
            while width:
                halves = [_take_lanes(builder, current, first, width) for first in (0, width)]
                current, width = combine(builder, halves[0], halves[1]), width // 2
            return builder.extract_element(current, ir.Constant(ir.IntType(32), 0))

        return vector.scalar(vector), generate


_emit_tree(tree_sum, lambda builder, left, right: builder.fadd(left, right))
_emit_tree(tree_max, _select_larger)
