"""The largest and the mean of each window, and their gradients, channel by channel.

Arrays are flat, images [D, H, W, C] behind each other; `sizes` holds the numbers of `Windows.sizes`. Taps
outside the image are left out. The gradient of a largest value goes to the first tap that equals it: its
number is kept, counted over the taps inside; for NaN it is that of all taps of a window, so none. A value of
dx adds up in the order of the windows, whatever the other images.
"""

from __future__ import annotations

from distnn.kernels.jit import Array, helper, kernel
from distnn.kernels.vector_stores import load_whole, not_below, store, store_whole, where_above, where_equal
from distnn.kernels.vectors import LANES, larger, load, splat


@helper
def _bounds(sizes: Array, axis: int, place: int) -> tuple[int, int]:
    """The inputs [first, last) that the window at `place` reads along an axis; no dilation."""
    first = place * sizes[6 + axis] - sizes[12 + axis]
    return max(first, 0), min(first + sizes[3 + axis], sizes[axis])


@kernel
def max_pool(x: Array, sizes: Array, channels: int, is_rectified: int, y: Array, chosen: Array) -> None:
    """y = the largest value of each window, NaN if there is one; `chosen` = the number of its tap.

    `is_rectified`: y is relu of that.
    """
    image = sizes[0] * sizes[1] * sizes[2] * channels
    whole = channels // LANES * LANES
    zero, none = x.dtype.type(0), sizes[3] * sizes[4] * sizes[5]
    nothing, nowhere = splat(zero), splat(x.dtype.type(none))
    target = 0
    for start in range(0, x.size, image):
        for out_d in range(sizes[15]):
            low_d, high_d = _bounds(sizes, 0, out_d)
            for out_h in range(sizes[16]):
                low_h, high_h = _bounds(sizes, 1, out_h)
                for out_w in range(sizes[17]):
                    low_w, high_w = _bounds(sizes, 2, out_w)
                    corner = start + ((low_d * sizes[1] + low_h) * sizes[2] + low_w) * channels
                    for c in range(0, whole, LANES):
                        best = load(x, corner + c)
                        taken, number = nothing, 0
                        for d in range(low_d, high_d):
                            for h in range(low_h, high_h):
                                line = start + (d * sizes[1] + h) * sizes[2] * channels + c
                                for w in range(low_w, high_w):
                                    value = load(x, line + w * channels)
                                    taken = where_above(value, best, splat(x.dtype.type(number)), taken)
                                    best = larger(best, value)
                                    number += 1
                        store_whole(chosen, target + c, where_equal(best, best, taken, nowhere))
                        if is_rectified != 0:
                            best = not_below(best, nothing)
                        store(y, target + c, best)
                    for c in range(whole, channels):
                        largest, kept, number = x[corner + c], 0, 0
                        for d in range(low_d, high_d):
                            for h in range(low_h, high_h):
                                line = start + (d * sizes[1] + h) * sizes[2] * channels + c
                                for w in range(low_w, high_w):
                                    one = x[line + w * channels]
                                    kept = number if one > largest else kept
                                    largest = one if (one > largest or one != one) else largest
                                    number += 1
                        chosen[target + c] = kept if largest == largest else none
                        y[target + c] = zero if is_rectified != 0 and largest < zero else largest
                    target += channels


@kernel
def max_pool_gradient(
    dy: Array, chosen: Array, sizes: Array, channels: int, is_apart: int, dx: Array
) -> None:
    """dx = dy at the tap of its window that was chosen, added up over windows.

    `is_apart`: 1 if no two windows meet, so that there is nothing to add; 2 if each value is in one window.
    """
    image = sizes[0] * sizes[1] * sizes[2] * channels
    whole = channels // LANES * LANES
    zero = dx.dtype.type(0)
    nothing = splat(zero)
    if is_apart < 2:
        for i in range(dx.size):
            dx[i] = zero
    source = 0
    for start in range(0, dx.size, image):
        for out_d in range(sizes[15]):
            low_d, high_d = _bounds(sizes, 0, out_d)
            for out_h in range(sizes[16]):
                low_h, high_h = _bounds(sizes, 1, out_h)
                for out_w in range(sizes[17]):
                    low_w, high_w = _bounds(sizes, 2, out_w)
                    for c in range(0, whole, LANES):
                        given = load(dy, source + c)
                        taken, number = load_whole(chosen, source + c, given), 0
                        for d in range(low_d, high_d):
                            for h in range(low_h, high_h):
                                line = start + (d * sizes[1] + h) * sizes[2] * channels + c
                                for w in range(low_w, high_w):
                                    at = line + w * channels
                                    tap = splat(dx.dtype.type(number))
                                    part = where_equal(tap, taken, given, nothing)
                                    number += 1
                                    if is_apart == 0:
                                        part = load(dx, at) + part
                                    store(dx, at, part)
                    for c in range(whole, channels):
                        number = 0
                        for d in range(low_d, high_d):
                            for h in range(low_h, high_h):
                                line = start + (d * sizes[1] + h) * sizes[2] * channels + c
                                for w in range(low_w, high_w):
                                    at = line + w * channels
                                    share = dy[source + c] if number == chosen[source + c] else zero
                                    dx[at] = share if is_apart != 0 else dx[at] + share
                                    number += 1
                    source += channels


@kernel
def average_pool(x: Array, sizes: Array, channels: int, is_mean: int, y: Array) -> None:
    """y = the sum of each window, divided by the number of its taps inside if `is_mean`."""
    image = sizes[0] * sizes[1] * sizes[2] * channels
    whole = channels // LANES * LANES
    zero = x.dtype.type(0)
    target = 0
    for start in range(0, x.size, image):
        for out_d in range(sizes[15]):
            low_d, high_d = _bounds(sizes, 0, out_d)
            for out_h in range(sizes[16]):
                low_h, high_h = _bounds(sizes, 1, out_h)
                for out_w in range(sizes[17]):
                    low_w, high_w = _bounds(sizes, 2, out_w)
                    for c in range(0, whole, LANES):
                        total = splat(zero)
                        for d in range(low_d, high_d):
                            for h in range(low_h, high_h):
                                line = start + (d * sizes[1] + h) * sizes[2] * channels + c
                                for w in range(low_w, high_w):
                                    total = total + load(x, line + w * channels)
                        store(y, target + c, total)
                    for c in range(whole, channels):
                        y[target + c] = zero
                        for d in range(low_d, high_d):
                            for h in range(low_h, high_h):
                                line = start + (d * sizes[1] + h) * sizes[2] * channels + c
                                for w in range(low_w, high_w):
                                    y[target + c] += x[line + w * channels]
                    if is_mean != 0:
                        count = x.dtype.type((high_d - low_d) * (high_h - low_h) * (high_w - low_w))
                        for c in range(channels):
                            y[target + c] = y[target + c] / count
                    target += channels


@kernel
def average_pool_gradient(dy: Array, sizes: Array, channels: int, is_mean: int, dx: Array) -> None:
    """dx = dy of the windows that read it, each divided as in `average_pool`, added up."""
    image = sizes[0] * sizes[1] * sizes[2] * channels
    whole = channels // LANES * LANES
    one = dy.dtype.type(1)
    for i in range(dx.size):
        dx[i] = 0
    source = 0
    for start in range(0, dx.size, image):
        for out_d in range(sizes[15]):
            low_d, high_d = _bounds(sizes, 0, out_d)
            for out_h in range(sizes[16]):
                low_h, high_h = _bounds(sizes, 1, out_h)
                for out_w in range(sizes[17]):
                    low_w, high_w = _bounds(sizes, 2, out_w)
                    count = (high_d - low_d) * (high_h - low_h) * (high_w - low_w)
                    share = one / dy.dtype.type(count) if is_mean != 0 else one
                    for c in range(0, whole, LANES):
                        part = load(dy, source + c) * splat(share)
                        for d in range(low_d, high_d):
                            for h in range(low_h, high_h):
                                line = start + (d * sizes[1] + h) * sizes[2] * channels + c
                                for w in range(low_w, high_w):
                                    place = line + w * channels
                                    store(dx, place, load(dx, place) + part)
                    for c in range(whole, channels):
                        rest = dy[source + c] * share
                        for d in range(low_d, high_d):
                            for h in range(low_h, high_h):
                                line = start + (d * sizes[1] + h) * sizes[2] * channels + c
                                for w in range(low_w, high_w):
                                    dx[line + w * channels] += rest
                    source += channels
