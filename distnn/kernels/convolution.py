"""The one place for convolutions: ops bind them here, and the way to compute each is chosen by its sizes.

float32 goes through the register tiles; float64 (gradient checks) and CPUs without tiles take NumPy's
reference, as products do. The choice depends on sizes only, so bits depend on neither CPU nor batch.
Letters as in `convolution_reference`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from distnn.kernels import convolution_reference as reference
from distnn.kernels import patches
from distnn.kernels.jit import Array
from distnn.kernels.products import products_kind
from distnn.kernels.windows import Windows

Call = Callable[[], object]

_WIDEST_PANEL, _MOST_TILE_ROWS = 32, 8
_BLOCK_FLOATS, _GRAIN_FLOATS = 32 * 1024, 64 * 1024


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


def workspace_floats(windows: Windows, channels: int, filters: int, groups: int) -> int:
    """Floats of scratch memory that any of the three kernels needs, whatever the number of images."""
    inner = _inner(windows, channels, groups)
    filters_of_group = _rounded(filters // groups)
    block = _block(inner) * (inner + patches.SLACK) + patches.SLACK
    forward = _rounded(inner) * filters_of_group + block
    line = _lines(windows, channels, groups) * windows.kernel[2] * (channels // groups)
    weights = (_MOST_TILE_ROWS * _WIDEST_PANEL) + patches.GRAIN * (filters_of_group + line + patches.SLACK)
    return max(forward, weights + patches.SLACK)


def _make_plan(x: Array, w: Array, y: Array, workspace: Array, windows: Windows, groups: int) -> Array:
    plan = np.zeros(patches.WORDS, np.int64)
    addresses = [array.ctypes.data for array in (x, w, y, workspace)]
    inner = _inner(windows, x.shape[-1], groups)
    plan[: patches.IN_D] = (
        *addresses,
        len(x),
        groups,
        x.shape[-1],
        y.shape[-1],
        _block(inner),
        _lines(windows, x.shape[-1], groups),
    )
    plan[patches.IN_D :] = (
        *windows.inputs,
        *windows.kernel,
        *windows.outputs,
        *windows.strides,
        *windows.dilation,
        *windows.before,
    )
    return plan


def _bind(
    kernel: Callable[[Array], None],
    x: Array,
    w: Array,
    y: Array,
    workspace: Array,
    windows: Windows,
    groups: int,
) -> Call:
    call = partial(kernel, _make_plan(x, w, y, workspace, windows, groups))
    vars(call)["operands"] = (x, w, y, workspace)  # a plan holds addresses: the arrays must live as long
    return call


def _has_tiles(*arrays: Array) -> bool:
    return products_kind() == "tiles" and all(array.dtype == np.float32 for array in arrays)


def bind_convolution(
    x: Array, w: Array, y: Array, workspace: Array, windows: Windows, groups: int = 1
) -> Call:
    """A call without arguments that writes the convolution of x with w to y."""
    if not _has_tiles(x, w, y):
        return partial(reference.convolve, x, w, y, windows, groups)
    return _bind(patches.convolve_patches, x, w, y, workspace, windows, groups)


def bind_input_gradient(
    dy: Array, w: Array, dx: Array, workspace: Array, windows: Windows, groups: int = 1
) -> Call:
    """A call without arguments that writes the gradient with respect to x to dx."""
    if not _has_tiles(dy, w, dx):
        return partial(reference.convolve_input_gradient, dy, w, dx, windows, groups)
    return _bind(patches.convolve_patches_input_gradient, dx, w, dy, workspace, windows, groups)


def bind_weight_gradient(
    x: Array, dy: Array, dw: Array, workspace: Array, windows: Windows, groups: int = 1
) -> Call:
    """A call without arguments that writes the gradient with respect to w to dw."""
    if not _has_tiles(x, dy, dw):
        return partial(reference.convolve_weight_gradient, x, dy, dw, windows, groups)
    return _bind(patches.convolve_patches_weight_gradient, x, dw, dy, workspace, windows, groups)
