"""Copies and transposes of small blocks into panels and back, and memory on the stack to hold them.

All take addresses and byte strides as integers. Only `blocking.py` calls them, in compiled code.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from distnn.kernels.instructions import (
    FLOAT,
    I32,
    I64,
    LANES,
    int64,
    load,
    mask,
    masked_load,
    masked_store,
    store,
)

SCRATCH_FLOATS = 112 * 1024
"""Size of the stack memory that `scratch_memory` gives."""


@intrinsic  # type: ignore[untyped-decorator]
def scratch_memory(typing_context: Any) -> Any:
    """Address of SCRATCH_FLOATS floats on the stack of the calling function, at a multiple of 64 bytes."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        with builder.goto_entry_block():
            memory = builder.alloca(ir.ArrayType(FLOAT, SCRATCH_FLOATS))
            memory.align = 64
        return builder.ptrtoint(memory, I64)

    return types.int64(), generate


@intrinsic  # type: ignore[untyped-decorator]
def copy_lanes(typing_context: Any, source: Any, count: Any, target: Any) -> Any:
    """LANES floats from `source` to `target`; zeros where `count` ends before."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, count, target = arguments
        with builder.if_else(builder.icmp_signed(">=", count, int64(LANES))) as (whole, partial):
            with whole:
                store(builder, target, load(builder, source, LANES))
            with partial:
                inside = mask(builder, count, 0, LANES)
                store(builder, target, masked_load(builder, source, inside))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


def _exchange(builder: Any, rows: list[Any], distance: int) -> list[Any]:
    """One stage of a transpose: swap the off-diagonal squares of side `distance`."""
    lanes = len(rows)
    swapped = list(rows)
    upper = [lane + (lanes - distance if lane & distance else 0) for lane in range(lanes)]
    lower = [lane + (lanes if lane & distance else distance) for lane in range(lanes)]
    for row in range(lanes):
        if not row & distance:
            pair = rows[row], rows[row + distance]
            for place, lanes_taken in ((row, upper), (row + distance, lower)):
                indices = ir.Constant(ir.VectorType(I32, lanes), lanes_taken)
                swapped[place] = builder.shuffle_vector(*pair, indices)
    return swapped


def _transposed(builder: Any, rows: list[Any]) -> list[Any]:
    distance = 1
    while distance < LANES:
        rows = _exchange(builder, rows, distance)
        distance *= 2
    return rows


def _rows_from(builder: Any, address: Any, stride: Any) -> list[Any]:
    return [builder.add(address, builder.mul(stride, int64(row))) for row in range(LANES)]


def _row_masks(builder: Any, rows: Any, columns: Any) -> list[Any]:
    """For each of LANES rows, which lanes are inside a block of `rows` x `columns`."""
    counts = [
        builder.select(builder.icmp_signed(">", rows, int64(row)), columns, int64(0)) for row in range(LANES)
    ]
    return [mask(builder, count, 0, LANES) for count in counts]


@intrinsic  # type: ignore[untyped-decorator]
def transpose_in(
    typing_context: Any, source: Any, source_row: Any, rows: Any, columns: Any, target: Any, target_row: Any
) -> Any:
    """LANES x LANES floats, transposed from `source` to `target`; zeros beyond `rows` and `columns`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, source_row, rows, columns, target, target_row = arguments
        full = int64(LANES)
        is_whole = builder.and_(
            builder.icmp_signed(">=", rows, full), builder.icmp_signed(">=", columns, full)
        )
        whole, part, run = (builder.append_basic_block(f"block.{name}") for name in ("whole", "part", "run"))
        addresses = _rows_from(builder, source, source_row)
        builder.cbranch(is_whole, whole, part)
        builder.position_at_end(whole)
        lines = [load(builder, address, LANES) for address in addresses]
        builder.branch(run)
        builder.position_at_end(part)
        masks = _row_masks(builder, rows, columns)
        partial = [masked_load(builder, *pair) for pair in zip(addresses, masks, strict=True)]
        builder.branch(run)
        builder.position_at_end(run)
        merged = [builder.phi(line.type) for line in lines]
        for phi, line, other in zip(merged, lines, partial, strict=True):
            phi.add_incoming(line, whole)
            phi.add_incoming(other, part)
        targets = _rows_from(builder, target, target_row)
        for address, vector in zip(targets, _transposed(builder, merged), strict=True):
            store(builder, address, vector)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 6), generate


@intrinsic  # type: ignore[untyped-decorator]
def transpose_out(
    typing_context: Any, source: Any, source_row: Any, rows: Any, columns: Any, target: Any, target_row: Any
) -> Any:
    """The first `rows` x `columns` of LANES x LANES floats at `source`, transposed to `target`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, source_row, rows, columns, target, target_row = arguments
        lines = [load(builder, address, LANES) for address in _rows_from(builder, source, source_row)]
        targets = _rows_from(builder, target, target_row)
        masks = _row_masks(builder, columns, rows)
        for address, vector, inside in zip(targets, _transposed(builder, lines), masks, strict=True):
            masked_store(builder, address, vector, inside)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 6), generate
