"""The register tiles as one compiled function, for kernels that call it by its address (`shared_code`)."""

from __future__ import annotations

from distnn.kernels.jit import kernel
from distnn.kernels.tiles import PANEL, TILE_ROWS, multiply_tile


@kernel
def multiply_panel(
    a: int,
    a_row: int,
    a_k: int,
    panel: int,
    panel_k: int,
    c: int,
    c_row: int,
    rows: int,
    columns: int,
    count: int,
) -> None:
    """C = A @ B for any number of rows and the first PANEL of `columns` columns, as in `multiply_tile`."""
    for row in range(0, rows, TILE_ROWS):
        multiply_tile(
            a + row * a_row,
            a_row,
            a_k,
            panel,
            panel_k,
            c + row * c_row,
            c_row,
            c + row * c_row,
            min(columns, PANEL),
            count,
            0,
            panel,
            0,
            0,
            0,
            min(TILE_ROWS, rows - row),
            0,
        )
