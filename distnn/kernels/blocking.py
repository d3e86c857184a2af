"""Large products cut into tiles: blocks that fit the caches, packed where it pays.

`run_product` walks the product by a plan, one array of integers made once by `products.py`. Blocks are
taken in rising k, so the chain of each element is the same however the product is cut. Packed operands
lie in scratch memory on the stack, which stays in the cache from one product to the next.
"""

from __future__ import annotations

from distnn.kernels.jit import Array, inlined, kernel
from distnn.kernels.tiles import (
    LANES,
    PANEL,
    SCRATCH_FLOATS,
    TILE_ROWS,
    copy_lanes,
    multiply_tile,
    scratch_memory,
    transpose_block,
)

# The words of a plan. Addresses and strides are in bytes, sizes and blocks in elements.
ROWS, COLUMNS, INNER, A, A_ROW, A_K, B, B_K, B_COLUMN, C, C_ROW = range(11)
BLOCK_ROWS, BLOCK_COLUMNS, BLOCK_INNER, IS_A_PACKED, IS_B_PACKED, STACK, HEADER = range(11, 18)
# The last, partial panel of B is packed in any case; where B's columns are far apart, packing transposes.
# The last store of a packed group reaches beyond it by less than 64 floats.
A_SCRATCH_FLOATS = 32 * 1024 + 64
B_SCRATCH_FLOATS = SCRATCH_FLOATS - A_SCRATCH_FLOATS


@inlined
def _pack_b(source: int, k_stride: int, column_stride: int, columns: int, count: int, target: int) -> None:
    """One panel: `count` rows of PANEL columns, zeros beyond `columns`."""
    if column_stride == 4:
        for k in range(count):
            for first in range(0, PANEL, LANES):
                place = target + 4 * (k * PANEL + first)
                copy_lanes(source + k * k_stride + 4 * first, columns - first, place)
    else:
        for k in range(0, count, LANES):
            for first in range(0, PANEL, LANES):
                corner = source + k * k_stride + first * column_stride
                place = target + 4 * (k * PANEL + first)
                transpose_block(corner, column_stride, columns - first, count - k, place, 4 * PANEL)


@inlined
def _pack_a(source: int, k_stride: int, rows: int, left: int, count: int, target: int) -> None:
    """One group of rows that lie side by side, as blocks of TILE_ROWS rows: [block][k][row]."""
    for first in range(0, rows, TILE_ROWS):
        for k in range(count):
            # What is stored beyond TILE_ROWS rows is overwritten by the next k.
            copy_lanes(source + 4 * first + k * k_stride, left - first, target)
            target += 4 * TILE_ROWS


@inlined
def _pack_block(plan: Array, b: int, columns: int, count: int, panels: int) -> None:
    """The panels of a block of B that are to be packed, side by side from `panels` on."""
    panel_bytes = 4 * PANEL * LANES * -(-count // LANES)
    first = 0 if plan[IS_B_PACKED] != 0 else columns // PANEL * PANEL
    for n in range(first, columns, PANEL):
        target = panels + (n - first) // PANEL * panel_bytes
        _pack_b(b + n * plan[B_COLUMN], plan[B_K], plan[B_COLUMN], columns - n, count, target)


@inlined
def _multiply_block(
    plan: Array, a: int, b: int, c: int, columns: int, count: int, is_begun: int, scratch: int
) -> None:
    """All rows of C (+)= A[:, block] @ B[block, columns]."""
    panels = scratch + 4 * A_SCRATCH_FLOATS
    panel_bytes = 4 * PANEL * LANES * -(-count // LANES)
    first_packed = 0 if plan[IS_B_PACKED] != 0 else columns // PANEL * PANEL
    # While one panel is multiplied the lines of the next are fetched: row by row, or, where packing
    # transposes, along two of its columns with each block of rows.
    ahead_row, ahead_k, ahead_more = 0, plan[B_K], 64
    if plan[B_COLUMN] != 4:
        ahead_row, ahead_k, ahead_more = 2 * plan[B_COLUMN], 4, plan[B_COLUMN]
    _pack_block(plan, b, columns, count, panels)
    for m in range(0, plan[ROWS], plan[BLOCK_ROWS]):
        rows = min(plan[BLOCK_ROWS], plan[ROWS] - m)
        group, a_row, a_k, a_block = a + m * plan[A_ROW], plan[A_ROW], plan[A_K], TILE_ROWS * plan[A_ROW]
        if plan[IS_A_PACKED] != 0:
            _pack_a(group, a_k, rows, plan[ROWS] - m, count, scratch)
            group, a_row, a_k, a_block = scratch, 4, 4 * TILE_ROWS, 4 * TILE_ROWS * count
        for n in range(0, columns, PANEL):
            panel, b_k = b + n * plan[B_COLUMN], plan[B_K]
            ahead = panel + PANEL * plan[B_COLUMN]
            if n >= first_packed:
                panel, b_k = panels + (n - first_packed) // PANEL * panel_bytes, 4 * PANEL
            for first in range(0, rows, TILE_ROWS):
                block = first // TILE_ROWS
                multiply_tile(
                    group + block * a_block,
                    a_row,
                    a_k,
                    panel,
                    b_k,
                    c + (m + first) * plan[C_ROW] + 4 * n,
                    plan[C_ROW],
                    rows - first,
                    columns - n,
                    count,
                    is_begun,
                    ahead + block * ahead_row,
                    ahead_k,
                    ahead_more,
                )


@kernel
def run_product(plan: Array) -> None:
    """C = A @ B as `plan` says; with a stack, for each of its triples of offsets."""
    scratch = scratch_memory()
    for item in range(plan[STACK]):
        at = HEADER + 3 * item
        a, b, c = plan[A] + plan[at], plan[B] + plan[at + 1], plan[C] + plan[at + 2]
        for n in range(0, plan[COLUMNS], plan[BLOCK_COLUMNS]):
            columns = min(plan[BLOCK_COLUMNS], plan[COLUMNS] - n)
            for k in range(0, plan[INNER], plan[BLOCK_INNER]):
                count = min(plan[BLOCK_INNER], plan[INNER] - k)
                corner_b = b + k * plan[B_K] + n * plan[B_COLUMN]
                _multiply_block(plan, a + k * plan[A_K], corner_b, c + 4 * n, columns, count, k, scratch)
