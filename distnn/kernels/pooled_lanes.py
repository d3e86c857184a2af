"""2 x 2 max pooling of registers, and its converse, for convolutions that pool what they make.

The same values and numbers of taps as `pooling.max_pool` gives. Only `patches.py` and `winograd.py` and its
transforms call these.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from distnn.kernels.instructions import (
    I32,
    LANES,
    at,
    call,
    int32,
    int64,
    load,
    mask,
    masked_load,
    masked_store,
    store,
    vector_type,
)
from distnn.kernels.masked_lanes import floor_of

_I8 = ir.IntType(8)
_TAPS = 4
"""Of a window; the number that stands for none of them."""


def _numbers(value: int) -> Any:
    return ir.Constant(ir.VectorType(_I8, LANES), [value] * LANES)


def pooled(builder: Any, window: list[Any], bias: Any, floor: Any) -> tuple[Any, Any]:
    """The largest of a window's registers plus the bias, at least `floor`; and the number of its tap."""
    best, chosen = None, _numbers(0)
    for tap, vector in enumerate(window):
        value = builder.fadd(vector, bias)
        if best is None:
            best = value
            continue
        chosen = builder.select(builder.fcmp_ordered(">", value, best), _numbers(tap), chosen)
        larger = builder.select(builder.fcmp_unordered("ugt", value, best), value, best)
        best = builder.select(builder.fcmp_unordered("uno", best, best), best, larger)
    chosen = builder.select(builder.fcmp_unordered("uno", best, best), _numbers(_TAPS), chosen)
    return builder.select(builder.fcmp_ordered("<", best, floor), floor, best), chosen


def store_numbers(builder: Any, address: Any, numbers: Any) -> None:
    builder.store(numbers, at(builder, address, numbers.type), align=1)


@intrinsic  # type: ignore[untyped-decorator]
def pool_lanes(
    typing_context: Any,
    corner: Any,
    right: Any,
    down: Any,
    bias: Any,
    floor: Any,
    count: Any,
    target: Any,
    chosen: Any,
) -> Any:
    """The window of four registers at `corner`, `right` and `down` bytes apart, pooled to target[:count].

    With `count` floats of bias; `floor` holds the bits of a float. All of the registers is read.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        corner, right, down, bias, floor, count, target, chosen = arguments
        rows = corner, builder.add(corner, down)
        window = [load(builder, builder.add(row, step), LANES) for row in rows for step in (int64(0), right)]
        inside = mask(builder, count, 0, LANES)
        added = masked_load(builder, bias, inside)
        best, numbers = pooled(builder, window, added, floor_of(builder, floor))
        with builder.if_else(builder.icmp_signed(">=", count, int64(LANES))) as (whole, partial):
            with whole:
                store(builder, target, best)
                store_numbers(builder, chosen, numbers)
            with partial:
                masked_store(builder, target, best, inside)
                pointer = at(builder, chosen, numbers.type)
                name = f"llvm.masked.store.v{LANES}i8.p0"
                call(builder, name, ir.VoidType(), numbers, pointer, int32(1), inside)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 8), generate


@intrinsic  # type: ignore[untyped-decorator]
def choose_lanes(typing_context: Any, source: Any, chosen: Any, tap: Any, count: Any, target: Any) -> Any:
    """LANES floats to `target`: of `source` where `chosen` is `tap`, else 0; and 0 after `count`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, chosen, tap, count, target = arguments
        numbers = ir.VectorType(_I8, LANES)
        undefined = ir.Constant(numbers, ir.Undefined)
        first = builder.insert_element(undefined, builder.trunc(tap, _I8), int32(0))
        zeros = ir.Constant(ir.VectorType(I32, LANES), [0] * LANES)
        taps = builder.shuffle_vector(first, undefined, zeros)
        nothing = ir.Constant(vector_type(LANES), [0.0] * LANES)
        with builder.if_else(builder.icmp_signed(">=", count, int64(LANES))) as (whole, partial):
            with whole:
                given = builder.load(at(builder, chosen, numbers), align=1)
                is_chosen = builder.icmp_signed("==", given, taps)
                store(builder, target, builder.select(is_chosen, load(builder, source, LANES), nothing))
            with partial:
                inside = mask(builder, count, 0, LANES)
                pointer = at(builder, chosen, numbers)
                name = f"llvm.masked.load.v{LANES}i8.p0"
                given = call(builder, name, numbers, pointer, int32(1), inside, _numbers(_TAPS))
                is_chosen = builder.icmp_signed("==", given, taps)
                values = masked_load(builder, source, inside)
                store(builder, target, builder.select(is_chosen, values, nothing))
        return context.get_dummy_value()

    return types.void(*[types.int64] * 5), generate
