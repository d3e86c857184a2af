"""3 x 3 convolutions of stride 1 by Winograd's F(4x4, 3x3): a quarter of the multiplications.

The 4 x 4 tiles of all images stand in one list and are taken in blocks: their inputs transformed into 36
planes, one product per plane with the transformed kernels, the results transformed back. Images are copied
into a frame of zeros, so that no tile needs care at the edges; outputs beyond the image are left out. An
output's bits depend on its tile alone. Gradients are the same steps transposed, on the tiles of the outputs:
an input's adds up over the tiles that read it, in their order; that of the weights is summed over the tiles
of a block, and the blocks are added in order. Channels and filters are multiples of 16.
`winograd_transforms` has the algebra, `convolution.py` makes the plans.
"""

from __future__ import annotations

from distnn.kernels.instructions import LANES
from distnn.kernels.jit import Array, inlined, kernel
from distnn.kernels.masked_lanes import add_lanes, clear_lanes
from distnn.kernels.panels import copy_lanes, transpose_in
from distnn.kernels.pooled_lanes import choose_lanes
from distnn.kernels.shared_code import call_at
from distnn.kernels.tiles import PANEL
from distnn.kernels.winograd_transforms import (
    SIDE,
    TILE,
    add_input_gradients,
    pool_outputs,
    transform_inputs,
    transform_kernel_gradients,
    transform_kernels,
    transform_output_gradients,
    transform_outputs,
)

# The words of a plan. X is read and Y made; gradients read both. W is [3, 3, CHANNELS, FILTERS].
# DX and DW are made, each unless it is 0. PART of the filters have their weights' gradient computed, from the
# first that DW and Y point to; with DX it is all of them.
# TILES, FRAME, TO_PLANES, OF_WEIGHTS and POOL are addresses of compiled functions (see `shared_code`).
X, W, Y, WORK, TILES, IMAGES, FRAME, CHANNELS, FILTERS, PART, BLOCK, IN_H, IN_W, OUT_H, OUT_W = range(15)
BEFORE_H, BEFORE_W, DX, DW, BIAS, FLOOR, TO_PLANES, OF_WEIGHTS, FRAMED = range(15, 24)
CHOSEN, POOL_H, POOL_W, POOL, WORDS = range(24, 29)
# At last the values at BIAS are added to Y, and what is below FLOOR (the bits of a float) becomes that.
# FRAMED is the kernels' own: the image that is in the frame.
# Where Y is pooled 2 x 2 it is [N, POOL_H, POOL_W, FILTERS], and CHOSEN has the numbers of the taps.
PLANES = SIDE * SIDE
RESULT_ROWS = 48
"""Rows of a weight gradient's plane that are summed aside before they are added."""
GAP = 16
"""Floats between planes, so that they fall into different sets of the cache."""


@kernel
def frame_image(
    source: int,
    height: int,
    width: int,
    channels: int,
    pixel_floats: int,
    above: int,
    left: int,
    rows: int,
    row: int,
    target: int,
) -> None:
    """`channels` of an image inside a frame of `rows` x `row` pixels, zeros around it."""
    for i in range(rows):
        line = target + 4 * i * row * channels
        is_inside = 0 <= i - above < height
        for j in range(row):
            is_read = is_inside and 0 <= j - left < width
            pixel = source + 4 * ((i - above) * width + j - left) * pixel_floats
            for c in range(0, channels, LANES):
                copy_lanes(pixel + 4 * c, LANES * is_read, line + 4 * (j * channels + c))


@inlined
def _turn_kernels(plan: Array, target: int) -> None:
    """[3, 3, channels, filters] as [3, 3, filters, channels]."""
    channels, filters = plan[CHANNELS], plan[FILTERS]
    for tap in range(9):
        for c in range(0, channels, LANES):
            for f in range(0, filters, LANES):
                corner = plan[W] + 4 * ((tap * channels + c) * filters + f)
                place = target + 4 * ((tap * filters + f) * channels + c)
                transpose_in(corner, 4 * filters, LANES, LANES, place, 4 * channels)


@kernel
def transform_weights(taps: int, channels: int, filters: int, target: int, plane: int) -> None:
    """U of [3, 3, channels, filters], in panels of filters."""
    tap = 4 * channels * filters
    for c in range(channels):
        for f in range(0, filters, LANES):
            place = target + 4 * ((f // PANEL * channels + c) * PANEL + f % PANEL)
            transform_kernels(taps + 4 * (c * filters + f), 3 * tap, tap, place, SIDE * plane, plane)


@kernel
def transform_images(plan: Array, first: int, count: int, frame: int, target: int) -> None:
    """V of a block of tiles."""
    channels = plan[CHANNELS]
    down, across = -(-plan[OUT_H] // TILE), -(-plan[OUT_W] // TILE)
    rows, row = TILE * down + 2, TILE * across + 2
    plane = 4 * (plan[BLOCK] * channels + GAP)
    for t in range(count):
        image = (first + t) // (down * across)
        i, j = (first + t) // across % down * TILE, (first + t) % across * TILE
        if image != plan[FRAMED]:
            source = plan[X] + 4 * image * plan[IN_H] * plan[IN_W] * channels
            sizes = plan[IN_H], plan[IN_W], channels, channels, plan[BEFORE_H], plan[BEFORE_W]
            call_at(plan[FRAME], (source, *sizes, rows, row, frame))
            plan[FRAMED] = image
        corner, line = frame + 4 * (i * row + j) * channels, 4 * row * channels
        for c in range(0, channels, LANES):
            place = target + 4 * (t * channels + c)
            transform_inputs(corner + 4 * c, line, 4 * channels, place, SIDE * plane, plane)


@inlined
def _multiply_planes(
    plan: Array, count: int, channels: int, filters: int, kernels: int, inputs: int, outputs: int
) -> None:
    """M = V @ U, plane by plane."""
    kernel_plane = 4 * (-(-filters // PANEL) * PANEL * channels + GAP)
    for plane in range(PLANES):
        a = inputs + plane * 4 * (plan[BLOCK] * channels + GAP)
        c = outputs + plane * 4 * (plan[BLOCK] * filters + GAP)
        for f in range(0, filters, PANEL):
            b = kernels + plane * kernel_plane + 4 * f * channels
            left = 4 * channels, 4, b, 4 * PANEL
            call_at(plan[TILES], (a, *left, c + 4 * f, 4 * filters, count, filters - f, channels))


@inlined
def _place_outputs(plan: Array, first: int, count: int, outputs: int, small: int) -> None:
    """The block's tiles of Y; those that stand out are made aside, and what is inside is copied."""
    filters = plan[FILTERS]
    down, across = -(-plan[OUT_H] // TILE), -(-plan[OUT_W] // TILE)
    plane = 4 * (plan[BLOCK] * filters + GAP)
    for t in range(count):
        image = (first + t) // (down * across)
        i, j = (first + t) // across % down * TILE, (first + t) % across * TILE
        rows, columns = min(TILE, plan[OUT_H] - i), min(TILE, plan[OUT_W] - j)
        corner = plan[Y] + 4 * ((image * plan[OUT_H] + i) * plan[OUT_W] + j) * filters
        is_whole = rows == TILE and columns == TILE
        for f in range(0, filters, LANES):
            target, row, column = small, 4 * TILE * LANES, 4 * LANES
            if is_whole:
                target, row, column = corner + 4 * f, 4 * plan[OUT_W] * filters, 4 * filters
            source = outputs + 4 * (t * filters + f)
            bias = plan[BIAS] + 4 * f
            transform_outputs(source, SIDE * plane, plane, target, row, column, bias, plan[FLOOR])
            if not is_whole:
                for y in range(rows):
                    for x in range(columns):
                        place = corner + 4 * ((y * plan[OUT_W] + x) * filters + f)
                        copy_lanes(small + 4 * (y * TILE + x) * LANES, LANES, place)


@kernel
def pool_tiles(plan: Array, first: int, count: int, outputs: int) -> None:
    """The block's tiles of Y where that is pooled."""
    filters, pool_h, pool_w = plan[FILTERS], plan[POOL_H], plan[POOL_W]
    down, across = -(-plan[OUT_H] // TILE), -(-plan[OUT_W] // TILE)
    plane = 4 * (plan[BLOCK] * filters + GAP)
    row, column = 4 * pool_w * filters, 4 * filters
    for t in range(count):
        image = (first + t) // (down * across)
        i, j = (first + t) // across % down * (TILE // 2), (first + t) % across * (TILE // 2)
        place = ((image * pool_h + i) * pool_w + j) * filters
        for f in range(0, filters, LANES):
            source, target = outputs + 4 * (t * filters + f), plan[Y] + 4 * (place + f)
            finish = plan[BIAS] + 4 * f, plan[FLOOR], plan[CHOSEN] + place + f, pool_h - i, pool_w - j
            pool_outputs(source, SIDE * plane, plane, target, row, column, *finish)


@kernel
def frame_pooled_gradient(plan: Array, image: int, target: int) -> None:
    """dy of an image inside of whole tiles, where Y is pooled: it is at the tap that was chosen."""
    filters, made, pool_h, pool_w = plan[PART], plan[FILTERS], plan[POOL_H], plan[POOL_W]
    rows, row = TILE * -(-plan[OUT_H] // TILE), TILE * -(-plan[OUT_W] // TILE)
    source, chosen = plan[Y], plan[CHOSEN]
    for i in range(rows):
        for j in range(row):
            left = LANES * (i // 2 < pool_h and j // 2 < pool_w)
            place = ((image * pool_h + i // 2) * pool_w + j // 2) * made
            tap = i % 2 * 2 + j % 2
            for f in range(0, filters, LANES):
                choose_lanes(source + 4 * (place + f), chosen + place + f, tap, left, target)
                target += 4 * LANES


@kernel
def convolve_winograd(plan: Array) -> None:
    """Y from X and W."""
    channels, filters = plan[CHANNELS], plan[FILTERS]
    down, across = -(-plan[OUT_H] // TILE), -(-plan[OUT_W] // TILE)
    tiles = plan[IMAGES] * down * across
    kernel_plane = 4 * (-(-filters // PANEL) * PANEL * channels + GAP)
    kernels = plan[WORK]
    inputs = kernels + PLANES * kernel_plane
    outputs = inputs + PLANES * 4 * (plan[BLOCK] * channels + GAP)
    frame = outputs + PLANES * 4 * (plan[BLOCK] * filters + GAP)
    small = frame + 4 * (TILE * down + 2) * (TILE * across + 2) * channels
    call_at(plan[OF_WEIGHTS], (plan[W], channels, filters, kernels, kernel_plane))
    plan[FRAMED] = -1
    for first in range(0, tiles, plan[BLOCK]):
        count = min(plan[BLOCK], tiles - first)
        call_at(plan[TO_PLANES], (plan, first, count, frame, inputs))
        _multiply_planes(plan, count, channels, filters, kernels, inputs, outputs)
        if plan[CHOSEN] != 0:
            call_at(plan[POOL], (plan, first, count, outputs))
        else:
            _place_outputs(plan, first, count, outputs, small)


@inlined
def _transform_output_gradients(
    plan: Array, first: int, count: int, framed: int, frame: int, target: int
) -> int:
    """dM of a block of tiles; returns the image that is in the frame afterwards."""
    filters, made = plan[PART], plan[FILTERS]
    down, across = -(-plan[OUT_H] // TILE), -(-plan[OUT_W] // TILE)
    row = TILE * across
    plane = 4 * (plan[BLOCK] * filters + GAP)
    for t in range(count):
        image = (first + t) // (down * across)
        i, j = (first + t) // across % down * TILE, (first + t) % across * TILE
        if image != framed:
            if plan[CHOSEN] != 0:
                call_at(plan[POOL], (plan, image, frame))
            else:
                source = plan[Y] + 4 * image * plan[OUT_H] * plan[OUT_W] * made
                sizes = plan[OUT_H], plan[OUT_W], filters, made, 0, 0
                call_at(plan[FRAME], (source, *sizes, TILE * down, row, frame))
            framed = image
        corner, line = frame + 4 * (i * row + j) * filters, 4 * row * filters
        for f in range(0, filters, LANES):
            place = target + 4 * (t * filters + f)
            transform_output_gradients(corner + 4 * f, line, 4 * filters, place, SIDE * plane, plane)
    return framed


@inlined
def _sum_planes(
    plan: Array, is_first: bool, count: int, kernels: int, inputs: int, outputs: int, small: int
) -> None:
    """dU (+)= V^T @ dM, plane by plane; all but the first block are summed aside and added."""
    channels, filters = plan[CHANNELS], plan[PART]
    for plane in range(PLANES):
        a = inputs + plane * 4 * (plan[BLOCK] * channels + GAP)
        for f in range(0, filters, PANEL):
            b = outputs + plane * 4 * (plan[BLOCK] * filters + GAP) + 4 * f
            for c in range(0, channels, RESULT_ROWS):
                rows = min(RESULT_ROWS, channels - c)
                target = kernels + 4 * (plane * (channels * filters + GAP) + c * filters + f)
                place, row = small, 4 * PANEL
                if is_first:
                    place, row = target, 4 * filters
                left = a + 4 * c, 4, 4 * channels, b, 4 * filters
                call_at(plan[TILES], (*left, place, row, rows, filters - f, count))
                if not is_first:
                    for r in range(rows):
                        for i in range(0, min(PANEL, filters - f), LANES):
                            part = small + 4 * (r * PANEL + i)
                            add_lanes(part, LANES, target + 4 * (r * filters + i))


@inlined
def _add_input_gradients(plan: Array, first: int, count: int, inputs: int, frame: int) -> None:
    """The block's tiles added up in the frame of their image; one that is complete goes to DX."""
    channels = plan[CHANNELS]
    down, across = -(-plan[OUT_H] // TILE), -(-plan[OUT_W] // TILE)
    rows, row = TILE * down + 2, TILE * across + 2
    plane, line = 4 * (plan[BLOCK] * channels + GAP), 4 * row * channels
    for t in range(count):
        image, tile = (first + t) // (down * across), (first + t) % (down * across)
        if tile == 0:
            for i in range(0, rows * line, 4 * LANES):
                clear_lanes(frame + i, LANES, frame + i)
        corner = frame + (tile // across * row + tile % across) * TILE * 4 * channels
        for c in range(0, channels, LANES):
            source = inputs + 4 * (t * channels + c)
            add_input_gradients(source, SIDE * plane, plane, corner + 4 * c, line, 4 * channels)
        if tile == down * across - 1:
            for i in range(plan[IN_H]):
                source = frame + (i + plan[BEFORE_H]) * line + 4 * plan[BEFORE_W] * channels
                target = plan[DX] + 4 * (image * plan[IN_H] + i) * plan[IN_W] * channels
                for c in range(0, 4 * plan[IN_W] * channels, 4 * LANES):
                    copy_lanes(source + c, LANES, target + c)


@kernel
def convolve_winograd_gradients(plan: Array) -> None:
    """The gradients by x (to DX) and w (to DW), from x, w and dy (in Y); only those that are wanted."""
    channels, filters, made = plan[CHANNELS], plan[PART], plan[FILTERS]
    down, across = -(-plan[OUT_H] // TILE), -(-plan[OUT_W] // TILE)
    tiles = plan[IMAGES] * down * across
    sum_plane = 4 * (channels * filters + GAP)
    turned_plane = 4 * (-(-channels // PANEL) * PANEL * filters + GAP)
    sums = plan[WORK]
    turned = sums + PLANES * sum_plane
    inputs = turned + PLANES * turned_plane
    outputs = inputs + PLANES * 4 * (plan[BLOCK] * channels + GAP)
    frame = outputs + PLANES * 4 * (plan[BLOCK] * filters + GAP)
    frame_dx = frame + 4 * (TILE * down + 2) * (TILE * across + 2) * channels
    frame_dy = frame_dx + 4 * (TILE * down + 2) * (TILE * across + 2) * channels
    small = frame_dy + 4 * TILE * TILE * down * across * filters
    if plan[DX] != 0:
        _turn_kernels(plan, small)
        call_at(plan[OF_WEIGHTS], (small, filters, channels, turned, turned_plane))
    plan[FRAMED], framed_dy = -1, -1
    for first in range(0, tiles, plan[BLOCK]):
        count = min(plan[BLOCK], tiles - first)
        framed_dy = _transform_output_gradients(plan, first, count, framed_dy, frame_dy, outputs)
        if plan[DW] != 0:
            call_at(plan[TO_PLANES], (plan, first, count, frame, inputs))
            _sum_planes(plan, first == 0, count, sums, inputs, outputs, small)
        if plan[DX] != 0:
            _multiply_planes(plan, count, filters, channels, turned, outputs, inputs)
            _add_input_gradients(plan, first, count, inputs, frame_dx)
    if plan[DW] != 0:
        tap = 4 * channels * made
        for c in range(channels):
            for f in range(0, filters, LANES):
                source, place = sums + 4 * (c * filters + f), plan[DW] + 4 * (c * made + f)
                transform_kernel_gradients(source, SIDE * sum_plane, sum_plane, place, 3 * tap, tap)
