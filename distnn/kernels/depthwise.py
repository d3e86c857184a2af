"""Depthwise convolution: each channel by itself, with a few filters of its own.

Arrays are flat: x images [D, H, W, C] behind each other, w [KD, KH, KW, C, M], y [OD, OH, OW, C * M], where
filter m of channel c makes channel c * M + m. `sizes` as in `Windows.sizes`. A value of y is one chain over
its window; dw is summed by image, and these sums are added in order.
"""

from __future__ import annotations

from distnn.kernels.jit import Array, helper, kernel


@helper
def _input_of(sizes: Array, axis: int, place: int, tap: int) -> int:
    """What the window at `place` reads at `tap` along an axis, or -1 where it is outside."""
    found: int = place * sizes[6 + axis] + tap * sizes[9 + axis] - sizes[12 + axis]
    return found if 0 <= found < sizes[axis] else -1


@kernel
def depthwise(x: Array, w: Array, sizes: Array, channels: int, filters: int, y: Array) -> None:
    """y from x and w; `filters` is M."""
    image, made = sizes[0] * sizes[1] * sizes[2] * channels, channels * filters
    target = 0
    for start in range(0, x.size, image):
        for place in range(sizes[15] * sizes[16] * sizes[17]):
            out_h, out_w = place // sizes[17] % sizes[16], place % sizes[17]
            out_d = place // (sizes[16] * sizes[17])
            for c in range(made):
                y[target + c] = 0
            for tap in range(sizes[3] * sizes[4] * sizes[5]):
                d = _input_of(sizes, 0, out_d, tap // (sizes[4] * sizes[5]))
                h = _input_of(sizes, 1, out_h, tap // sizes[5] % sizes[4])
                v = _input_of(sizes, 2, out_w, tap % sizes[5])
                if d < 0 or h < 0 or v < 0:
                    continue
                source = start + ((d * sizes[1] + h) * sizes[2] + v) * channels
                weights = tap * made
                if filters == 1:
                    for c in range(channels):
                        y[target + c] += x[source + c] * w[weights + c]
                else:
                    for c in range(channels):
                        for m in range(filters):
                            y[target + c * filters + m] += x[source + c] * w[weights + c * filters + m]
            target += made


@kernel
def depthwise_input_gradient(
    dy: Array, w: Array, sizes: Array, channels: int, filters: int, dx: Array
) -> None:
    """dx from dy and w, in the order of the windows."""
    image, made = sizes[0] * sizes[1] * sizes[2] * channels, channels * filters
    for i in range(dx.size):
        dx[i] = 0
    source = 0
    for start in range(0, dx.size, image):
        for place in range(sizes[15] * sizes[16] * sizes[17]):
            out_h, out_w = place // sizes[17] % sizes[16], place % sizes[17]
            out_d = place // (sizes[16] * sizes[17])
            for tap in range(sizes[3] * sizes[4] * sizes[5]):
                d = _input_of(sizes, 0, out_d, tap // (sizes[4] * sizes[5]))
                h = _input_of(sizes, 1, out_h, tap // sizes[5] % sizes[4])
                v = _input_of(sizes, 2, out_w, tap % sizes[5])
                if d < 0 or h < 0 or v < 0:
                    continue
                target = start + ((d * sizes[1] + h) * sizes[2] + v) * channels
                weights = tap * made
                if filters == 1:
                    for c in range(channels):
                        dx[target + c] += dy[source + c] * w[weights + c]
                else:
                    for c in range(channels):
                        for m in range(filters):
                            dx[target + c] += dy[source + c * filters + m] * w[weights + c * filters + m]
            source += made


@kernel
def depthwise_weight_gradient(
    x: Array, dy: Array, sizes: Array, channels: int, filters: int, of_image: Array, dw: Array
) -> None:
    """dw from x and dy; `of_image` is memory of dw's size."""
    image, made = sizes[0] * sizes[1] * sizes[2] * channels, channels * filters
    for i in range(dw.size):
        dw[i] = 0
    source = 0
    for start in range(0, x.size, image):
        for i in range(dw.size):
            of_image[i] = 0
        for place in range(sizes[15] * sizes[16] * sizes[17]):
            out_h, out_w = place // sizes[17] % sizes[16], place % sizes[17]
            out_d = place // (sizes[16] * sizes[17])
            for tap in range(sizes[3] * sizes[4] * sizes[5]):
                d = _input_of(sizes, 0, out_d, tap // (sizes[4] * sizes[5]))
                h = _input_of(sizes, 1, out_h, tap // sizes[5] % sizes[4])
                v = _input_of(sizes, 2, out_w, tap % sizes[5])
                if d < 0 or h < 0 or v < 0:
                    continue
                at = start + ((d * sizes[1] + h) * sizes[2] + v) * channels
                weights = tap * made
                if filters == 1:
                    for c in range(channels):
                        of_image[weights + c] += x[at + c] * dy[source + c]
                else:
                    for c in range(channels):
                        for m in range(filters):
                            i = c * filters + m
                            of_image[weights + i] += x[at + c] * dy[source + i]
            source += made
        for i in range(dw.size):
            dw[i] += of_image[i]
