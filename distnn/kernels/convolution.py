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
from dataclasses import dataclass
from functools import partial

import numpy as np
from numba.core import types

from distnn.kernels import activations, patch_gradients, patches, pooling, winograd
from distnn.kernels import convolution_reference as reference
from distnn.kernels.jit import Array
from distnn.kernels.products import products_kind, products_threads
from distnn.kernels.shared_code import address_of
from distnn.kernels.shared_tile import multiply_panel
from distnn.kernels.tape import Tape
from distnn.kernels.team import run_together
from distnn.kernels.windows import Windows, make_windows
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

    @property
    def floor(self) -> int:
        """The bits of the float that no value is below."""
        return _bits(0.0 if self.is_rectified else -math.inf)


def pooling_of(windows: Windows) -> Windows | None:
    """The max pooling that a convolution of these windows can be bound with, if there is one."""
    if windows.outputs[0] > 1 or min(windows.outputs[1:]) < 2:
        return None
    return make_windows(windows.outputs[1:], (2, 2), (2, 2), (1, 1), "valid")


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
    line = windows.kernel[2] * (channels // groups) * patch_gradients.GRAIN
    return max(1, min(windows.kernel[0] * windows.kernel[1], _GRAIN_FLOATS // line))


def _patches_floats(windows: Windows, channels: int, filters: int, groups: int) -> int:
    inner = _inner(windows, channels, groups)
    filters_of_group = _rounded(filters // groups)
    block = _block(inner) * inner + max(_block(inner), inner) * patches.SLACK + patches.SLACK
    two_rows = 2 * windows.outputs[2] * (filters // groups) + patches.SLACK
    given = _block(inner) * filters_of_group
    forward = _rounded(inner) * filters_of_group + block + max(two_rows, given)
    line = _lines(windows, channels, groups) * windows.kernel[2] * (channels // groups)
    taken = patch_gradients.GRAIN * line + max(patch_gradients.GRAIN, line) * patches.SLACK
    weights = patch_gradients.RESULT_ROWS * _WIDEST_PANEL + patch_gradients.GRAIN * filters_of_group + taken
    return max(forward, weights + patches.SLACK)


def _is_by_tap(windows: Windows, channels: int) -> bool:
    return channels == 1 and windows.strides[2] == 1


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


_ONE_PLAN = types.int64[::1]


def _address(kernel: Callable[..., object], integers: int, plans: int = 1) -> int:
    """Of a kernel that takes a plan, if so, and so many integers."""
    return address_of(kernel, (_ONE_PLAN,) * plans + (types.int64,) * integers)


def _make_plan(
    x: Array,
    w: Array,
    y: Array,
    scratch: Array,
    windows: Windows,
    filters: int,
    groups: int,
    chosen: Array | None = None,
    finish: Finish | None = None,
) -> Array:
    """For patches; w and y may be a part of the `filters`."""
    channels = x.shape[-1]
    head = _head(x, w, y, scratch)
    part = y.shape[-1] // groups
    block, lines = _block(_inner(windows, channels, groups)), _lines(windows, channels, groups)
    is_by_tap = _is_by_tap(windows, channels)
    gather = _address(patches.gather_taps if is_by_tap else patches.gather_patches, 7)
    numbers = (*head, gather, groups, channels, filters, part, block, lines)
    both = (*windows.inputs, *windows.kernel, *windows.outputs)
    steps = (*windows.strides, *windows.dilation, *windows.before)
    plan = np.array((*numbers, *both, *steps, *(0,) * (patches.WORDS - patches.BIAS)), np.int64)
    plan[patches.IS_BY_TAP] = is_by_tap
    if finish is not None:
        plan[patches.BIAS], plan[patches.FLOOR] = finish.bias.ctypes.data, finish.floor
    if chosen is not None:
        plan[patches.CHOSEN : patches.POOL_W + 1] = chosen.ctypes.data, *chosen.shape[2:4]
        plan[patches.UNPOOL] = _address(patch_gradients.unpool_windows, 6) if finish is None else 0
    return plan


def _make_winograd_plan(
    x: Array,
    w: Array,
    y: Array,
    scratch: Array,
    windows: Windows,
    filters: int,
    dx: Array | None = None,
    dw: Array | None = None,
    chosen: Array | None = None,
    finish: Finish | None = None,
) -> Array:
    plan = np.zeros(winograd.WORDS, np.int64)
    channels = x.shape[-1]
    block = _winograd_block(channels, filters)
    numbers = _address(winograd.frame_image, 10, plans=0), channels, filters, y.shape[-1], block
    sizes = (*windows.inputs[1:], *windows.outputs[1:], *windows.before[1:])
    plan[: winograd.DX] = *_head(x, w, y, scratch), *numbers, *sizes
    plan[winograd.DX : winograd.DW + 1] = [0 if made is None else made.ctypes.data for made in (dx, dw)]
    bias, floor = (_no_bias(filters), _bits(-math.inf)) if finish is None else (finish.bias, finish.floor)
    plan[winograd.BIAS], plan[winograd.FLOOR] = bias.ctypes.data, floor
    plan[winograd.TO_PLANES] = _address(winograd.transform_images, 4)
    plan[winograd.OF_WEIGHTS] = _address(winograd.transform_weights, 5, plans=0)
    is_gradient = dx is not None or dw is not None
    if chosen is not None:
        plan[winograd.CHOSEN : winograd.POOL_W + 1] = chosen.ctypes.data, *chosen.shape[2:4]
        kernel = (winograd.frame_pooled_gradient, 2) if is_gradient else (winograd.pool_tiles, 3)
        plan[winograd.POOL] = _address(*kernel)
    return plan


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


def _finished_reference(
    call: Call, made: Array, y: Array, windows: Windows, finish: Finish | None, chosen: Array | None
) -> Call:
    """The call, which leaves the convolution in `made`, and what comes after it."""
    if finish is None:
        return call
    rows = made.reshape(-1, made.shape[-1])
    if chosen is None:
        kernel = activations.bias_relu if finish.is_rectified else activations.bias_add
        return Tape([call, partial(kernel, rows, finish.bias, rows)])
    pool = pooling_of(windows)
    assert pool is not None
    settings = np.array(pool.sizes, np.int64), y.shape[-1], int(finish.is_rectified)
    places = made.reshape(-1), *settings, y.reshape(-1), chosen.reshape(-1)
    return Tape(
        [call, partial(activations.bias_add, rows, finish.bias, rows), partial(pooling.max_pool, *places)]
    )


def _unpooled(dy: Array, chosen: Array | None, windows: Windows) -> tuple[Array, list[Call]]:
    """dy before the pooling, for the reference, and what makes it."""
    if chosen is None:
        return dy, []
    pool = pooling_of(windows)
    assert pool is not None
    made = np.empty((len(dy), *windows.outputs, dy.shape[-1]), dy.dtype)
    arrays = dy.reshape(-1), chosen.reshape(-1), np.array(pool.sizes, np.int64)
    return made, [partial(pooling.max_pool_gradient, *arrays, dy.shape[-1], pool.apartness, made.reshape(-1))]


def bind_convolution(
    x: Array,
    w: Array,
    y: Array,
    scratch: Array,
    windows: Windows,
    groups: int = 1,
    finish: Finish | None = None,
    chosen: Array | None = None,
) -> Call:
    """A call without arguments that writes the convolution of x with w, and what finishes it, to y.

    With `chosen`, y is pooled by `pooling_of(windows)` between bias and relu, and the numbers of the taps are
    written there (uint8); it needs a `finish`.
    """
    if not _has_tiles(x, w, y):
        made = y if chosen is None else np.empty((len(x), *windows.outputs, y.shape[-1]), y.dtype)
        call = partial(reference.convolve, x, w, made, windows, groups)
        return _finished_reference(call, made, y, windows, finish, chosen)
    parts = _parts(len(x), 1, 2 * len(x) * windows.places * w.size)
    works = _copies(scratch, len(parts))
    filters = y.shape[-1]
    pieces = [
        ((x[part], w, y[part], work, windows, filters), None if chosen is None else chosen[part])
        for part, work in zip(parts, works, strict=True)
    ]
    if _fits_winograd(windows, x.shape[-1], filters, groups):
        plans = [_make_winograd_plan(*piece, chosen=taps, finish=finish) for piece, taps in pieces]
        return _bind(winograd.convolve_winograd, plans, x, w, y, chosen, finish, *works)
    plans = [_make_plan(*piece, groups, taps, finish) for piece, taps in pieces]
    kernel = patches.convolve_patches if chosen is None else patches.convolve_and_pool_patches
    return _bind(kernel, plans, x, w, y, chosen, finish, *works)


def bind_input_gradient(
    dy: Array,
    w: Array,
    dx: Array,
    scratch: Array,
    windows: Windows,
    groups: int = 1,
    chosen: Array | None = None,
) -> Call:
    """A call without arguments that writes the gradient with respect to x to dx.

    With `chosen`, dy is that of the pooled convolution.
    """
    if not _has_tiles(dy, w, dx):
        made, calls = _unpooled(dy, chosen, windows)
        return Tape([*calls, partial(reference.convolve_input_gradient, made, w, dx, windows, groups)])
    parts = _parts(len(dy), 1, 2 * len(dy) * windows.places * w.size)
    works = _copies(scratch, len(parts))
    filters = dy.shape[-1]
    pieces = [
        ((dx[part], w, dy[part], work, windows, filters), None if chosen is None else chosen[part])
        for part, work in zip(parts, works, strict=True)
    ]
    if _fits_winograd(windows, dx.shape[-1], filters, groups):
        plans = [_make_winograd_plan(*piece, dx=piece[0], chosen=taps) for piece, taps in pieces]
        return _bind(winograd.convolve_winograd_gradients, plans, dx, w, dy, chosen, *works)
    plans = [_make_plan(*piece, groups, taps) for piece, taps in pieces]
    return _bind(patch_gradients.convolve_patches_input_gradient, plans, dx, w, dy, chosen, *works)


def bind_weight_gradient(
    x: Array,
    dy: Array,
    dw: Array,
    scratch: Array,
    windows: Windows,
    groups: int = 1,
    chosen: Array | None = None,
) -> Call:
    """A call without arguments that writes the gradient with respect to w to dw.

    With `chosen`, dy is that of the pooled convolution.
    """
    if not _has_tiles(x, dy, dw):
        made, calls = _unpooled(dy, chosen, windows)
        return Tape([*calls, partial(reference.convolve_weight_gradient, x, made, dw, windows, groups)])
    filters = dy.shape[-1]
    # Threads take filters each: the windows are one sum.
    flops = 2 * len(dy) * windows.places * dw.size if groups == 1 else 0
    parts = _parts(filters, _WINOGRAD_CHANNELS, flops)
    works = _copies(scratch, len(parts))
    pieces = [
        (
            (x, dw[..., part], dy[..., part], work, windows, filters),
            None if chosen is None else chosen[..., part],
        )
        for part, work in zip(parts, works, strict=True)
    ]
    if _fits_winograd(windows, x.shape[-1], filters, groups):
        plans = [_make_winograd_plan(*piece, dw=piece[1], chosen=taps) for piece, taps in pieces]
        return _bind(winograd.convolve_winograd_gradients, plans, x, dw, dy, chosen, *works)
    plans = [_make_plan(*piece, groups, taps) for piece, taps in pieces]
    return _bind(patch_gradients.convolve_patches_weight_gradient, plans, x, dw, dy, chosen, *works)


def bind_gradients(
    x: Array,
    w: Array,
    dy: Array,
    dx: Array,
    dw: Array,
    scratch: Array,
    windows: Windows,
    groups: int = 1,
    chosen: Array | None = None,
) -> Call:
    """A call without arguments that writes both gradients, and shares what both need."""
    filters = dy.shape[-1]
    is_joint = _has_tiles(x, dy) and products_threads() == 1
    if not is_joint or not _fits_winograd(windows, x.shape[-1], filters, groups):
        by_input = bind_input_gradient(dy, w, dx, scratch, windows, groups, chosen)
        return Tape([by_input, bind_weight_gradient(x, dy, dw, scratch, windows, groups, chosen)])
    plan = _make_winograd_plan(x, w, dy, scratch, windows, filters, dx, dw, chosen)
    return _bind(winograd.convolve_winograd_gradients, [plan], x, w, dy, dx, dw, chosen, scratch)
