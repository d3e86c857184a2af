"""A register of floats at a time, by address, that touches no memory beyond the elements it is given.

What convolutions need beside the copies of `tiles`: results are written among other values, so nothing may
be written past their end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from distnn.kernels.instructions import (
    FLOAT,
    I32,
    LANES,
    int64,
    load,
    mask,
    masked_load,
    masked_store,
    splat,
    store,
    vector_type,
)


def floor_of(builder: Any, bits: Any) -> Any:
    """A register of the float whose bits an integer holds."""
    return splat(builder, builder.bitcast(builder.trunc(bits, I32), FLOAT), LANES)


def finished(builder: Any, vector: Any, bias: Any, floor: Any) -> Any:
    """Plus the bias, and at least `floor`."""
    total = builder.fadd(vector, bias)
    return builder.select(builder.fcmp_ordered("<", total, floor), floor, total)


def _lanes_intrinsic(combine: Callable[[Any, Any, Any], Any]) -> Any:
    """target[:count] = combine(source[:count], target[:count]) for the first LANES of `count` floats."""

    @intrinsic  # type: ignore[untyped-decorator]
    def operation(typing_context: Any, source: Any, count: Any, target: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            source, count, target = arguments
            with builder.if_else(builder.icmp_signed(">=", count, int64(LANES))) as (whole, partial):
                with whole:
                    new, old = load(builder, source, LANES), load(builder, target, LANES)
                    store(builder, target, combine(builder, new, old))
                with partial:
                    inside = mask(builder, count, 0, LANES)
                    new = masked_load(builder, source, inside)
                    old = masked_load(builder, target, inside)
                    masked_store(builder, target, combine(builder, new, old), inside)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, types.int64), generate

    return operation


put_lanes = _lanes_intrinsic(lambda builder, new, old: new)
"""Copy."""
add_lanes = _lanes_intrinsic(lambda builder, new, old: builder.fadd(old, new))
"""Add to what is there."""
clear_lanes = _lanes_intrinsic(lambda builder, new, old: ir.Constant(vector_type(LANES), [0.0] * LANES))
"""Zeros; the source is not looked at."""


@intrinsic  # type: ignore[untyped-decorator]
def finish_lanes(typing_context: Any, bias: Any, count: Any, target: Any, floor: Any) -> Any:
    """Add to what is there, and `floor`, the bits of a float, where the sum is below it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        bias, count, target, bits = arguments
        floor = floor_of(builder, bits)
        with builder.if_else(builder.icmp_signed(">=", count, int64(LANES))) as (whole, partial):
            with whole:
                sums = load(builder, target, LANES), load(builder, bias, LANES)
                store(builder, target, finished(builder, *sums, floor))
            with partial:
                inside = mask(builder, count, 0, LANES)
                sums = masked_load(builder, target, inside), masked_load(builder, bias, inside)
                masked_store(builder, target, finished(builder, *sums, floor), inside)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), generate
