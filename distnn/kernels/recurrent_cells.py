"""One time step of a recurrent cell for one sample: gates from their sums, and the gradient backwards.

Letters: H units, G gates (all units of one gate, then of the next). A row of gates holds the sums when a step
begins and the gates' values afterwards; a row `d_G` gets the gradient of the sums. Keras's formulas and order
of gates. Loops read and write few arrays each, so that LLVM vectorises them. Compiled into
`recurrence.py` and `recurrent_steps.py`.
"""

from __future__ import annotations

from typing import Any

from distnn.kernels.jit import Array, helper
from distnn.kernels.scalar_math import sigmoid, tanh

TANH, RELU, LINEAR = 0, 1, 2
"""Activations of a simple cell."""


@helper
def copy_row(source: Array, target: Array) -> None:
    for u in range(target.size):
        target[u] = source[u]


@helper
def fill_row(target: Array, value: Any) -> None:
    for u in range(target.size):
        target[u] = value


@helper
def add_row(source: Array, target: Array) -> None:
    for u in range(target.size):
        target[u] += source[u]


@helper
def _sigmoid_row(x: Array) -> None:
    for u in range(x.size):
        x[u] = sigmoid(x[u])


@helper
def _tanh_row(x: Array) -> None:
    for u in range(x.size):
        x[u] = tanh(x[u])


@helper
def lstm_row(gates_G: Array, c_before_H: Array, h_H: Array, c_H: Array) -> None:
    """i, f, a, o: c = f c + i a, h = o tanh(c)."""
    units = h_H.size
    _sigmoid_row(gates_G[: 2 * units])
    _tanh_row(gates_G[2 * units : 3 * units])
    _sigmoid_row(gates_G[3 * units : 4 * units])
    i, f = gates_G[:units], gates_G[units : 2 * units]
    a, o = gates_G[2 * units : 3 * units], gates_G[3 * units : 4 * units]
    for u in range(units):
        c_H[u] = f[u] * c_before_H[u] + i[u] * a[u]
    for u in range(units):
        h_H[u] = o[u] * tanh(c_H[u])


@helper
def lstm_row_gradient(
    gates_G: Array, c_before_H: Array, c_H: Array, dh_H: Array, dc_H: Array, d_G: Array
) -> None:
    """From dh and dc of a step; dc becomes that of the step before."""
    units = dh_H.size
    one = dh_H.dtype.type(1)
    i, f = gates_G[:units], gates_G[units : 2 * units]
    a, o = gates_G[2 * units : 3 * units], gates_G[3 * units : 4 * units]
    d_i, d_f = d_G[:units], d_G[units : 2 * units]
    d_a, d_o = d_G[2 * units : 3 * units], d_G[3 * units : 4 * units]
    for u in range(units):
        t = tanh(c_H[u])
        dc_H[u] += (dh_H[u] * o[u]) * (one - t * t)
        d_o[u] = (dh_H[u] * t) * (o[u] * (one - o[u]))
    for u in range(units):
        d_i[u] = (dc_H[u] * a[u]) * (i[u] * (one - i[u]))
    for u in range(units):
        d_f[u] = (dc_H[u] * c_before_H[u]) * (f[u] * (one - f[u]))
    for u in range(units):
        d_a[u] = (dc_H[u] * i[u]) * (one - a[u] * a[u])
    for u in range(units):
        dc_H[u] *= f[u]


@helper
def gru_row(gates_G: Array, h_before_H: Array, h_H: Array) -> None:
    """z, r, a, and the recurrent sum of a apart: a = tanh(a + r recurrent), h = z h + (1 - z) a."""
    units = h_H.size
    one = h_H.dtype.type(1)
    _sigmoid_row(gates_G[: 2 * units])
    z, r = gates_G[:units], gates_G[units : 2 * units]
    a, inner = gates_G[2 * units : 3 * units], gates_G[3 * units : 4 * units]
    for u in range(units):
        a[u] = tanh(a[u] + r[u] * inner[u])
    for u in range(units):
        h_H[u] = z[u] * h_before_H[u] + (one - z[u]) * a[u]


@helper
def gru_row_gradient(gates_G: Array, h_before_H: Array, dh_H: Array, d_G: Array) -> None:
    """From dh of a step; dh becomes what reaches the state before other than through the products."""
    units = dh_H.size
    one = dh_H.dtype.type(1)
    z, r = gates_G[:units], gates_G[units : 2 * units]
    a, inner = gates_G[2 * units : 3 * units], gates_G[3 * units : 4 * units]
    d_z, d_r = d_G[:units], d_G[units : 2 * units]
    d_a, d_inner = d_G[2 * units : 3 * units], d_G[3 * units : 4 * units]
    for u in range(units):
        d_z[u] = (dh_H[u] * (h_before_H[u] - a[u])) * (z[u] * (one - z[u]))
    for u in range(units):
        d_a[u] = (dh_H[u] * (one - z[u])) * (one - a[u] * a[u])
    for u in range(units):
        d_r[u] = (d_a[u] * inner[u]) * (r[u] * (one - r[u]))
    for u in range(units):
        d_inner[u] = d_a[u] * r[u]
    for u in range(units):
        dh_H[u] *= z[u]


@helper
def simple_row(gates_H: Array, activation: int, h_H: Array) -> None:
    """h = activation(sum)."""
    zero = h_H.dtype.type(0)
    if activation == TANH:
        _tanh_row(gates_H)
    elif activation == RELU:
        for u in range(h_H.size):
            gates_H[u] = zero if gates_H[u] < zero else gates_H[u]
    copy_row(gates_H, h_H)


@helper
def simple_row_gradient(gates_H: Array, activation: int, dh_H: Array, d_H: Array) -> None:
    """From dh of a step, which becomes 0: all of it goes through the products."""
    zero, one = dh_H.dtype.type(0), dh_H.dtype.type(1)
    if activation == TANH:
        for u in range(dh_H.size):
            d_H[u] = dh_H[u] * (one - gates_H[u] * gates_H[u])
    elif activation == RELU:
        for u in range(dh_H.size):
            d_H[u] = dh_H[u] if gates_H[u] > zero else zero
    else:
        copy_row(dh_H, d_H)
    fill_row(dh_H, zero)
