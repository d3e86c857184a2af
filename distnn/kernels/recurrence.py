"""A recurrence over time in one call: float32, on register tiles, weights packed in panels.

For each step the sums of the gates are one chain of fused multiply-adds: bias, then the inputs, then the
state; then the gates, while they lie in the cache. The bits do not depend on the samples passed together.
`distnn.kernels.recurrent_steps` has the letters, and the same steps with the products between them elsewhere.
Bound by `recurrent_plans`, which also packs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from distnn.kernels.instructions import LANES
from distnn.kernels.jit import Array, helper, kernel
from distnn.kernels.panels import copy_lanes
from distnn.kernels.recurrent_cells import copy_row
from distnn.kernels.recurrent_steps import GRU, backward_rows, forward_rows
from distnn.kernels.tiles import PANEL, TILE_ROWS, multiply_tile


@helper
def _address(array: Array) -> Any:
    return np.int64(array.ctypes.data)  # unsigned as it comes, which signed offsets would make a float


@kernel
def pack_panels(w_KN: Array, first: int, columns: int, panels: Array) -> None:
    """Columns [first, first + columns) of w as panels of PANEL columns, zeros beyond: [panel][k][column].

    w is C-contiguous.
    """
    inner, row = w_KN.shape[0], 4 * w_KN.shape[1]
    source, target = _address(w_KN) + 4 * first, _address(panels)
    for n in range(0, columns, PANEL):
        for k in range(inner):
            for lane in range(0, PANEL, LANES):
                place = target + 4 * (n * inner + k * PANEL + lane)
                copy_lanes(source + k * row + 4 * (n + lane), columns - n - lane, place)


@kernel
def pack_transposed(w_NK: Array, first: int, inner: int, panels: Array) -> None:
    """Panels of the transpose of columns [first, first + inner) of w."""
    columns = w_NK.shape[0]
    zero = panels.dtype.type(0)
    for n in range(0, columns, PANEL):
        width = min(PANEL, columns - n)
        for c in range(PANEL):
            at = n * inner + c
            for k in range(inner):
                panels[at + k * PANEL] = w_NK[n + c, first + k] if c < width else zero


@kernel
def add_panels_product(
    a: int, a_row: int, rows: int, inner: int, panels: int, c: int, c_row: int, columns: int
) -> None:
    """C += A @ B, B in panels; addresses and strides in bytes."""
    for n in range(0, columns, PANEL):
        panel = panels + 4 * n * inner
        ahead = panel + 4 * PANEL * inner
        for m in range(0, rows, TILE_ROWS):
            multiply_tile(
                a + m * a_row,
                a_row,
                4,
                panel,
                4 * PANEL,
                c + m * c_row + 4 * n,
                c_row,
                c + m * c_row + 4 * n,
                min(PANEL, columns - n),
                inner,
                1,
                ahead,
                0,
                4 * PANEL,
                64,
                min(TILE_ROWS, rows - m),
                0,
            )


@kernel
def run_forward(
    kind: int,
    activation: int,
    first: int,
    last: int,
    keep: int,
    x_TBI: Array,
    x_panels: Array,
    h_panels: Array,
    bias_G: Array,
    status_TB: Array,
    gates_TBP: Array,
    hs_TBH: Array,
    cs_TBH: Array,
    y_BTH: Array,
) -> None:
    """All steps of the samples [first, last).

    Args:
        keep: columns of the recurrent product that are added to the inputs'; the rest (of a GRU) begins the
            gates' last columns. Its panels follow in `h_panels`.
        hs_TBH, cs_TBH: the first of each is the initial state.
    """
    inputs, units = x_TBI.shape[2], hs_TBH.shape[2]
    rows, gate_row = last - first, 4 * gates_TBP.shape[2]
    rest = bias_G.size - keep
    columns = keep if rest == 0 else keep + units
    x_at, h_at = _address(x_panels), _address(h_panels)
    rest_at = h_at + 4 * units * (-(-keep // PANEL) * PANEL)
    for t in range(gates_TBP.shape[0]):
        for b in range(first, last):
            copy_row(bias_G, gates_TBP[t, b, : bias_G.size])
        gates = _address(gates_TBP) + gate_row * (t * gates_TBP.shape[1] + first)
        x = _address(x_TBI) + 4 * inputs * (t * x_TBI.shape[1] + first)
        h = _address(hs_TBH) + 4 * units * (t * hs_TBH.shape[1] + first)
        add_panels_product(x, 4 * inputs, rows, inputs, x_at, gates, gate_row, columns)
        add_panels_product(h, 4 * units, rows, units, h_at, gates, gate_row, keep)
        if rest != 0:
            place = gates + 4 * columns
            add_panels_product(h, 4 * units, rows, units, rest_at, place, gate_row, units)
        forward_rows(kind, activation, t, first, last, gates_TBP, status_TB, hs_TBH, cs_TBH, y_BTH)


@kernel
def run_backward(
    kind: int,
    activation: int,
    first: int,
    last: int,
    keep: int,
    h_panels: Array,
    status_TB: Array,
    gates_TBP: Array,
    hs_TBH: Array,
    cs_TBH: Array,
    dy_BTH: Array,
    dh_BH: Array,
    dc_BH: Array,
    d_TBP: Array,
) -> None:
    """The gradient of all sums, of the samples [first, last), from the last step to the first.

    Args:
        keep: as in `run_forward`; `h_panels` are those of the transposed recurrent kernel's two parts.
        dh_BH, dc_BH: of the last state; become those of the initial one.
    """
    units = hs_TBH.shape[2]
    rows, d_row = last - first, 4 * d_TBP.shape[2]
    h_at = _address(h_panels)
    rest_at = h_at + 4 * keep * (-(-units // PANEL) * PANEL)
    dh = _address(dh_BH) + 4 * units * first
    for t in range(d_TBP.shape[0] - 1, -1, -1):
        backward_rows(
            kind,
            activation,
            t,
            first,
            last,
            gates_TBP,
            status_TB,
            hs_TBH,
            cs_TBH,
            dy_BTH,
            dh_BH,
            dc_BH,
            d_TBP,
        )
        d = _address(d_TBP) + d_row * (t * d_TBP.shape[1] + first)
        add_panels_product(d, d_row, rows, keep, h_at, dh, 4 * units, units)
        if kind == GRU:
            add_panels_product(d + 4 * (keep + units), d_row, rows, units, rest_at, dh, 4 * units, units)
