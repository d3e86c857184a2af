"""Gradients of the convolutions of `patches`, by input and by weights; with its plans.

A value of dx is a sum in the order of the windows that read it, so its bits depend on no other image. dw is
summed over GRAIN windows at a time, and these sums are added in order.
"""

from __future__ import annotations

from distnn.kernels.instructions import LANES
from distnn.kernels.jit import Array, inlined, kernel
from distnn.kernels.masked_lanes import add_lanes, clear_lanes, put_lanes
from distnn.kernels.panels import transpose_in
from distnn.kernels.patches import (
    BEFORE_D,
    BEFORE_H,
    BEFORE_W,
    BLOCK,
    CHANNELS,
    CHOSEN,
    FILTERS,
    GATHER,
    GROUPS,
    IMAGES,
    IN_D,
    IN_H,
    IN_W,
    IS_BY_TAP,
    KERNEL_D,
    KERNEL_H,
    KERNEL_W,
    LINES,
    OUT_D,
    OUT_H,
    OUT_W,
    PART,
    POOL_H,
    POOL_W,
    SLACK,
    STEP_D,
    STEP_H,
    STEP_W,
    STRIDE_D,
    STRIDE_H,
    STRIDE_W,
    TILES,
    UNPOOL,
    WORK,
    W,
    X,
    Y,
    pack_rows,
)
from distnn.kernels.pooled_lanes import choose_lanes
from distnn.kernels.shared_code import call_at
from distnn.kernels.tiles import PANEL

GRAIN = 256
"""Windows whose part of a weight gradient is one chain."""
RESULT_ROWS = 48
"""Rows of a weight gradient that are summed aside before they are added."""


@inlined
def _pack_columns(source: int, column: int, columns: int, count: int, panel: int) -> None:
    """The same where it is columns that lie side by side, `column` bytes apart."""
    for k in range(0, count, LANES):
        for first in range(0, PANEL, LANES):
            place = panel + 4 * (k * PANEL + first)
            corner = source + 4 * k + first * column
            transpose_in(corner, column, columns - first, count - k, place, 4 * PANEL)


@inlined
def _scatter(plan: Array, group: int, first: int, count: int, source: int, row: int) -> None:
    """Add patches of `count` windows from `first` on to what lies where they were read."""
    channels, pixel_floats = plan[CHANNELS] // plan[GROUPS], plan[CHANNELS]
    in_d_size, in_h_size, in_w_size = plan[IN_D], plan[IN_H], plan[IN_W]
    out_d_size, out_h_size, out_w_size = plan[OUT_D], plan[OUT_H], plan[OUT_W]
    kernel_d, kernel_h, kernel_w = plan[KERNEL_D], plan[KERNEL_H], plan[KERNEL_W]
    target_base, step_w = plan[X] + 4 * group * channels, plan[STEP_W]
    run = kernel_w if step_w == 1 and plan[GROUPS] == 1 else 1
    for p in range(count):
        w = (first + p) % out_w_size
        h = (first + p) // out_w_size % out_h_size
        d = (first + p) // (out_w_size * out_h_size) % out_d_size
        n = (first + p) // (out_w_size * out_h_size * out_d_size)
        for line in range(kernel_d * kernel_h):
            in_d = d * plan[STRIDE_D] + line // kernel_h * plan[STEP_D] - plan[BEFORE_D]
            in_h = h * plan[STRIDE_H] + line % kernel_h * plan[STEP_H] - plan[BEFORE_H]
            if not (0 <= in_d < in_d_size and 0 <= in_h < in_h_size):
                continue
            image_line = ((n * in_d_size + in_d) * in_h_size + in_h) * in_w_size
            for tap in range(0, kernel_w, run):
                in_w = w * plan[STRIDE_W] + tap * step_w - plan[BEFORE_W]
                low, high = max(0, -in_w), min(run, in_w_size - in_w)
                target = target_base + 4 * (image_line + in_w + low) * pixel_floats
                start = source + p * row + 4 * ((line * kernel_w + tap + low) * channels)
                floats = (high - low) * channels
                for i in range(0, floats, LANES):
                    add_lanes(start + 4 * i, floats - i, target + 4 * i)


@kernel
def unpool_windows(
    plan: Array, column: int, columns: int, width: int, first: int, count: int, target: int
) -> None:
    """dy of `count` windows from that of their pooled ones, in rows of `width`; zeros beyond `columns`."""
    out_w, out_h, pool_w, pool_h = plan[OUT_W], plan[OUT_H], plan[POOL_W], plan[POOL_H]
    filters, source, chosen = plan[FILTERS], plan[Y] + 4 * column, plan[CHOSEN] + column
    w, h, n = first % out_w, first // out_w % out_h, first // (out_w * out_h)
    for _ in range(count):
        i, j = h // 2, w // 2
        left = columns * (i < pool_h and j < pool_w)
        place = ((n * pool_h + i) * pool_w + j) * filters
        for c in range(0, width, LANES):
            at = place + c
            choose_lanes(source + 4 * at, chosen + at, h % 2 * 2 + w % 2, left - c, target + 4 * c)
        target += 4 * width
        w += 1
        if w == out_w:
            w = 0
            h += 1
            if h == out_h:
                h = 0
                n += 1


@kernel
def convolve_patches_input_gradient(plan: Array) -> None:
    """dx (in X) from dy (in Y) and w."""
    inner = plan[KERNEL_D] * plan[KERNEL_H] * plan[KERNEL_W] * (plan[CHANNELS] // plan[GROUPS])
    filters = plan[FILTERS] // plan[GROUPS]
    windows = plan[IMAGES] * plan[OUT_D] * plan[OUT_H] * plan[OUT_W]
    row = 4 * (inner + SLACK)
    depth = -(-filters // LANES) * LANES
    panels = plan[WORK]
    patches = panels + 4 * depth * (-(-inner // PANEL) * PANEL)
    given = patches + plan[BLOCK] * row + 4 * SLACK
    floats = plan[IMAGES] * plan[IN_D] * plan[IN_H] * plan[IN_W] * plan[CHANNELS]
    for i in range(0, floats, LANES):
        clear_lanes(plan[X] + 4 * i, floats - i, plan[X] + 4 * i)
    for group in range(plan[GROUPS]):
        for n in range(0, inner, PANEL):
            corner = plan[W] + 4 * (n * plan[FILTERS] + group * filters)
            _pack_columns(corner, 4 * plan[FILTERS], inner - n, filters, panels + 4 * n * depth)
        for first in range(0, windows, plan[BLOCK]):
            count = min(plan[BLOCK], windows - first)
            dy, dy_row = plan[Y] + 4 * (first * plan[FILTERS] + group * filters), 4 * plan[FILTERS]
            if plan[CHOSEN] != 0:
                call_at(plan[UNPOOL], (plan, group * filters, filters, depth, first, count, given))
                dy, dy_row = given, 4 * depth
            for n in range(0, inner, PANEL):
                panel = panels + 4 * n * depth
                call_at(
                    plan[TILES],
                    (
                        dy,
                        dy_row,
                        4,
                        panel,
                        4 * PANEL,
                        patches + 4 * n,
                        row,
                        count,
                        inner - n,
                        filters,
                    ),
                )
            _scatter(plan, group, first, count, patches, row)


@kernel
def convolve_patches_weight_gradient(plan: Array) -> None:
    """dw (in W) from x and dy (in Y)."""
    channels = plan[CHANNELS] // plan[GROUPS]
    filters = plan[PART]
    windows = plan[IMAGES] * plan[OUT_D] * plan[OUT_H] * plan[OUT_W]
    line_floats = plan[KERNEL_W] * channels
    row, step = 4 * (plan[LINES] * line_floats + SLACK), 4
    gathered = row
    if plan[IS_BY_TAP] != 0:
        row, step = 4, 4 * (GRAIN + SLACK)
        gathered = step
    lines = plan[KERNEL_D] * plan[KERNEL_H]
    result = plan[WORK]
    panels = result + 4 * RESULT_ROWS * PANEL
    patches = panels + 4 * GRAIN * (-(-filters // PANEL) * PANEL)
    for group in range(plan[GROUPS]):
        for first in range(0, windows, GRAIN):
            count = min(GRAIN, windows - first)
            for n in range(0, filters, PANEL):
                column, panel = group * filters + n, panels + 4 * n * GRAIN
                if plan[CHOSEN] != 0:
                    call_at(plan[UNPOOL], (plan, column, filters - n, PANEL, first, count, panel))
                    continue
                corner = plan[Y] + 4 * (first * plan[FILTERS] + column)
                pack_rows(corner, 4 * plan[FILTERS], filters - n, count, panel)
            for line in range(0, lines, plan[LINES]):
                stop = min(lines, line + plan[LINES])
                call_at(plan[GATHER], (plan, group, first, count, line, stop, patches, gathered))
                inner = (stop - line) * line_floats
                for n in range(0, filters, PANEL):
                    panel = panels + 4 * n * GRAIN
                    for k in range(0, inner, RESULT_ROWS):
                        rows = min(RESULT_ROWS, inner - k)
                        call_at(
                            plan[TILES],
                            (
                                patches + k * step,
                                step,
                                row,
                                panel,
                                4 * PANEL,
                                result,
                                4 * PANEL,
                                rows,
                                filters - n,
                                count,
                            ),
                        )
                        corner = plan[W] + 4 * (group * filters + n)
                        for r in range(rows):
                            target = corner + 4 * (line * line_floats + k + r) * plan[FILTERS]
                            for i in range(0, PANEL, LANES):
                                part, left = result + 4 * (r * PANEL + i), filters - n - i
                                if left > 0:
                                    if first == 0:
                                        put_lanes(part, left, target + 4 * i)
                                    else:
                                        add_lanes(part, left, target + 4 * i)
