"""Images moved, turned, mirrored, zoomed and changed in contrast, each by random amounts of its own.

Amounts are words of the counter-based generator of `random.py`, keyed by the step, the shard, the sample and
the layer's stream, so that they depend on nothing else. Letters: N images, H rows, W columns, C channels.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from distnn.control import SEED_WORD, SHARD_WORD, STEP_WORD
from distnn.kernels.jit import Array, helper, kernel
from distnn.kernels.random import philox, stream_words

u64 = np.uint64
_LOW = u64(0xFFFFFFFF)

FLIP_ROWS, FLIP_COLUMNS, ANGLE, ZOOM_ROWS, ZOOM_COLUMNS, SHIFT_ROWS, SHIFT_COLUMNS = 0, 1, 2, 4, 6, 8, 10
SHEAR_ROWS, SHEAR_COLUMNS = 12, 14
NUM_AMOUNTS = 16
"""Places in `amounts`: whether to mirror at random (0 or 1), then (lowest, highest) of each amount: the angle
in turns, the others in parts of the image. A zoom of columns that is NaN is that of the rows."""
CONSTANT, NEAREST, REFLECT, WRAP = 0, 1, 2, 3


@helper
def _uniform(word: Any, lowest: float, highest: float) -> float:
    return lowest + (highest - lowest) * ((np.float64(word) + 0.5) / 4294967296.0)


@helper
def _sine(x: float) -> float:
    """sin x for |x| <= pi, by its series: within 1e-12, on any CPU the same."""
    square, term, total = x * x, x, x
    for n in range(1, 14):
        term = -term * square / np.float64((2 * n) * (2 * n + 1))
        total += term
    return total


@helper
def sine_and_cosine(turns: float) -> Any:
    """sin and cos of an angle in turns."""
    half_turns = 2.0 * (turns - math.floor(turns + 0.5))
    shifted = half_turns + 0.5
    shifted = shifted - 2.0 if shifted > 1.0 else shifted
    return _sine(half_turns * math.pi), _sine(shifted * math.pi)


@helper
def _place(index: int, size: int, fill: int) -> int:
    """Where in the image a row (or column) outside of it is taken from; -1 for nowhere."""
    if 0 <= index < size:
        return index
    if fill == CONSTANT:
        return -1
    if fill == NEAREST:
        return 0 if index < 0 else size - 1
    if fill == WRAP:
        return index % size
    folded = index % (2 * size)
    return folded if folded < size else 2 * size - 1 - folded


@helper
def _pixel(x_NHWC: Array, n: int, row: int, column: int, c: int, fill: int, value: float) -> float:
    r, k = _place(row, x_NHWC.shape[1], fill), _place(column, x_NHWC.shape[2], fill)
    return value if r < 0 or k < 0 else np.float64(x_NHWC[n, r, k, c])


@kernel
def transform_images(
    x_NHWC: Array,
    control: Array,
    stream: int,
    amounts: Array,
    fill: int,
    value: float,
    is_bilinear: int,
    y_NHWC: Array,
) -> None:
    """Each image mirrored, zoomed, turned about its middle and moved by amounts of its own."""
    images, rows, columns, channels = x_NHWC.shape
    k0, k1 = stream_words(control[SEED_WORD], stream)
    step, shard = u64(control[STEP_WORD]) & _LOW, u64(control[SHARD_WORD])
    middle_row, middle_column = (rows - 1) / 2.0, (columns - 1) / 2.0
    for n in range(images):
        w0, w1, w2, w3 = philox(u64(n), shard, step, u64(2), k0, k1)
        v0, v1, v2, _ = philox(u64(n), shard, step, u64(3), k0, k1)
        s0, s1, s2, _ = philox(u64(n), shard, step, u64(4), k0, k1)
        way = -1.0 if s2 & u64(1) == u64(1) else 1.0
        shear_row = way * _uniform(s0, amounts[SHEAR_ROWS], amounts[SHEAR_ROWS + 1])
        shear_column = way * _uniform(s1, amounts[SHEAR_COLUMNS], amounts[SHEAR_COLUMNS + 1])
        sine, cosine = sine_and_cosine(_uniform(w0, amounts[ANGLE], amounts[ANGLE + 1]))
        zoom_row = 1.0 + _uniform(w1, amounts[ZOOM_ROWS], amounts[ZOOM_ROWS + 1])
        zoom_column = zoom_row
        if not math.isnan(amounts[ZOOM_COLUMNS]):
            zoom_column = 1.0 + _uniform(w2, amounts[ZOOM_COLUMNS], amounts[ZOOM_COLUMNS + 1])
        shift_row = rows * _uniform(w3, amounts[SHIFT_ROWS], amounts[SHIFT_ROWS + 1])
        shift_column = columns * _uniform(v0, amounts[SHIFT_COLUMNS], amounts[SHIFT_COLUMNS + 1])
        if amounts[FLIP_ROWS] != 0.0 and v1 & u64(1) == u64(1):
            zoom_row = -zoom_row
        if amounts[FLIP_COLUMNS] != 0.0 and v2 & u64(1) == u64(1):
            zoom_column = -zoom_column
        for i in range(rows):
            for j in range(columns):
                down, right = i - middle_row - shift_row, j - middle_column - shift_column
                row = middle_row + zoom_row * (sine * right + cosine * down) + shear_row * j
                column = middle_column + zoom_column * (cosine * right - sine * down) + shear_column * i
                if is_bilinear == 0:
                    r, k = int(math.floor(row + 0.5)), int(math.floor(column + 0.5))
                    for c in range(channels):
                        y_NHWC[n, i, j, c] = _pixel(x_NHWC, n, r, k, c, fill, value)
                    continue
                r, k = int(math.floor(row)), int(math.floor(column))
                below, beside = row - r, column - k
                for c in range(channels):
                    top = _pixel(x_NHWC, n, r, k, c, fill, value) * (1.0 - beside)
                    top += _pixel(x_NHWC, n, r, k + 1, c, fill, value) * beside
                    bottom = _pixel(x_NHWC, n, r + 1, k, c, fill, value) * (1.0 - beside)
                    bottom += _pixel(x_NHWC, n, r + 1, k + 1, c, fill, value) * beside
                    y_NHWC[n, i, j, c] = top * (1.0 - below) + bottom * below


@kernel
def crop_images(x_NHWC: Array, control: Array, stream: int, y_NHWC: Array) -> None:
    """A part of each image in the size of y, from a place of its own."""
    images, rows, columns, channels = y_NHWC.shape
    k0, k1 = stream_words(control[SEED_WORD], stream)
    step, shard = u64(control[STEP_WORD]) & _LOW, u64(control[SHARD_WORD])
    tops, lefts = x_NHWC.shape[1] - rows + 1, x_NHWC.shape[2] - columns + 1
    for n in range(images):
        w0, w1, _, _ = philox(u64(n), shard, step, u64(2), k0, k1)
        top, left = int(_uniform(w0, 0.0, np.float64(tops))), int(_uniform(w1, 0.0, np.float64(lefts)))
        for i in range(rows):
            for j in range(columns):
                for c in range(channels):
                    y_NHWC[n, i, j, c] = x_NHWC[n, top + i, left + j, c]


@kernel
def change_contrast(
    x_NHWC: Array, control: Array, stream: int, lowest: float, highest: float, y_NHWC: Array
) -> None:
    """(x - mean) * amount + mean, the mean of each channel of each image, the amount its own."""
    images, rows, columns, channels = x_NHWC.shape
    k0, k1 = stream_words(control[SEED_WORD], stream)
    step, shard = u64(control[STEP_WORD]) & _LOW, u64(control[SHARD_WORD])
    for n in range(images):
        word, _, _, _ = philox(u64(n), shard, step, u64(2), k0, k1)
        amount = _uniform(word, lowest, highest)
        for c in range(channels):
            mean = 0.0
            for i in range(rows):
                for j in range(columns):
                    mean += np.float64(x_NHWC[n, i, j, c])
            mean = mean / np.float64(rows * columns)
            for i in range(rows):
                for j in range(columns):
                    y_NHWC[n, i, j, c] = (np.float64(x_NHWC[n, i, j, c]) - mean) * amount + mean


@kernel
def change_brightness(
    x_NHWC: Array,
    control: Array,
    stream: int,
    lowest: float,
    highest: float,
    least: float,
    most: float,
    y_NHWC: Array,
) -> None:
    """x plus an amount of the image's own, kept between `least` and `most`."""
    images = x_NHWC.shape[0]
    k0, k1 = stream_words(control[SEED_WORD], stream)
    step, shard = u64(control[STEP_WORD]) & _LOW, u64(control[SHARD_WORD])
    x, y = x_NHWC.reshape(images, -1), y_NHWC.reshape(images, -1)
    for n in range(images):
        word, _, _, _ = philox(u64(n), shard, step, u64(2), k0, k1)
        amount = _uniform(word, lowest, highest)
        for i in range(x.shape[1]):
            moved = np.float64(x[n, i]) + amount
            y[n, i] = least if moved < least else (most if moved > most else moved)
