"""The one place for convolutions: ops bind them here, and the way to compute each is chosen by its sizes.

float32 goes through the register tiles; float64 (gradient checks) and CPUs without tiles take NumPy's
reference, as products do. The choice depends on sizes only, so bits depend on neither CPU nor batch.
Letters as in `convolution_reference`.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numba.core import types

from distnn.kernels import activations, patches, winograd
from distnn.kernels import convolution_reference as reference
from distnn.kernels.jit import Array
from distnn.kernels.products import products_kind, products_threads
from distnn.kernels.shared_code import address_of
from distnn.kernels.shared_tile import multiply_panel
from distnn.kernels.tape import Tape
from distnn.kernels.team import run_together
from distnn.kernels.windows import Windows
from distnn.kernels.winograd_transforms import TILE

Call = Callable[[], object]
Kernel = Callable[[Array], None]

_WIDEST_PANEL = 32
_MIN_PART_FLOPS = 4_000_000
"""A thread is not woken for less."""
_BLOCK_FLOATS, _GRAIN_FLOATS = 32 * 1024, 64 * 1024
_WINOGRAD_CHANNELS, _WINOGRAD_FLOATS, _WINOGRAD_GAIN = 16, 256 * 1024, 2.0


@dataclass(frozen=True, eq=False)
class Finish:
    """What is done to each value of a convolution at last: a bias added, then relu."""

    bias: Array
    is_rectified: bool


@functools.cache
def _no_bias(filters: int) -> Array:
    """What leaves every value as it is, -0 too."""
    return np.full(filters, -0.0, np.float32)


def _bits(value: float) -> int:
    """Of a float32."""
    return int(np.float32(value).view(np.int32))


def _rounded(size: int, grain: int = _WIDEST_PANEL) -> int:
    return -(-size // grain) * grain


def _inner(windows: Windows, channels: int, groups: int) -> int:
    return windows.taps * (channels // groups)


def _block(inner: int) -> int:
    """Windows whose patches are multiplied at a time."""
    return max(8, min(256, _BLOCK_FLOATS // (inner + patches.SLACK) // 8 * 8))


def _lines(windows: Windows, channels: int, groups: int) -> int:
    """Lines of taps that a weight gradient takes at a time."""
    line = windows.kernel[2] * (channels // groups) * patches.GRAIN
    return max(1, min(windows.kernel[0] * windows.kernel[1], _GRAIN_FLOATS // line))


def _patches_floats(windows: Windows, channels: int, filters: int, groups: int) -> int:
    inner = _inner(windows, channels, groups)
    filters_of_group = _rounded(filters // groups)
    block = _block(inner) * (inner + patches.SLACK) + patches.SLACK
    forward = _rounded(inner) * filters_of_group + block
    line = _lines(windows, channels, groups) * windows.kernel[2] * (channels // groups)
    weights = patches.RESULT_ROWS * _WIDEST_PANEL + patches.GRAIN * (filters_of_group + line + patches.SLACK)
    return max(forward, weights + patches.SLACK)


def _tiles(windows: Windows) -> int:
    """Tiles of Winograd's in an image."""
    return math.prod(-(-size // TILE) for size in windows.outputs[1:])


def _fits_winograd(windows: Windows, channels: int, filters: int, groups: int) -> bool:
    """Whether it can be used, and saves enough in spite of tiles that stand out."""
    is_plain = windows.kernel == (1, 3, 3) and windows.strides == windows.dilation == (1, 1, 1)
    are_multiples = channels % _WINOGRAD_CHANNELS == filters % _WINOGRAD_CHANNELS == 0
    if not is_plain or not are_multiples or groups > 1 or windows.inputs[0] > 1 or max(windows.before) > 2:
        return False
    sizes = zip(windows.inputs, windows.before, windows.outputs, strict=True)
    if any(size + before > made + 2 for size, before, made in sizes):
        return False
    return 9 * windows.places >= _WINOGRAD_GAIN * winograd.PLANES * _tiles(windows)


def _winograd_block(channels: int, filters: int) -> int:
    """Tiles that are multiplied at a time."""
    return max(32, _WINOGRAD_FLOATS // (winograd.PLANES * (channels + filters)) // 8 * 8)


def _winograd_floats(windows: Windows, channels: int, filters: int) -> int:
    block = _winograd_block(channels, filters)
    kernels = _rounded(filters) * channels + _rounded(channels) * filters
    planes = winograd.PLANES * (kernels + block * (channels + filters) + 4 * winograd.GAP)
    height, width = (TILE * -(-size // TILE) for size in windows.outputs[1:])
    frames = 2 * (height + 2) * (width + 2) * channels + height * width * filters
    return planes + frames + max(9 * channels * filters, winograd.RESULT_ROWS * _WIDEST_PANEL)


def workspace_floats(windows: Windows, channels: int, filters: int, groups: int) -> int:
    """Floats of scratch memory that any of the kernels needs, whatever the number of images."""
    if _fits_winograd(windows, channels, filters, groups):
        return _winograd_floats(windows, channels, filters)
    return _patches_floats(windows, channels, filters, groups)


def _make_plan(
    x: Array, w: Array, y: Array, scratch: Array, windows: Windows, filters: int, groups: int
) -> Array:
    """For patches; w and y may be a part of the `filters`."""
    channels = x.shape[-1]
    head = _head(x, w, y, scratch)
    part = y.shape[-1] // groups
    block, lines = _block(_inner(windows, channels, groups)), _lines(windows, channels, groups)
    gather = address_of(patches.gather_patches, (types.int64[::1], *(types.int64,) * 7))
    numbers = (*head, gather, groups, channels, filters, part, block, lines)
    both = (*windows.inputs, *windows.kernel, *windows.outputs)
    steps = (*windows.strides, *windows.dilation, *windows.before)
    return np.array((*numbers, *both, *steps, 0, 0), np.int64)


def _make_winograd_plan(
    x: Array,
    w: Array,
    y: Array,
    scratch: Array,
    windows: Windows,
    filters: int,
    dx: Array | None = None,
    dw: Array | None = None,
) -> Array:
    channels = x.shape[-1]
    sizes = (*windows.inputs[1:], *windows.outputs[1:], *windows.before[1:])
    block = _winograd_block(channels, filters)
    frame = address_of(winograd.frame_image, (types.int64,) * 10)
    numbers = (
        *_head(x, w, y, scratch),
        frame,
        channels,
        filters,
        y.shape[-1],
        block,
        *sizes,
        *(0 if made is None else made.ctypes.data for made in (dx, dw)),
        _no_bias(filters).ctypes.data,
        _bits(-math.inf),
        address_of(winograd.transform_images, (types.int64[::1], *(types.int64,) * 4)),
        address_of(winograd.transform_weights, (types.int64,) * 5),
        -1,
    )
    return np.array(numbers, np.int64)


def _head(x: Array, w: Array, y: Array, scratch: Array) -> tuple[int, ...]:
    """The words with which all plans begin."""
    tiles = address_of(multiply_panel, (types.int64,) * 10)
    return (*(array.ctypes.data for array in (x, w, y, scratch)), tiles, len(x))


def _parts(count: int, grain: int, flops: int) -> list[slice]:
    """[0, count) as slices for threads."""
    threads = min(products_threads(), flops // _MIN_PART_FLOPS, count // grain)
    bounds = [count * i // (max(1, threads) * grain) * grain for i in range(max(1, threads))] + [count]
    return [slice(start, stop) for start, stop in itertools.pairwise(bounds)]


def _bind(kernel: Kernel, plans: Sequence[Array], *arrays: Array | Finish | None) -> Call:
    call = partial(kernel, plans[0])
    if len(plans) > 1:
        call = partial(run_together, kernel, plans)
    vars(call)["operands"] = arrays  # a plan holds addresses: the arrays must live as long
    return call


def _has_tiles(*arrays: Array) -> bool:
    return products_kind() == "tiles" and all(array.dtype == np.float32 for array in arrays)


def _copies(scratch: Array, count: int) -> list[Array]:
    """Scratch memory for so many threads."""
    return [scratch, *(np.empty_like(scratch) for _ in range(count - 1))]


def _finished_reference(call: Call, y: Array, finish: Finish | None) -> Call:
    if finish is None:
        return call
    rows = y.reshape(-1, y.shape[-1])
    kernel = activations.bias_relu if finish.is_rectified else activations.bias_add
    return Tape([call, partial(kernel, rows, finish.bias, rows)])


def bind_convolution(
    x: Array,
    w: Array,
    y: Array,
    scratch: Array,
    windows: Windows,
    groups: int = 1,
    finish: Finish | None = None,
) -> Call:
    """A call without arguments that writes the convolution of x with w, and what finishes it, to y."""
    if not _has_tiles(x, w, y):
        return _finished_reference(partial(reference.convolve, x, w, y, windows, groups), y, finish)
    parts = _parts(len(x), 1, 2 * y[..., :1].size * w.size)
    works = _copies(scratch, len(parts))
    if _fits_winograd(windows, x.shape[-1], y.shape[-1], groups):
        plans = [
            _make_winograd_plan(x[part], w, y[part], work, windows, y.shape[-1])
            for part, work in zip(parts, works, strict=True)
        ]
        if finish is not None:
            for plan in plans:
                plan[winograd.BIAS] = finish.bias.ctypes.data
                plan[winograd.FLOOR] = _bits(0.0 if finish.is_rectified else -math.inf)
        return _bind(winograd.convolve_winograd, plans, x, w, y, finish, *works)
    plans = [
        _make_plan(x[part], w, y[part], work, windows, y.shape[-1], groups)
        for part, work in zip(parts, works, strict=True)
    ]
    if finish is not None:
        for plan in plans:
            plan[patches.BIAS], plan[patches.IS_RECTIFIED] = finish.bias.ctypes.data, finish.is_rectified
    return _bind(patches.convolve_patches, plans, x, w, y, finish, *works)


def bind_input_gradient(
    dy: Array, w: Array, dx: Array, scratch: Array, windows: Windows, groups: int = 1
) -> Call:
    """A call without arguments that writes the gradient with respect to x to dx."""
    if not _has_tiles(dy, w, dx):
        return partial(reference.convolve_input_gradient, dy, w, dx, windows, groups)
    parts = _parts(len(dy), 1, 2 * dy[..., :1].size * w.size)
    works = _copies(scratch, len(parts))
    if _fits_winograd(windows, dx.shape[-1], dy.shape[-1], groups):
        plans = [
            _make_winograd_plan(dx[part], w, dy[part], work, windows, dy.shape[-1], dx=dx[part])
            for part, work in zip(parts, works, strict=True)
        ]
        return _bind(winograd.convolve_winograd_gradients, plans, dx, w, dy, *works)
    plans = [
        _make_plan(dx[part], w, dy[part], work, windows, dy.shape[-1], groups)
        for part, work in zip(parts, works, strict=True)
    ]
    return _bind(patches.convolve_patches_input_gradient, plans, dx, w, dy, *works)


def bind_weight_gradient(
    x: Array, dy: Array, dw: Array, scratch: Array, windows: Windows, groups: int = 1
) -> Call:
    """A call without arguments that writes the gradient with respect to w to dw."""
    if not _has_tiles(x, dy, dw):
        return partial(reference.convolve_weight_gradient, x, dy, dw, windows, groups)
    filters = dy.shape[-1]
    # Threads take filters each: the windows are one sum.
    flops = 2 * dy[..., :1].size * dw.size if groups == 1 else 0
    parts = _parts(filters, _WINOGRAD_CHANNELS, flops)
    works = _copies(scratch, len(parts))
    pieces = [(dw[..., part], dy[..., part], work) for part, work in zip(parts, works, strict=True)]
    if _fits_winograd(windows, x.shape[-1], filters, groups):
        plans = [_make_winograd_plan(x, *piece, windows, filters, dw=piece[0]) for piece in pieces]
        return _bind(winograd.convolve_winograd_gradients, plans, x, dw, dy, *works)
    plans = [_make_plan(x, *piece, windows, filters, groups) for piece in pieces]
    return _bind(patches.convolve_patches_weight_gradient, plans, x, dw, dy, *works)


def bind_gradients(
    x: Array, w: Array, dy: Array, dx: Array, dw: Array, scratch: Array, windows: Windows, groups: int = 1
) -> Call:
    """A call without arguments that writes both gradients, and shares what both need."""
    filters = dy.shape[-1]
    if not _has_tiles(x, dy) or products_threads() > 1 or not _fits_winograd(windows, x.shape[-1], filters, groups):
        by_input = bind_input_gradient(dy, w, dx, scratch, windows, groups)
        return Tape([by_input, bind_weight_gradient(x, dy, dw, scratch, windows, groups)])
    plan = _make_winograd_plan(x, w, dy, scratch, windows, filters, dx, dw)
    return _bind(winograd.convolve_winograd_gradients, [plan], x, w, dy, dx, dw, scratch)
