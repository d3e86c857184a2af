"""Convolutions by NumPy, a tap at a time: the reference, and the way for float64 and for CPUs without tiles.

Letters: N images, D H W their axes, C channels read, O channels made; x is [N, D, H, W, C], w is
[KD, KH, KW, C / groups, O], y is [N, OD, OH, OW, O].
"""

from __future__ import annotations

import numpy as np

from distnn.kernels.jit import Array
from distnn.kernels.windows import Windows


def _channels(size: int, groups: int, group: int) -> slice:
    return slice(size // groups * group, size // groups * (group + 1))


def convolve(x: Array, w: Array, y: Array, windows: Windows, groups: int) -> None:
    """y = the sum over taps of the inputs they read times their weights."""
    y.fill(0)
    for tap, outputs, inputs in windows.parts():
        for group in range(groups):
            read, made = _channels(x.shape[-1], groups, group), _channels(y.shape[-1], groups, group)
            y[(slice(None), *outputs, made)] += np.matmul(x[(slice(None), *inputs, read)], w[tap][:, made])


def convolve_input_gradient(dy: Array, w: Array, dx: Array, windows: Windows, groups: int) -> None:
    """dx = for each input, the sum over taps that read it of dy times their weights."""
    dx.fill(0)
    for tap, outputs, inputs in windows.parts():
        for group in range(groups):
            read, made = _channels(dx.shape[-1], groups, group), _channels(dy.shape[-1], groups, group)
            part = np.matmul(dy[(slice(None), *outputs, made)], w[tap][:, made].T)
            dx[(slice(None), *inputs, read)] += part


def convolve_weight_gradient(x: Array, dy: Array, dw: Array, windows: Windows, groups: int) -> None:
    """dw = for each tap, the sum over windows of what it reads times dy."""
    for tap, outputs, inputs in windows.parts():
        for group in range(groups):
            read, made = _channels(x.shape[-1], groups, group), _channels(dy.shape[-1], groups, group)
            rows = x[(slice(None), *inputs, read)].reshape(-1, dw.shape[-2])
            columns = dy[(slice(None), *outputs, made)].reshape(-1, dw.shape[-1] // groups)
            dw[tap][:, made] = np.matmul(rows.T, columns)
