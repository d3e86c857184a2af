"""Recurrences bound to calls: on tiles in one call, else step by step with the products between.

Tiles serve float32; NumPy's BLAS behind `products` the rest (float64 gradient checks, other CPUs), as for any
product. Called by `distnn.ops.recurrence`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from distnn.kernels import products, recurrence
from distnn.kernels import recurrent_steps as steps
from distnn.kernels.jit import Array
from distnn.kernels.tape import Tape
from distnn.kernels.team import run_together
from distnn.kernels.tiles import PANEL, TILE_ROWS

Call = Callable[[], object]


@dataclass(frozen=True)
class CellKind:
    """What a recurrence computes at a step.

    Args:
        kind: `SIMPLE`, `LSTM` or `GRU` of `recurrent_steps`.
        activation: of a simple cell, by `recurrent_cells`.
    """

    kind: int
    activation: int = 0

    @property
    def gates(self) -> int:
        """Rows of H sums: a GRU's recurrent sum of the candidate stands apart."""
        return (1, 4, 4)[self.kind]

    @property
    def columns(self) -> int:
        """Columns of the kernels, in H."""
        return (1, 4, 3)[self.kind]

    @property
    def kept(self) -> int:
        """Columns of the recurrent product that are added to the inputs', in H."""
        return (1, 4, 2)[self.kind]

    @property
    def shift(self) -> int:
        """How many H further on than in the kernel the other columns' sums stand."""
        return self.gates - self.columns

    def recurrent_parts(self) -> list[tuple[int, int]]:
        """(first of the kernel's columns, first of the gates' sums) of each run of columns, in H."""
        return [(0, 0)] if self.kept == self.columns else [(0, 0), (self.kept, self.kept + self.shift)]

    def has_carry(self) -> bool:
        return self.kind == steps.LSTM


def panel_floats(inner: int, columns: int) -> int:
    """Size of a matrix in panels."""
    return inner * (-(-columns // PANEL) * PANEL)


def forward_panel_floats(cell: CellKind, inputs: int, units: int) -> tuple[int, int]:
    """Sizes of the packed kernel and recurrent kernel."""
    rest = cell.columns - cell.kept
    recurrent = panel_floats(units, cell.kept * units) + panel_floats(units, rest * units)
    return panel_floats(inputs, cell.columns * units), recurrent


def backward_panel_floats(cell: CellKind, units: int) -> int:
    """Size of the packed transpose of the recurrent kernel."""
    rest = cell.columns - cell.kept
    return panel_floats(cell.kept * units, units) + panel_floats(rest * units, units)


def on_tiles(dtype: object) -> bool:
    return products.products_kind() == "tiles" and str(dtype) == "float32"


def bind_product(a: Array, b: Array, out: Array, transpose_a: bool = False) -> Call:
    """out = a @ b of matrices, also where the rows of `out` are parts of longer ones."""
    if out.flags.c_contiguous or on_tiles(out.dtype):
        return products.bind_matmul(a, b, out, transpose_a=transpose_a)
    return products.bind_matmul(a[None], b[None], out[None], transpose_a=transpose_a)


def _over_rows(bind: Callable[[int, int], Call], rows: int) -> Call:
    """One call for all samples, or one for each thread's."""
    threads = min(products._settings.threads, rows // TILE_ROWS)
    if threads < 2:
        return bind(0, rows)
    bounds = [rows * i // threads for i in range(threads + 1)]
    parts = [bind(first, last) for first, last in zip(bounds, bounds[1:], strict=False)]
    return partial(run_together, _run, parts)


def _run(call: Call) -> None:
    call()


@dataclass(frozen=True)
class Sequence:
    """The arrays of one recurrence; see `recurrent_steps` for the letters."""

    x_TBI: Array
    gates_TBP: Array
    hs_TBH: Array
    cs_TBH: Array
    status_TB: Array


def bind_forward(
    cell: CellKind,
    sequence: Sequence,
    kernel: Array,
    recurrent: Array,
    bias_G: Array,
    y_BTH: Array,
    scratch: tuple[Array, Array, Array],
) -> list[Call]:
    """Calls that fill gates, states and outputs; the initial states and `bias_G` are there.

    Args:
        scratch: packed kernels, and (B, R) sums.
    """
    units = recurrent.shape[0]
    x_panels, h_panels, sums_BR = scratch
    x, gates, status = sequence.x_TBI, sequence.gates_TBP, sequence.status_TB
    states = (sequence.hs_TBH, sequence.cs_TBH)
    keep, kind = cell.kept * units, (cell.kind, cell.activation)
    if on_tiles(x.dtype):
        first_part = panel_floats(units, keep)

        def bind(first: int, last: int) -> Call:
            numbers = (*kind, first, last, keep)
            return partial(
                recurrence.run_forward,
                *numbers,
                x,
                x_panels,
                h_panels,
                bias_G,
                status,
                gates,
                *states,
                y_BTH,
            )

        calls: list[Call] = [
            partial(recurrence.pack_panels, kernel, 0, kernel.shape[1], x_panels),
            partial(recurrence.pack_panels, recurrent, 0, keep, h_panels),
        ]
        if keep < recurrent.shape[1]:
            rest = recurrent.shape[1] - keep
            calls.append(partial(recurrence.pack_panels, recurrent, keep, rest, h_panels[first_part:]))
        return [*calls, _over_rows(bind, x.shape[1])]
    rows = x.reshape(-1, x.shape[2])
    gate_rows = gates.reshape(-1, gates.shape[2])
    inner = rows.shape[0] // x.shape[1]
    calls = []
    for t in range(inner):
        calls.append(bind_product(x[t], kernel, sums_BR))
        low, high = t * x.shape[1], (t + 1) * x.shape[1]
        calls.append(partial(steps.add_input_sums, sums_BR, bias_G, gate_rows[low:high]))
        calls.append(bind_product(states[0][t], recurrent, sums_BR))
        calls.append(partial(steps.add_recurrent_sums, sums_BR, t, keep, cell.shift * units, gates))
        calls.append(partial(steps.forward_step, *kind, t, gates, status, *states, y_BTH))
    return calls


def bind_backward(
    cell: CellKind,
    sequence: Sequence,
    recurrent: Array,
    dy_BTH: Array,
    dh_BH: Array,
    dc_BH: Array,
    d_TBP: Array,
    scratch: tuple[Array, Array, Array],
) -> list[Call]:
    """Calls that turn the gradient of outputs and last states into that of all sums and initial states.

    Args:
        scratch: packed recurrent kernel, (B, R) and (B, H) products.
    """
    units = recurrent.shape[0]
    panels, sums_BR, products_BH = scratch
    keep, kind = cell.kept * units, (cell.kind, cell.activation)
    arrays = (sequence.status_TB, sequence.gates_TBP, sequence.hs_TBH, sequence.cs_TBH)
    if on_tiles(d_TBP.dtype):

        def bind(first: int, last: int) -> Call:
            numbers = (*kind, first, last, keep)
            return partial(recurrence.run_backward, *numbers, panels, *arrays, dy_BTH, dh_BH, dc_BH, d_TBP)

        calls: list[Call] = [partial(recurrence.pack_transposed, recurrent, 0, keep, panels)]
        if keep < recurrent.shape[1]:
            rest = recurrent.shape[1] - keep
            place = panels[panel_floats(keep, units) :]
            calls.append(partial(recurrence.pack_transposed, recurrent, keep, rest, place))
        return [*calls, _over_rows(bind, d_TBP.shape[1])]
    calls = []
    status, gates, hs, cs = arrays
    for t in range(d_TBP.shape[0] - 1, -1, -1):
        calls.append(
            partial(steps.backward_step, *kind, t, gates, status, hs, cs, dy_BTH, dh_BH, dc_BH, d_TBP)
        )
        calls.append(partial(steps.take_recurrent_gradient, d_TBP, t, keep, cell.shift * units, sums_BR))
        calls.append(products.bind_matmul(sums_BR, recurrent, products_BH, transpose_b=True))
        calls.append(partial(steps.add_state_gradient, products_BH, dh_BH))
    return calls


def as_call(calls: list[Call]) -> Call:
    """Many calls as one, with nothing of Python between those of kernels."""
    return Tape(calls)
