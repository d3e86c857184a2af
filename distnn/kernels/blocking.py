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
    transpose_in,
    transpose_out,
)

# The words of a plan. Addresses and strides are in bytes, sizes and blocks in elements.
ROWS, COLUMNS, INNER, A, A_ROW, A_K, B, B_K, B_COLUMN, C, C_ROW = range(11)
BLOCK_ROWS, BLOCK_COLUMNS, BLOCK_INNER, IS_B_PACKED, IS_SWAPPED, STACK, HEADER = range(11, 18)
# The last, partial panel of B is packed in any case; where B's columns are far apart, packing transposes.
# Where C is swapped its rows lie in scratch memory, so far apart that they fall into different cache sets.
SWAPPED_ROWS, SWAPPED_COLUMNS, SWAPPED_ROW = 16, 1024, 1024 + 48
SWAPPED_FLOATS = SWAPPED_ROWS * SWAPPED_ROW
PANEL_FLOATS = SCRATCH_FLOATS - SWAPPED_FLOATS


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
                transpose_in(corner, column_stride, columns - first, count - k, place, 4 * PANEL)


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
    plan: Array, a: int, b: int, c: int, c_row: int, columns: int, count: int, is_begun: int, scratch: int
) -> None:
    """All rows of C (+)= A[:, block] @ B[block, columns]."""
    panels = scratch + 4 * SWAPPED_FLOATS
    panel_bytes = 4 * PANEL * LANES * -(-count // LANES)
    first_packed = 0 if plan[IS_B_PACKED] != 0 else columns // PANEL * PANEL
    # While one panel is multiplied the lines of the next are fetched: row by row, or, where packing
    # transposes, along two of its columns with each block of rows.
    a_row, a_k = plan[A_ROW], plan[A_K]
    ahead_row, ahead_k, ahead_more = 0, plan[B_K], 64
    if plan[B_COLUMN] != 4:
        ahead_row, ahead_k, ahead_more = 2 * plan[B_COLUMN], 4, plan[B_COLUMN]
    _pack_block(plan, b, columns, count, panels)
    for m in range(0, plan[ROWS], plan[BLOCK_ROWS]):
        rows = min(plan[BLOCK_ROWS], plan[ROWS] - m)
        for n in range(0, columns, PANEL):
            panel, b_k = b + n * plan[B_COLUMN], plan[B_K]
            ahead = panel + PANEL * plan[B_COLUMN]
            if n >= first_packed:
                panel, b_k = panels + (n - first_packed) // PANEL * panel_bytes, 4 * PANEL
            first = 0
            while first < rows:
                taken = min(TILE_ROWS, rows - first)
                if TILE_ROWS == 6 and rows - first == 8:
                    taken = 4  # twice four rows keep the units busier than six and two
                multiply_tile(
                    a + (m + first) * a_row,
                    a_row,
                    a_k,
                    panel,
                    b_k,
                    c + (m + first) * c_row + 4 * n,
                    c_row,
                    taken,
                    columns - n,
                    count,
                    is_begun,
                    ahead + first // TILE_ROWS * ahead_row,
                    ahead_k,
                    ahead_more,
                )
                first += taken


@inlined
def _transpose_c(source: int, rows: int, columns: int, target: int, target_row: int) -> None:
    """`rows` x `columns` of swapped C, SWAPPED_ROW apart at `source`, to where C lies."""
    for row in range(0, rows, LANES):
        for column in range(0, columns, LANES):
            place = source + 4 * (row * SWAPPED_ROW + column)
            corner = target + 4 * row + column * target_row
            transpose_out(place, 4 * SWAPPED_ROW, rows - row, columns - column, corner, target_row)


@kernel
def run_product(plan: Array) -> None:
    """C = A @ B as `plan` says, or the transpose of C; with a stack, for each of its triples of offsets."""
    scratch = scratch_memory()
    is_swapped = plan[IS_SWAPPED] != 0
    for item in range(plan[STACK]):
        at = HEADER + 3 * item
        a, b, c = plan[A] + plan[at], plan[B] + plan[at + 1], plan[C] + plan[at + 2]
        for n in range(0, plan[COLUMNS], plan[BLOCK_COLUMNS]):
            columns = min(plan[BLOCK_COLUMNS], plan[COLUMNS] - n)
            corner_c, c_row = c + 4 * n, plan[C_ROW]
            if is_swapped:
                corner_c, c_row = scratch, 4 * SWAPPED_ROW
            for k in range(0, plan[INNER], plan[BLOCK_INNER]):
                count = min(plan[BLOCK_INNER], plan[INNER] - k)
                corner_b = b + k * plan[B_K] + n * plan[B_COLUMN]
                _multiply_block(
                    plan, a + k * plan[A_K], corner_b, corner_c, c_row, columns, count, k, scratch
                )
            if is_swapped:
                _transpose_c(corner_c, plan[ROWS], columns, c + n * plan[C_ROW], plan[C_ROW])
