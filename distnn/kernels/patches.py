"""Convolutions of every kind as products of patches: what a window reads, as a row, times the weights.

Right for any stride, dilation, padding and group. Patches of a block of windows are copied into scratch
memory that stays in the cache, and go through the register tiles of `tiles.py`. A value of y is one chain
over its window, so its bits depend on no other image. `convolution.py` makes the plans: addresses and sizes
as one array of integers; `patch_gradients.py` has the gradients.
"""

from __future__ import annotations

from distnn.kernels.instructions import LANES
from distnn.kernels.jit import Array, inlined, kernel
from distnn.kernels.masked_lanes import finish_lanes
from distnn.kernels.panels import copy_lanes
from distnn.kernels.pooled_lanes import pool_lanes
from distnn.kernels.shared_code import call_at
from distnn.kernels.tiles import PANEL

# The words of a plan. Sizes in elements; X is [N, D, H, W, C], W [KD, KH, KW, C / groups, O], Y [..., O].
# TILES and GATHER are addresses of compiled functions (see `shared_code`).
# PART of a group's filters have their weight gradient computed, from the first that W and Y point to.
X, W, Y, WORK, TILES, IMAGES, GATHER, GROUPS, CHANNELS, FILTERS, PART, BLOCK, LINES = range(13)
IN_D, IN_H, IN_W, KERNEL_D, KERNEL_H, KERNEL_W, OUT_D, OUT_H, OUT_W = range(13, 22)
STRIDE_D, STRIDE_H, STRIDE_W, STEP_D, STEP_H, STEP_W, BEFORE_D, BEFORE_H, BEFORE_W = range(22, 31)
BIAS, FLOOR, CHOSEN, POOL_H, POOL_W, UNPOOL, IS_BY_TAP, WORDS = range(31, 39)
# Unless BIAS is 0, the values there are added to Y, and what is below FLOOR (the bits of a float) becomes
# that.
# With IS_BY_TAP patches are gathered by `gather_taps`.
# Unless CHOSEN is 0, Y is [N, POOL_H, POOL_W, O], pooled 2 x 2, CHOSEN has the numbers of the taps, and
# UNPOOL is for gradients the address of a further function.
SLACK = 16
"""Floats that may be written beyond a patch, by a copy of whole registers."""


@inlined
def _copy(source: int, floats: int, target: int) -> None:
    """`floats` floats, and what comes after them in the last register."""
    for i in range(0, floats, LANES):
        copy_lanes(source + 4 * i, floats - i, target + 4 * i)


@inlined
def pack_rows(source: int, row: int, columns: int, count: int, panel: int) -> None:
    """`count` rows, `row` bytes apart, of PANEL columns; zeros beyond `columns`."""
    for k in range(count):
        for first in range(0, PANEL, LANES):
            copy_lanes(source + k * row + 4 * first, columns - first, panel + 4 * (k * PANEL + first))


@kernel
def gather_patches(
    plan: Array, group: int, first: int, count: int, line: int, stop: int, target: int, row: int
) -> None:
    """Patches of `count` windows from `first` on, lines [line, stop) of their taps, rows `row` bytes apart.

    A line is the taps along W; where they lie side by side it is one run of memory.
    """
    # Words are read once: after every store the compiler would read them again.
    channels, pixel = plan[CHANNELS] // plan[GROUPS], 4 * plan[CHANNELS]
    in_d_size, in_h_size, in_w_size = plan[IN_D], plan[IN_H], plan[IN_W]
    out_d_size, out_h_size, out_w_size = plan[OUT_D], plan[OUT_H], plan[OUT_W]
    kernel_h, kernel_w = plan[KERNEL_H], plan[KERNEL_W]
    stride_d, stride_h, stride_w = plan[STRIDE_D], plan[STRIDE_H], plan[STRIDE_W]
    before_w, step_w = plan[BEFORE_W], plan[STEP_W]
    run = kernel_w if step_w == 1 and plan[GROUPS] == 1 else 1
    is_short = run == kernel_w and run * channels <= LANES
    source = plan[X] + 4 * group * channels
    # Windows along W from `whole` up to `end` have all of their taps inside.
    whole = -(-before_w // stride_w)
    reach = (kernel_w - 1) * step_w
    end = (in_w_size - 1 - reach + before_w) // stride_w + 1
    begin_w = first % out_w_size
    begin_h = first // out_w_size % out_h_size
    begin_d = first // (out_w_size * out_h_size) % out_d_size
    begin_n = first // (out_w_size * out_h_size * out_d_size)
    for tap_line in range(line, stop):
        offset_d = tap_line // kernel_h * plan[STEP_D] - plan[BEFORE_D]
        offset_h = tap_line % kernel_h * plan[STEP_H] - plan[BEFORE_H]
        n, d, h, w = begin_n, begin_d, begin_h, begin_w
        place = target + 4 * (tap_line - line) * kernel_w * channels
        p = 0
        while p < count:
            # The windows that are left in this row of the image.
            in_d, in_h = d * stride_d + offset_d, h * stride_h + offset_h
            is_inside = 0 <= in_d < in_d_size and 0 <= in_h < in_h_size
            image_line = ((n * in_d_size + in_d) * in_h_size + in_h) * in_w_size
            last = min(out_w_size, w + count - p)
            window = w
            while window < last:
                in_w = window * stride_w - before_w
                start = source + (image_line + in_w) * pixel
                if is_inside and whole <= window < end:
                    stop_whole = min(last, end)
                    if is_short:
                        for _ in range(window, stop_whole):
                            copy_lanes(start, run * channels, place)
                            start += stride_w * pixel
                            place += row
                        window = stop_whole
                        continue
                    for tap in range(0, kernel_w, run):
                        from_tap = start + tap * step_w * pixel
                        _copy(from_tap, run * channels, place + 4 * tap * channels)
                else:
                    for tap in range(kernel_w):
                        at = place + 4 * tap * channels
                        from_tap = start + tap * step_w * pixel
                        is_read = is_inside and 0 <= in_w + tap * step_w < in_w_size
                        for i in range(0, channels, LANES):
                            copy_lanes(from_tap + 4 * i, (channels - i) * is_read, at + 4 * i)
                window += 1
                place += row
            p += last - w
            w = 0
            h += 1
            if h == out_h_size:
                h = 0
                d += 1
                if d == out_d_size:
                    d = 0
                    n += 1


@kernel
def gather_taps(
    plan: Array, group: int, first: int, count: int, line: int, stop: int, target: int, row: int
) -> None:
    """The same of images of one channel, windows one apart along W: rows for taps instead of windows.

    So what a tap reads for neighbouring windows is one run of memory.
    """
    in_d_size, in_h_size, in_w_size = plan[IN_D], plan[IN_H], plan[IN_W]
    out_d_size, out_h_size, out_w_size = plan[OUT_D], plan[OUT_H], plan[OUT_W]
    kernel_h, kernel_w = plan[KERNEL_H], plan[KERNEL_W]
    source, before_w, step_w = plan[X], plan[BEFORE_W], plan[STEP_W]
    for tap_line in range(line, stop):
        offset_d = tap_line // kernel_h * plan[STEP_D] - plan[BEFORE_D]
        offset_h = tap_line % kernel_h * plan[STEP_H] - plan[BEFORE_H]
        w, h = first % out_w_size, first // out_w_size % out_h_size
        d = first // (out_w_size * out_h_size) % out_d_size
        n = first // (out_w_size * out_h_size * out_d_size)
        place = target + (tap_line - line) * kernel_w * row
        p = 0
        while p < count:
            # The windows that are left in this row of the image.
            in_d, in_h = d * plan[STRIDE_D] + offset_d, h * plan[STRIDE_H] + offset_h
            is_inside = 0 <= in_d < in_d_size and 0 <= in_h < in_h_size
            image_line = source + 4 * ((n * in_d_size + in_d) * in_h_size + in_h) * in_w_size
            taken = min(out_w_size - w, count - p)
            for tap in range(kernel_w):
                in_w = w + tap * step_w - before_w
                low, high = min(taken, max(0, -in_w)), min(taken, in_w_size - in_w) * is_inside
                at = place + tap * row + 4 * p
                for i in range(0, low, LANES):
                    copy_lanes(at, 0, at + 4 * i)
                for i in range(low, taken, LANES):
                    copy_lanes(image_line + 4 * (in_w + i), high - i, at + 4 * i)
            p += taken
            w = 0
            h += 1
            if h == out_h_size:
                h = 0
                d += 1
                if d == out_d_size:
                    d = 0
                    n += 1


@inlined
def _finish(plan: Array, column: int, columns: int, first: int, count: int) -> None:
    """Bias and relu of `count` windows, while they are in the cache."""
    row, floor = 4 * plan[FILTERS], plan[FLOOR]
    corner, bias = plan[Y] + first * row + 4 * column, plan[BIAS] + 4 * column
    for p in range(count):
        for i in range(0, columns, LANES):
            finish_lanes(bias + 4 * i, columns - i, corner + p * row + 4 * i, floor)


@inlined
def _pool_windows(plan: Array, column: int, columns: int, band: int, made: int) -> None:
    """A row of pooled windows, from the two rows at `made`; bias and relu too."""
    across, filters, floor = plan[POOL_W], plan[FILTERS], plan[FLOOR]
    place = band * across * filters + column
    bias, target, chosen = plan[BIAS] + 4 * column, plan[Y] + 4 * place, plan[CHOSEN] + place
    row = 4 * columns
    down = plan[OUT_W] * row
    for j in range(across):
        for i in range(0, columns, LANES):
            at = j * filters + i
            corner = made + 2 * j * row + 4 * i
            pool_lanes(corner, row, down, bias + 4 * i, floor, columns - i, target + 4 * at, chosen + at)


@inlined
def _pack_weights(plan: Array, column: int, filters: int, inner: int) -> None:
    """The weights of `filters` from `column` on, in panels."""
    for n in range(0, filters, PANEL):
        corner = plan[W] + 4 * (column + n)
        pack_rows(corner, 4 * plan[FILTERS], filters - n, inner, plan[WORK] + 4 * n * inner)


@inlined
def _multiply_windows(
    plan: Array, group: int, first: int, count: int, filters: int, inner: int, made: int, made_row: int
) -> None:
    """The convolution of `count` windows from `first` on, to rows `made_row` bytes apart."""
    # Patches are rows of taps, or by tap.
    row, step = 4 * (inner + SLACK), 4
    gathered = row
    if plan[IS_BY_TAP] != 0:
        row, step = 4, 4 * (plan[BLOCK] + SLACK)
        gathered = step
    patches = plan[WORK] + 4 * inner * (-(-filters // PANEL) * PANEL)
    lines = plan[KERNEL_D] * plan[KERNEL_H]
    call_at(plan[GATHER], (plan, group, first, count, 0, lines, patches, gathered))
    for n in range(0, filters, PANEL):
        panel = plan[WORK] + 4 * n * inner
        place = made + 4 * n
        call_at(
            plan[TILES],
            (patches, row, step, panel, 4 * PANEL, place, made_row, count, filters - n, inner),
        )


@kernel
def convolve_patches(plan: Array) -> None:
    """y from x and w."""
    inner = plan[KERNEL_D] * plan[KERNEL_H] * plan[KERNEL_W] * (plan[CHANNELS] // plan[GROUPS])
    filters, y_row = plan[FILTERS] // plan[GROUPS], 4 * plan[FILTERS]
    windows = plan[IMAGES] * plan[OUT_D] * plan[OUT_H] * plan[OUT_W]
    for group in range(plan[GROUPS]):
        column = group * filters
        _pack_weights(plan, column, filters, inner)
        for first in range(0, windows, plan[BLOCK]):
            count = min(plan[BLOCK], windows - first)
            place = plan[Y] + first * y_row + 4 * column
            _multiply_windows(plan, group, first, count, filters, inner, place, y_row)
            if plan[BIAS] != 0:
                _finish(plan, column, filters, first, count)


@kernel
def convolve_and_pool_patches(plan: Array) -> None:
    """y, pooled, and the taps that were chosen, from x and w: two rows of windows at a time."""
    inner = plan[KERNEL_D] * plan[KERNEL_H] * plan[KERNEL_W] * (plan[CHANNELS] // plan[GROUPS])
    filters, block = plan[FILTERS] // plan[GROUPS], plan[BLOCK]
    patches = plan[WORK] + 4 * inner * (-(-filters // PANEL) * PANEL)
    made = patches + 4 * (inner * block + (max(inner, block) + 1) * SLACK)
    for group in range(plan[GROUPS]):
        column = group * filters
        _pack_weights(plan, column, filters, inner)
        for band in range(plan[IMAGES] * plan[POOL_H]):
            start = (band // plan[POOL_H] * plan[OUT_H] + band % plan[POOL_H] * 2) * plan[OUT_W]
            for first in range(0, 2 * plan[OUT_W], block):
                count = min(block, 2 * plan[OUT_W] - first)
                place = made + 4 * first * filters
                _multiply_windows(plan, group, start + first, count, filters, inner, place, 4 * filters)
            _pool_windows(plan, column, filters, band, made)
