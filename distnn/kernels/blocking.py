"""Large products cut into tiles: blocks that fit the caches, packed where it pays.

`run_product` walks the product by a plan, one array of integers made once by `products.py`. Blocks are
taken in rising k, so the chain of each element is the same however the product is cut. Packed operands
lie in scratch memory on the stack, which stays in the cache from one product to the next.
"""

from __future__ import annotations

from distnn.kernels.instructions import LANES
from distnn.kernels.jit import Array, inlined, kernel
from distnn.kernels.panels import SCRATCH_FLOATS, copy_lanes, scratch_memory, transpose_in, transpose_out
from distnn.kernels.tiles import PANEL, TILE_ROWS, WIDE, multiply_tile

# The words of a plan. Addresses and strides are in bytes, sizes and blocks in elements.
ROWS, COLUMNS, INNER, A, A_ROW, A_K, B, B_K, B_COLUMN, C, C_ROW = range(11)
BLOCK_ROWS, BLOCK_COLUMNS, BLOCK_INNER, IS_A_PACKED, IS_B_PACKED, SWAPPED_ROW, IS_B_KEPT, STACK, HEADER = (
    range(11, 20)
)
# The last, partial panel of B is packed in any case; where B's columns are far apart, packing transposes.
STRIP = 2 * TILE_ROWS
GROUP_ROWS = 64 // STRIP * STRIP
"""Rows of A at a time where they are packed, or where C is swapped."""
# Packed A and rows of swapped C, which never meet, lie before the panels of B.
FRONT_FLOATS = 17 * 1024 + 64
PANEL_FLOATS = SCRATCH_FLOATS - FRONT_FLOATS


@inlined
def _pack_b(source: int, k_stride: int, column_stride: int, columns: int, count: int, target: int) -> None:
    """One panel: `count` rows of PANEL columns, zeros beyond `columns`."""
    if column_stride == 4:
        for k in range(count):
            for first in range(0, columns, LANES):
                place = target + 4 * (k * PANEL + first)
                copy_lanes(source + k * k_stride + 4 * first, columns - first, place)
    else:
        for k in range(0, count, LANES):
            for first in range(0, columns, LANES):
                corner = source + k * k_stride + first * column_stride
                place = target + 4 * (k * PANEL + first)
                transpose_in(corner, column_stride, columns - first, count - k, place, 4 * PANEL)


@inlined
def _pack_a(source: int, k_stride: int, rows: int, count: int, target: int) -> None:
    """Rows that lie side by side, as strips of STRIP rows: [strip][k][row]."""
    for first in range(0, rows, STRIP):
        for k in range(count):
            for row in range(0, STRIP, LANES):
                # What is copied beyond a strip's rows is overwritten by the next k.
                copy_lanes(source + 4 * (first + row) + k * k_stride, rows - first - row, target + 4 * row)
            target += 4 * STRIP


@inlined
def _pack_block(plan: Array, b: int, columns: int, count: int, panels: int) -> None:
    """The panels of a block of B that are to be packed, side by side from `panels` on."""
    panel_bytes = 4 * PANEL * LANES * -(-count // LANES)
    first = 0 if plan[IS_B_PACKED] != 0 else columns // PANEL * PANEL
    for n in range(first, columns, PANEL):
        target = panels + (n - first) // PANEL * panel_bytes
        _pack_b(b + n * plan[B_COLUMN], plan[B_K], plan[B_COLUMN], min(PANEL, columns - n), count, target)


@inlined
def _multiply_rows(
    plan: Array,
    a: int,
    b: int,
    c: int,
    c_row: int,
    rows: int,
    columns: int,
    count: int,
    is_begun: int,
    scratch: int,
) -> None:
    """C (+)= A @ B for one group of rows of a block, panel by panel, once all is packed that is to be."""
    panels = scratch + 4 * FRONT_FLOATS
    panel_bytes = 4 * PANEL * LANES * -(-count // LANES)
    first_packed = 0 if plan[IS_B_PACKED] != 0 else columns // PANEL * PANEL
    a_row, a_k = plan[A_ROW], 4 * STRIP if plan[IS_A_PACKED] != 0 else plan[A_K]
    # While one panel is multiplied the lines of the next are fetched, an equal share with each tile: some of
    # its rows, or, where packing transposes, two of its columns. Packed and swapped blocks need none of it.
    shift, step, share, more = 0, 0, 0, 64
    if plan[IS_A_PACKED] == 0 and plan[SWAPPED_ROW] == 0:
        if plan[B_COLUMN] == 4:
            while 2 * TILE_ROWS << shift <= rows:
                shift += 1
            step, share = plan[B_K], -(-count >> shift) * plan[B_K]
        else:
            shift, step, share, more = 4, 64, 2 * plan[B_COLUMN], plan[B_COLUMN]
    n = 0
    while n < columns:
        width = PANEL
        if rows < 4 and n + WIDE <= first_packed:
            width = WIDE
        panel, b_k = b + n * plan[B_COLUMN], plan[B_K]
        # Where lines cross the edge of a panel, the first was fetched for the panel before.
        ahead = panel + width * plan[B_COLUMN] + 63
        if n >= first_packed:
            panel, b_k = panels + (n - first_packed) // PANEL * panel_bytes, 4 * PANEL
        keep = 0
        if plan[IS_B_KEPT] != 0 and n < first_packed:
            keep = panels + panel_bytes
        first = 0
        while first < rows:
            taken = min(TILE_ROWS, rows - first)
            if TILE_ROWS == 6 and rows - first == 8 and plan[IS_A_PACKED] == 0:
                taken = 4  # twice four rows keep the units busier than six and two
            corner_a = a + first * a_row
            if plan[IS_A_PACKED] != 0:
                corner_a = scratch + 4 * (first // STRIP * STRIP * count + first % STRIP)
            corner_c = c + first * c_row + 4 * n
            next_c = corner_c + taken * c_row if first + taken < rows else c + 4 * (n + width)
            multiply_tile(
                corner_a,
                a_row,
                a_k,
                panel,
                b_k,
                corner_c,
                c_row,
                next_c,
                min(columns - n, width),
                count,
                is_begun,
                ahead + first // TILE_ROWS * share,
                shift,
                step,
                more,
                taken,
                keep,
            )
            if keep != 0:
                panel, b_k, keep = keep, 4 * PANEL, 0
            first += taken
        n += width


@inlined
def _fetch_c(plan: Array, c: int, rows: int, columns: int, target: int) -> None:
    """`rows` x `columns` of swapped C, from where C lies to scratch memory."""
    for row in range(0, rows, LANES):
        for column in range(0, columns, LANES):
            corner = c + 4 * row + column * plan[C_ROW]
            place = target + 4 * (row * plan[SWAPPED_ROW] + column)
            transpose_in(corner, plan[C_ROW], columns - column, rows - row, place, 4 * plan[SWAPPED_ROW])


@inlined
def _store_c(plan: Array, c: int, rows: int, columns: int, source: int) -> None:
    """`rows` x `columns` of swapped C, from scratch memory to where C lies."""
    for row in range(0, rows, LANES):
        for column in range(0, columns, LANES):
            place = source + 4 * (row * plan[SWAPPED_ROW] + column)
            corner = c + 4 * row + column * plan[C_ROW]
            transpose_out(place, 4 * plan[SWAPPED_ROW], rows - row, columns - column, corner, plan[C_ROW])


@kernel
def run_product(plan: Array) -> None:
    """C = A @ B as `plan` says, or the transpose of C; with a stack, for each of its triples of offsets."""
    # All loops stand here: Numba copies what is inlined, the more often the more it contains.
    scratch = scratch_memory()
    c_column = 4 if plan[SWAPPED_ROW] == 0 else plan[C_ROW]
    for item in range(plan[STACK]):
        at = HEADER + 3 * item
        for k in range(0, plan[INNER], plan[BLOCK_INNER]):
            count = min(plan[BLOCK_INNER], plan[INNER] - k)
            a = plan[A] + plan[at] + k * plan[A_K]
            for n in range(0, plan[COLUMNS], plan[BLOCK_COLUMNS]):
                columns = min(plan[BLOCK_COLUMNS], plan[COLUMNS] - n)
                b = plan[B] + plan[at + 1] + k * plan[B_K] + n * plan[B_COLUMN]
                c = plan[C] + plan[at + 2] + n * c_column
                _pack_block(plan, b, columns, count, scratch + 4 * FRONT_FLOATS)
                for m in range(0, plan[ROWS], plan[BLOCK_ROWS]):
                    rows = min(plan[BLOCK_ROWS], plan[ROWS] - m)
                    group = a + m * plan[A_ROW]
                    corner_c, c_row = c + m * plan[C_ROW], plan[C_ROW]
                    if plan[IS_A_PACKED] != 0:
                        _pack_a(group, plan[A_K], rows, count, scratch)
                    if plan[SWAPPED_ROW] != 0:
                        corner_c, c_row = scratch, 4 * plan[SWAPPED_ROW]
                        if k != 0:
                            _fetch_c(plan, c + 4 * m, rows, columns, scratch)
                    _multiply_rows(plan, group, b, corner_c, c_row, rows, columns, count, k, scratch)
                    if plan[SWAPPED_ROW] != 0:
                        _store_c(plan, c + 4 * m, rows, columns, scratch)
