"""Convolutions and pooling as loops that a student could read, in float64: the twins of fast kernels.

Images are [N, D, H, W, C]; weights [KD, KH, KW, C of a group, O].
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from distnn.kernels.windows import Windows

Array = np.ndarray[Any, np.dtype[Any]]
Place = tuple[int, ...]


def reads(windows: Windows) -> Iterator[tuple[Place, Place, Place]]:
    """Each window, each of its taps, and the input that it reads, if that is inside the image."""
    for output in np.ndindex(windows.outputs):
        for tap in np.ndindex(windows.kernel):
            place = tuple(
                o * stride + k * step - before
                for o, k, stride, step, before in zip(
                    output, tap, windows.strides, windows.dilation, windows.before, strict=True
                )
            )
            if all(0 <= p < size for p, size in zip(place, windows.inputs, strict=True)):
                yield output, tap, place


def groups_of(x: Array, y: Array, groups: int) -> Iterator[tuple[slice, slice]]:
    read, made = x.shape[-1] // groups, y.shape[-1] // groups
    for g in range(groups):
        yield slice(g * read, (g + 1) * read), slice(g * made, (g + 1) * made)


def convolution(x: Array, w: Array, windows: Windows, groups: int) -> Array:
    y = np.zeros((len(x), *windows.outputs, w.shape[-1]))
    for n in range(len(x)):
        for output, tap, place in reads(windows):
            for read, made in groups_of(x, y, groups):
                y[n][output][made] += x[n][place][read].astype(float) @ w[tap][:, made]
    return y


def input_gradient(dy: Array, w: Array, windows: Windows, groups: int) -> Array:
    dx = np.zeros((len(dy), *windows.inputs, w.shape[-2] * groups))
    for n in range(len(dy)):
        for output, tap, place in reads(windows):
            for read, made in groups_of(dx, dy, groups):
                dx[n][place][read] += w[tap][:, made].astype(float) @ dy[n][output][made]
    return dx


def weight_gradient(x: Array, dy: Array, windows: Windows, groups: int) -> Array:
    dw = np.zeros((*windows.kernel, x.shape[-1] // groups, dy.shape[-1]))
    for n in range(len(x)):
        for output, tap, place in reads(windows):
            for read, made in groups_of(x, dy, groups):
                dw[tap][:, made] += np.outer(x[n][place][read].astype(float), dy[n][output][made])
    return dw


def windows_of(x: Array, windows: Windows) -> Iterator[tuple[int, Place, list[Place]]]:
    """For each image and window the places it reads, in order."""
    found: dict[Place, list[Place]] = {}
    for output, _, place in reads(windows):
        found.setdefault(output, []).append(place)
    for n in range(len(x)):
        for output, places in found.items():
            yield n, output, places


def max_pool(x: Array, windows: Windows) -> Array:
    y = np.empty((len(x), *windows.outputs, x.shape[-1]), x.dtype)
    for n, output, places in windows_of(x, windows):
        y[n][output] = np.max([x[n][place] for place in places], axis=0)
    return y


def max_pool_gradient(x: Array, dy: Array, windows: Windows) -> Array:
    dx = np.zeros(x.shape)
    for n, output, places in windows_of(x, windows):
        for c in range(x.shape[-1]):
            values = [x[n][place][c] for place in places]
            dx[n][places[int(np.argmax(values))]][c] += dy[n][output][c]
    return dx


def average_pool(x: Array, windows: Windows) -> Array:
    y = np.zeros((len(x), *windows.outputs, x.shape[-1]))
    for n, output, places in windows_of(x, windows):
        y[n][output] = np.mean([x[n][place].astype(float) for place in places], axis=0)
    return y


def average_pool_gradient(x: Array, dy: Array, windows: Windows) -> Array:
    dx = np.zeros(x.shape)
    for n, output, places in windows_of(x, windows):
        for place in places:
            dx[n][place] += dy[n][output].astype(float) / len(places)
    return dx
