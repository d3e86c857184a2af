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
from numba.extending import intrinsic, models, overload, register_model

from distnn.kernels.jit import Array

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


@intrinsic  # type: ignore[untyped-decorator]
def _load(typing_context: Any, array: Any, index: Any) -> Any:
    vector = VectorType(array.dtype)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        view = context.make_array(signature.args[0])(context, builder, arguments[0])
        pointer = builder.gep(view.data, [arguments[1]])
        vector_ir = context.get_value_type(vector)
        loaded = builder.load(builder.bitcast(pointer, vector_ir.as_pointer()))
        loaded.align = array.dtype.bitwidth // 8
        return loaded

    return vector(array, types.intp), generate


@intrinsic  # type: ignore[untyped-decorator]
def _widen(typing_context: Any, vector: Any) -> Any:
    wide = VectorType(types.float64)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if signature.args[0].scalar == types.float64:
            return arguments[0]
        return builder.fpext(arguments[0], context.get_value_type(wide))

    return wide(vector), generate


@intrinsic  # type: ignore[untyped-decorator]
def _splat(typing_context: Any, scalar: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _broadcast(builder, arguments[0])

    return VectorType(scalar)(scalar), generate


def _binary_intrinsic(instruction: Callable[[Any, Any, Any], Any]) -> Any:
    @intrinsic  # type: ignore[untyped-decorator]
    def operation(typing_context: Any, left: Any, right: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return instruction(builder, arguments[0], arguments[1])

        return left(left, right), generate

    return operation


def _select_larger(builder: Any, left: Any, right: Any) -> Any:
    # A NaN on the right wins, as a NaN on the left does by the second comparison.
    is_taken = builder.fcmp_unordered("ugt", right, left)
    taken = builder.select(is_taken, right, left)
    return builder.select(builder.fcmp_unordered("uno", left, left), left, taken)


_add = _binary_intrinsic(lambda builder, left, right: builder.fadd(left, right))
_subtract = _binary_intrinsic(lambda builder, left, right: builder.fsub(left, right))
_multiply = _binary_intrinsic(lambda builder, left, right: builder.fmul(left, right))
_larger = _binary_intrinsic(_select_larger)


@intrinsic  # type: ignore[untyped-decorator]
def _magnitude(typing_context: Any, vector: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        operand = arguments[0]
        name = "llvm.fabs.v16f64" if signature.args[0].scalar == types.float64 else "llvm.fabs.v16f32"
        function_type = ir.FunctionType(operand.type, [operand.type])
        return builder.call(cgutils.get_or_insert_function(builder.module, function_type, name), [operand])

    return vector(vector), generate


def _tree_intrinsic(combine: Callable[[Any, Any, Any], Any]) -> Any:
    @intrinsic  # type: ignore[untyped-decorator]
    def tree(typing_context: Any, vector: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            current, width = arguments[0], LANES // 2
            while width:
                halves = [_take_lanes(builder, current, first, width) for first in (0, width)]
                current, width = combine(builder, halves[0], halves[1]), width // 2
            return builder.extract_element(current, ir.Constant(ir.IntType(32), 0))

        return vector.scalar(vector), generate

    return tree


def _take_lanes(builder: Any, vector: Any, first: int, count: int) -> Any:
    lanes = ir.Constant(ir.VectorType(ir.IntType(32), count), list(range(first, first + count)))
    return builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), lanes)


_tree_sum = _tree_intrinsic(lambda builder, left, right: builder.fadd(left, right))
_tree_max = _tree_intrinsic(_select_larger)


def _is_vector(*arguments: Any) -> bool:
    return all(isinstance(argument, VectorType) for argument in arguments)


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


@overload(load, strict=False)  # type: ignore[untyped-decorator]
def _overload_load(array: Any, index: Any) -> Any:
    return lambda array, index: _load(array, index)


@overload(widen, strict=False)  # type: ignore[untyped-decorator]
def _overload_widen(vector: Any) -> Any:
    return lambda vector: _widen(vector)


@overload(magnitude, strict=False)  # type: ignore[untyped-decorator]
def _overload_magnitude(vector: Any) -> Any:
    return lambda vector: _magnitude(vector)


@overload(splat, strict=False)  # type: ignore[untyped-decorator]
def _overload_splat(scalar: Any) -> Any:
    return lambda scalar: _splat(scalar)


@overload(larger, strict=False)  # type: ignore[untyped-decorator]
def _overload_larger(left: Any, right: Any) -> Any:
    return lambda left, right: _larger(left, right)


@overload(tree_sum, strict=False)  # type: ignore[untyped-decorator]
def _overload_tree_sum(vector: Any) -> Any:
    return lambda vector: _tree_sum(vector)


@overload(tree_max, strict=False)  # type: ignore[untyped-decorator]
def _overload_tree_max(vector: Any) -> Any:
    return lambda vector: _tree_max(vector)


@overload(operator.add, strict=False)  # type: ignore[untyped-decorator]
def _overload_add(left: Any, right: Any) -> Any:
    return (lambda left, right: _add(left, right)) if _is_vector(left, right) else None


@overload(operator.sub, strict=False)  # type: ignore[untyped-decorator]
def _overload_subtract(left: Any, right: Any) -> Any:
    return (lambda left, right: _subtract(left, right)) if _is_vector(left, right) else None


@overload(operator.mul, strict=False)  # type: ignore[untyped-decorator]
def _overload_multiply(left: Any, right: Any) -> Any:
    return (lambda left, right: _multiply(left, right)) if _is_vector(left, right) else None
