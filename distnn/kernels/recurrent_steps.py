"""Time steps of a recurrent layer for many samples, without the products between them.

Letters: T time steps, B samples, H units, G gates, P columns of a row of gates (at least G; the rest is never
read), R columns of the recurrent kernel. `hs_TBH` and `cs_TBH` hold the state before each step, and one more
after the last. Of gated cells with the recurrent sum apart (GRU) the columns from `keep` on of the recurrent
product belong `shift` further on among the gates.
"""

from __future__ import annotations

from distnn.kernels.jit import Array, helper, kernel
from distnn.kernels.recurrent_cells import (
    add_row,
    copy_row,
    fill_row,
    gru_row,
    gru_row_gradient,
    lstm_row,
    lstm_row_gradient,
    simple_row,
    simple_row_gradient,
)
from distnn.kernels.sequences import SHOWN, VALID

SIMPLE, LSTM, GRU = 0, 1, 2
"""Kinds of cells."""


@helper
def forward_rows(
    kind: int,
    activation: int,
    t: int,
    first: int,
    last: int,
    gates_TBP: Array,
    status_TB: Array,
    hs_TBH: Array,
    cs_TBH: Array,
    y_BTH: Array,
) -> None:
    """Step t of the samples [first, last): gates, next state and output from the gates' sums.

    `y_BTH` holds the outputs of all steps, or of the last one only.
    """
    place = t - (gates_TBP.shape[0] - y_BTH.shape[1])
    for b in range(first, last):
        gates, before, h = gates_TBP[t, b], hs_TBH[t, b], hs_TBH[t + 1, b]
        if status_TB[t, b] & VALID == 0:
            copy_row(before, h)
            copy_row(cs_TBH[t, b], cs_TBH[t + 1, b])
        elif kind == LSTM:
            lstm_row(gates, cs_TBH[t, b], h, cs_TBH[t + 1, b])
        elif kind == GRU:
            gru_row(gates, before, h)
        else:
            simple_row(gates[: h.size], activation, h)
        if place >= 0:
            if status_TB[t, b] & SHOWN != 0:
                copy_row(h, y_BTH[b, place])
            else:
                fill_row(y_BTH[b, place], h.dtype.type(0))


@helper
def backward_rows(
    kind: int,
    activation: int,
    t: int,
    first: int,
    last: int,
    gates_TBP: Array,
    status_TB: Array,
    hs_TBH: Array,
    cs_TBH: Array,
    dy_BTH: Array,
    dh_BH: Array,
    dc_BH: Array,
    d_TBP: Array,
) -> None:
    """The gradient of step t's sums, from that of the state after it and of the output.

    `dh_BH` and `dc_BH` become the gradient of the state before, but for the recurrent product's part.
    """
    place = t - (gates_TBP.shape[0] - dy_BTH.shape[1])
    for b in range(first, last):
        dh, d = dh_BH[b], d_TBP[t, b]
        if place >= 0 and status_TB[t, b] & SHOWN != 0:
            add_row(dy_BTH[b, place], dh)
        if status_TB[t, b] & VALID == 0:
            fill_row(d, dh.dtype.type(0))
        elif kind == LSTM:
            lstm_row_gradient(gates_TBP[t, b], cs_TBH[t, b], cs_TBH[t + 1, b], dh, dc_BH[b], d)
            fill_row(dh, dh.dtype.type(0))
        elif kind == GRU:
            gru_row_gradient(gates_TBP[t, b], hs_TBH[t, b], dh, d)
        else:
            simple_row_gradient(gates_TBP[t, b], activation, dh, d)


@kernel
def forward_step(
    kind: int,
    activation: int,
    t: int,
    gates_TBP: Array,
    status_TB: Array,
    hs_TBH: Array,
    cs_TBH: Array,
    y_BTH: Array,
) -> None:
    """`forward_rows` of all samples."""
    samples = gates_TBP.shape[1]
    forward_rows(kind, activation, t, 0, samples, gates_TBP, status_TB, hs_TBH, cs_TBH, y_BTH)


@kernel
def backward_step(
    kind: int,
    activation: int,
    t: int,
    gates_TBP: Array,
    status_TB: Array,
    hs_TBH: Array,
    cs_TBH: Array,
    dy_BTH: Array,
    dh_BH: Array,
    dc_BH: Array,
    d_TBP: Array,
) -> None:
    """`backward_rows` of all samples."""
    samples = gates_TBP.shape[1]
    backward_rows(
        kind, activation, t, 0, samples, gates_TBP, status_TB, hs_TBH, cs_TBH, dy_BTH, dh_BH, dc_BH, d_TBP
    )


@kernel
def add_recurrent_sums(sums_BR: Array, t: int, keep: int, shift: int, gates_TBP: Array) -> None:
    """The recurrent product of step t, added to its gates' sums."""
    for b in range(sums_BR.shape[0]):
        gates = gates_TBP[t, b]
        for r in range(keep):
            gates[r] += sums_BR[b, r]
        for r in range(keep, sums_BR.shape[1]):
            gates[r + shift] += sums_BR[b, r]


@kernel
def take_recurrent_gradient(d_TBP: Array, t: int, keep: int, shift: int, out_BR: Array) -> None:
    """The gradient of step t's recurrent product."""
    for b in range(out_BR.shape[0]):
        d = d_TBP[t, b]
        for r in range(keep):
            out_BR[b, r] = d[r]
        for r in range(keep, out_BR.shape[1]):
            out_BR[b, r] = d[r + shift]


@kernel
def add_state_gradient(products_BH: Array, dh_BH: Array) -> None:
    """dh += what came through the recurrent product."""
    for b in range(dh_BH.shape[0]):
        for u in range(dh_BH.shape[1]):
            dh_BH[b, u] += products_BH[b, u]


@kernel
def add_input_sums(sums_XG: Array, bias_G: Array, gates_XP: Array) -> None:
    """The gates' sums of all steps begin as the input's product plus the bias; columns beyond as the bias."""
    for row in range(gates_XP.shape[0]):
        for g in range(sums_XG.shape[1]):
            gates_XP[row, g] = sums_XG[row, g] + bias_G[g]
        for g in range(sums_XG.shape[1], bias_G.size):
            gates_XP[row, g] = bias_G[g]


@kernel
def whole_bias(bias: Array, keep: int, units: int, out_G: Array) -> None:
    """The bias of all gates' sums from a layer's.

    Args:
        bias: flat; empty for none; of a GRU the input's and the recurrent one.
        keep: how many gates have one sum for both products.
        units: H.
    """
    zero = out_G.dtype.type(0)
    for g in range(out_G.size):
        out_G[g] = zero
    if bias.size == out_G.size:
        for g in range(out_G.size):
            out_G[g] = bias[g]
    elif bias.size != 0:
        half = bias.size // 2
        for g in range(keep):
            out_G[g] = bias[g] + bias[half + g]
        for u in range(units):
            out_G[keep + u] = bias[keep + u]
            out_G[keep + units + u] = bias[half + keep + u]


@kernel
def bias_gradient(d_XP: Array, keep: int, units: int, sums_G: Array, dbias: Array) -> None:
    """The gradient of `bias` from that of all sums: the samples' and steps' rows added in order."""
    zero = sums_G.dtype.type(0)
    for g in range(sums_G.size):
        sums_G[g] = zero
    for row in range(d_XP.shape[0]):
        for g in range(sums_G.size):
            sums_G[g] += d_XP[row, g]
    if dbias.size == sums_G.size:
        for g in range(sums_G.size):
            dbias[g] = sums_G[g]
    else:
        half = dbias.size // 2
        for g in range(keep):
            dbias[g] = sums_G[g]
            dbias[half + g] = sums_G[g]
        for u in range(units):
            dbias[keep + u] = sums_G[keep + u]
            dbias[half + keep + u] = sums_G[keep + units + u]


@kernel
def copy_state(source_BH: Array, target_BH: Array) -> None:
    """A state as it is."""
    for b in range(target_BH.shape[0]):
        for u in range(target_BH.shape[1]):
            target_BH[b, u] = source_BH[b, u]


@kernel
def clear_values(out: Array) -> None:
    """Zeros everywhere."""
    zero = out.dtype.type(0)
    for i in range(out.size):
        out[i] = zero
