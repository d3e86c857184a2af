"""Convolutions against naive twins for all strides, dilations, paddings and groups; exact where promised."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import naive_windows as naive
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from distnn.kernels import convolution, convolution_reference, patch_gradients, patches, shared_tile, winograd
from distnn.kernels.instructions import HAS_TILES
from distnn.kernels.products import product_settings
from distnn.kernels.windows import Windows, make_transposed_windows, make_windows

Array = np.ndarray[Any, np.dtype[Any]]
needs_tiles = pytest.mark.skipif(not HAS_TILES, reason="tiles need AVX2, FMA and the compiler")
GUARD = 64


@dataclass
class Problem:
    """Operands of one convolution, and what the kernels make of them."""

    windows: Windows
    x: Array
    w: Array
    dy: Array
    groups: int = 1

    @classmethod
    def random(
        cls, windows: Windows, images: int, channels: int, filters: int, groups: int = 1, dtype: Any = "f4"
    ) -> Problem:
        rng = np.random.default_rng([*windows.sizes, channels, filters])

        def draw(*shape: int) -> Array:
            return rng.normal(size=shape).astype(dtype)

        x, dy = draw(images, *windows.inputs, channels), draw(images, *windows.outputs, filters)
        return cls(windows, x, draw(*windows.kernel, channels // groups, filters), dy, groups)

    def run(self) -> tuple[Array, Array, Array]:
        """y, dx, dw; nothing around them, nor behind the scratch memory, may be touched."""
        size = convolution.workspace_floats(self.windows, self.x.shape[-1], self.dy.shape[-1], self.groups)
        whole = np.full(size + GUARD, np.nan, self.x.dtype)
        whole[size:] = 7
        scratch = whole[:size]
        y, dx, dw = (guarded(array) for array in (self.dy, self.x, self.w))
        convolution.bind_convolution(self.x, self.w, y, scratch, self.windows, self.groups)()
        convolution.bind_input_gradient(self.dy, self.w, dx, scratch, self.windows, self.groups)()
        convolution.bind_weight_gradient(self.x, self.dy, dw, scratch, self.windows, self.groups)()
        for array in (y, dx, dw):
            flat = array.base
            assert flat is not None
            assert (flat[:GUARD] == 7).all() and (flat[GUARD + array.size :] == 7).all()
        assert (whole[size:] == 7).all()
        return y, dx, dw

    def exact(self) -> tuple[Array, Array, Array]:
        """By NumPy, in float64."""
        x, w, dy = (array.astype(np.float64) for array in (self.x, self.w, self.dy))
        y, dx, dw = np.empty(dy.shape), np.empty(x.shape), np.empty(w.shape)
        convolution_reference.convolve(x, w, y, self.windows, self.groups)
        convolution_reference.convolve_input_gradient(dy, w, dx, self.windows, self.groups)
        convolution_reference.convolve_weight_gradient(x, dy, dw, self.windows, self.groups)
        return y, dx, dw

    def of_images(self, chosen: slice) -> Problem:
        return Problem(self.windows, self.x[chosen].copy(), self.w, self.dy[chosen].copy(), self.groups)


def guarded(like: Array) -> Array:
    """An array of NaN among sevens, at an odd place."""
    flat = np.full(like.size + 2 * GUARD, 7, like.dtype)
    flat[GUARD : GUARD + like.size] = np.nan
    return flat[GUARD : GUARD + like.size].reshape(like.shape)


def errors(found: tuple[Array, ...], exact: tuple[Array, ...]) -> list[float]:
    """The error of each, relative to the size of the values: root of mean squares."""
    return [
        float(np.sqrt(np.mean((a - b) ** 2)) / (np.sqrt(np.mean(b**2)) + 1e-30))
        for a, b in zip(found, exact, strict=True)
    ]


@st.composite
def all_windows(draw: Callable[..., Any]) -> Windows:
    rank = draw(st.integers(1, 3))
    sizes = [draw(st.integers(1, 7)) for _ in range(rank)]
    kernel = [draw(st.integers(1, 4)) for _ in range(rank)]
    strides = [draw(st.integers(1, 3)) for _ in range(rank)]
    dilation = [draw(st.integers(1, 3)) for _ in range(rank)]
    if draw(st.booleans()):
        padding = draw(st.sampled_from(["valid", "same", "causal"]))
        windows = make_windows(sizes, kernel, strides, dilation, padding)
    else:
        extra = draw(st.sampled_from([None, [0] * rank]))
        padding = draw(st.sampled_from(["valid", "same"]))
        windows = make_transposed_windows(sizes, kernel, strides, dilation, padding, extra)
    assume(min(windows.outputs) > 0 and min(windows.inputs) > 0)
    return windows


CHANNELS = st.sampled_from([(1, 1, 1), (1, 5, 1), (3, 33, 1), (17, 3, 1), (4, 6, 2), (3, 6, 3), (40, 2, 1)])


@given(windows=all_windows(), channels=CHANNELS)
@settings(max_examples=25)
def test_reference_is_the_naive_twin(windows: Windows, channels: tuple[int, int, int]) -> None:
    problem = Problem.random(windows, 2, *channels, dtype="f8")
    groups = problem.groups
    twins = (
        naive.convolution(problem.x, problem.w, windows, groups),
        naive.input_gradient(problem.dy, problem.w, windows, groups),
        naive.weight_gradient(problem.x, problem.dy, windows, groups),
    )
    for found, bound, twin in zip(problem.exact(), problem.run(), twins, strict=True):
        np.testing.assert_allclose(found, twin, rtol=1e-12, atol=1e-12)
        np.testing.assert_array_equal(bound, found, "float64 is bound to the reference")


@needs_tiles
@given(windows=all_windows(), channels=CHANNELS)
def test_patches_agree_with_the_reference(windows: Windows, channels: tuple[int, int, int]) -> None:
    problem = Problem.random(windows, 3, *channels)
    for found, exact in zip(problem.run(), problem.exact(), strict=True):
        np.testing.assert_allclose(found, exact, rtol=1e-4, atol=1e-4)


@needs_tiles
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(
    ("height", "width"), [(3, 4), (4, 4), (6, 3), (7, 7), (8, 11), (13, 13), (9, 16), (28, 28)]
)
@pytest.mark.parametrize(("channels", "filters"), [(16, 16), (32, 48), (48, 32)])
def test_tiles_of_winograd_meet_all_edges(
    height: int, width: int, padding: str, channels: int, filters: int
) -> None:
    windows = make_windows((height, width), (3, 3), (1, 1), (1, 1), padding)
    problem = Problem.random(windows, 3, channels, filters)
    for error in errors(problem.run(), problem.exact()):
        assert error < 3e-6


def same() -> Windows:
    return make_windows((32, 32), (3, 3), (1, 1), (1, 1), "same")


ACCURACY = [
    # windows, images, channels, filters, largest relative errors of y, dx and dw
    (same(), 8, 32, 32, (8e-7, 9e-7, 2e-6)),
    (make_windows((16, 16), (3, 3), (1, 1), (1, 1), "same"), 16, 64, 64, (1e-6, 1.2e-6, 2e-6)),
    (make_windows((8, 8), (3, 3), (1, 1), (1, 1), "same"), 32, 128, 128, (1.2e-6, 1.6e-6, 2e-6)),
    (same(), 8, 3, 32, (4e-7, 4e-7, 1e-6)),
    (make_windows((28, 28), (5, 5), (1, 1), (1, 1), "valid"), 8, 20, 24, (1e-6, 6e-7, 1e-6)),
]


@needs_tiles
@pytest.mark.parametrize(("windows", "images", "channels", "filters", "allowed"), ACCURACY)
def test_fast_kernels_are_accurate(
    windows: Windows, images: int, channels: int, filters: int, allowed: tuple[float, ...]
) -> None:
    problem = Problem.random(windows, images, channels, filters)
    found = errors(problem.run(), problem.exact())
    assert all(error < most for error, most in zip(found, allowed, strict=True)), found


SHAPES = [
    # by Winograd; by patches: of few channels, of strides, and in groups
    (make_windows((13, 11), (3, 3), (1, 1), (1, 1), "same"), 32, 16, 1),
    (make_windows((8, 8), (3, 3), (1, 1), (1, 1), "valid"), 64, 64, 1),
    (make_windows((13, 11), (3, 3), (1, 1), (1, 1), "same"), 3, 20, 1),
    (make_windows((5, 5), (3, 3), (2, 2), (1, 1), "same"), 40, 33, 1),
    (make_windows((9,), (3,), (1,), (2,), "causal"), 6, 8, 2),
]


@needs_tiles
@pytest.mark.parametrize(("windows", "channels", "filters", "groups"), SHAPES)
def test_an_image_has_the_same_bytes_in_any_batch(
    windows: Windows, channels: int, filters: int, groups: int
) -> None:
    problem = Problem.random(windows, 9, channels, filters, groups)
    y, dx, _ = problem.run()
    for start, stop in ((0, 1), (4, 5), (2, 9), (8, 9), (0, 7)):
        part_y, part_dx, _ = problem.of_images(slice(start, stop)).run()
        assert part_y.tobytes() == y[start:stop].tobytes()
        assert part_dx.tobytes() == dx[start:stop].tobytes()


@needs_tiles
@pytest.mark.parametrize(("windows", "channels", "filters", "groups"), SHAPES)
def test_a_second_run_leaves_the_same_bytes(
    windows: Windows, channels: int, filters: int, groups: int
) -> None:
    problem = Problem.random(windows, 9, channels, filters, groups)
    for first, second in zip(problem.run(), problem.run(), strict=True):
        assert first.tobytes() == second.tobytes()


@needs_tiles
@pytest.mark.parametrize(("windows", "channels", "filters", "groups"), SHAPES)
def test_threads_change_no_byte(
    windows: Windows, channels: int, filters: int, groups: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convolution, "_MIN_PART_FLOPS", 1000)
    problem = Problem.random(windows, 9, channels, filters, groups)
    alone = problem.run()
    for threads in (2, 3):
        with product_settings(threads=threads):
            for found, expected in zip(problem.run(), alone, strict=True):
                assert found.tobytes() == expected.tobytes()


@needs_tiles
def test_winograd_is_taken_where_it_saves() -> None:
    def kernel_for(size: int, channels: int, filters: int, kernel: int = 3, stride: int = 1) -> str:
        windows = make_windows((size, size), (kernel, kernel), (stride, stride), (1, 1), "same")
        problem = Problem.random(windows, 1, channels, filters)
        scratch = np.zeros(convolution.workspace_floats(windows, channels, filters, 1), "f4")
        call: Any = convolution.bind_convolution(problem.x, problem.w, problem.dy, scratch, windows)
        return str(call.func.__name__)

    assert kernel_for(8, 16, 32) == "convolve_winograd"
    for other in ((2, 16, 16), (8, 3, 32), (8, 16, 24), (8, 16, 16, 5), (8, 16, 16, 3, 2)):
        assert kernel_for(*other) == "convolve_patches", other


@needs_tiles
def test_nan_stays_in_the_windows_that_read_it() -> None:
    problem = Problem.random(make_windows((12, 12), (3, 3), (1, 1), (1, 1), "same"), 1, 3, 8)
    problem.x[0, 0, 5, 5, 1] = np.nan
    y = problem.run()[0]
    is_nan = np.isnan(y[0, 0]).any(axis=-1)
    assert is_nan[4:7, 4:7].all() and is_nan.sum() == 9


@needs_tiles
def test_blas_chosen_by_name_takes_the_reference() -> None:
    problem = Problem.random(make_windows((6, 6), (3, 3), (1, 1), (1, 1), "same"), 2, 16, 16)
    with product_settings(kind="blas"):
        found = problem.run()
    for a, b in zip(found, problem.exact(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@needs_tiles
def test_each_kernel_is_compiled_once() -> None:
    Problem.random(make_windows((6, 6), (3, 3), (1, 1), (1, 1), "same"), 2, 16, 16).run()
    Problem.random(make_windows((6,), (3,), (2,), (1,), "same"), 2, 2, 3).run()
    for windows, channels, filters, groups in POOLED:
        pooled_results(Problem.random(windows, 2, channels, filters, groups))
    for kernel in (
        patches.convolve_patches,
        patch_gradients.convolve_patches_input_gradient,
        patch_gradients.convolve_patches_weight_gradient,
        winograd.convolve_winograd,
        winograd.convolve_winograd_gradients,
        # what they share
        shared_tile.multiply_panel,
        patches.gather_patches,
        winograd.frame_image,
        winograd.transform_images,
        winograd.transform_weights,
        # where pooling is in them
        patches.convolve_and_pool_patches,
        patches.gather_taps,
        patch_gradients.unpool_windows,
        winograd.pool_tiles,
        winograd.frame_pooled_gradient,
    ):
        assert len(kernel.signatures) == 1  # type: ignore[attr-defined]


@needs_tiles
def test_an_image_lies_in_a_frame_of_zeros(rng: np.random.Generator) -> None:
    image = rng.normal(size=(3, 4, 32)).astype(np.float32)
    frame = np.full((6, 7, 16), 9, np.float32)
    winograd.frame_image(image.ctypes.data, 3, 4, 16, 32, 1, 2, 6, 7, frame.ctypes.data)
    expected = np.zeros_like(frame)
    expected[1:4, 2:6] = image[..., :16]
    np.testing.assert_array_equal(frame, expected)


@needs_tiles
def test_patches_are_what_windows_read(rng: np.random.Generator) -> None:
    """Windows of 2 x 3 over 4 x 5 x 3, stride 2 along W, a column of padding in front."""
    image = rng.normal(size=(2, 4, 5, 3)).astype(np.float32)
    plan = np.zeros(patches.WORDS, np.int64)
    plan[[patches.X, patches.GROUPS, patches.CHANNELS]] = image.ctypes.data, 1, 3
    plan[[patches.IN_D, patches.IN_H, patches.IN_W]] = 1, 4, 5
    plan[[patches.KERNEL_D, patches.KERNEL_H, patches.KERNEL_W]] = 1, 2, 3
    plan[[patches.OUT_D, patches.OUT_H, patches.OUT_W]] = 1, 3, 3
    plan[[patches.STRIDE_D, patches.STRIDE_H, patches.STRIDE_W]] = 1, 1, 2
    plan[[patches.STEP_D, patches.STEP_H, patches.STEP_W]] = 1, 1, 1
    plan[patches.BEFORE_W] = 1
    # A row has room for whole lanes behind it.
    found = np.zeros((18, 18 + 2 * 16), np.float32)
    patches.gather_patches(plan, 0, 0, 18, 0, 2, found.ctypes.data, found.strides[0])
    padded = np.pad(image, ((0, 0), (0, 0), (1, 1), (0, 0)))
    expected = [padded[n, h : h + 2, 2 * w : 2 * w + 3].ravel() for n, h, w in np.ndindex(2, 3, 3)]
    np.testing.assert_array_equal(found[:, :18], expected)


@needs_tiles
def test_taps_are_patches_the_other_way_round(rng: np.random.Generator) -> None:
    """Windows of 2 x 3 over 4 x 5, one channel, a column of padding on both sides."""
    image = rng.normal(size=(2, 4, 5)).astype(np.float32)
    plan = np.zeros(patches.WORDS, np.int64)
    plan[[patches.X, patches.GROUPS, patches.CHANNELS]] = image.ctypes.data, 1, 1
    plan[[patches.IN_D, patches.IN_H, patches.IN_W]] = 1, 4, 5
    plan[[patches.KERNEL_D, patches.KERNEL_H, patches.KERNEL_W]] = 1, 2, 3
    plan[[patches.OUT_D, patches.OUT_H, patches.OUT_W]] = 1, 3, 5
    plan[[patches.STRIDE_D, patches.STRIDE_H, patches.STRIDE_W]] = 1, 1, 1
    plan[[patches.STEP_D, patches.STEP_H, patches.STEP_W]] = 1, 1, 1
    plan[patches.BEFORE_W] = 1
    first, count = 4, 23
    found = np.zeros((6, count + 2 * 16), np.float32)
    patches.gather_taps(plan, 0, first, count, 0, 2, found.ctypes.data, found.strides[0])
    padded = np.pad(image, ((0, 0), (0, 0), (1, 1)))
    every = [padded[n, h : h + 2, w : w + 3].ravel() for n, h, w in np.ndindex(2, 3, 5)]
    np.testing.assert_array_equal(found[:, :count], np.transpose(every[first : first + count]))


def pooled_results(problem: Problem, images: slice = slice(None)) -> tuple[Array, ...]:
    """y, taps, dx, dw, and both gradients of one call, where y is pooled and rectified behind a bias."""
    part = problem.of_images(images)
    windows, filters = part.windows, part.dy.shape[-1]
    pool = convolution.pooling_of(windows)
    assert pool is not None
    size = convolution.workspace_floats(windows, part.x.shape[-1], filters, part.groups)
    whole = np.full(size + GUARD, 7, np.float32)
    rng = np.random.default_rng(5)
    bias = rng.normal(size=filters).astype(np.float32)
    # Another image has another gradient, wherever it stands in the batch.
    dy = rng.normal(size=(len(problem.x), *pool.outputs, filters)).astype(np.float32)[images].copy()
    y, dx, dw, dx_too, dw_too = (guarded(array) for array in (dy, part.x, part.w, part.x, part.w))
    taps = guarded(np.zeros(dy.shape, np.float32)).base
    assert taps is not None
    numbers = np.full(taps.size, 9, np.uint8)
    chosen = numbers[GUARD:-GUARD].reshape(dy.shape)
    settings = whole[:size], windows, part.groups
    finish = convolution.Finish(bias, True)
    convolution.bind_convolution(part.x, part.w, y, *settings, finish, chosen)()
    convolution.bind_input_gradient(dy, part.w, dx, *settings, chosen)()
    convolution.bind_weight_gradient(part.x, dy, dw, *settings, chosen)()
    convolution.bind_gradients(part.x, part.w, dy, dx_too, dw_too, *settings, chosen)()
    for array in (y, dx, dw, dx_too, dw_too):
        flat = array.base
        assert flat is not None
        assert (flat[:GUARD] == 7).all() and (flat[GUARD + array.size :] == 7).all()
    assert (whole[size:] == 7).all()
    assert (numbers[:GUARD] == 9).all() and (numbers[-GUARD:] == 9).all()
    return y, chosen, dx, dw, dx_too, dw_too, dy, bias


POOLED = [
    # by Winograd with tiles that stand out; by patches: of one channel (by tap), of few, and in groups
    (make_windows((13, 11), (3, 3), (1, 1), (1, 1), "valid"), 32, 48, 1),
    (make_windows((9, 16), (3, 3), (1, 1), (1, 1), "same"), 16, 16, 1),
    (make_windows((13, 12), (3, 3), (1, 1), (1, 1), "valid"), 1, 32, 1),
    (make_windows((9, 40), (5, 3), (2, 1), (1, 2), "same"), 1, 35, 1),
    (make_windows((9, 7), (3, 3), (1, 1), (1, 1), "same"), 3, 5, 1),
    (make_windows((8, 9), (2, 2), (1, 1), (1, 1), "valid"), 4, 40, 2),
]


@needs_tiles
@pytest.mark.parametrize(("windows", "channels", "filters", "groups"), POOLED)
def test_pooled_convolutions_give_the_bytes_of_both_in_turn(
    windows: Windows, channels: int, filters: int, groups: int
) -> None:
    problem = Problem.random(windows, 7, channels, filters, groups)
    y, chosen, dx, dw, dx_too, dw_too, dy, bias = pooled_results(problem)
    pool = convolution.pooling_of(windows)
    assert pool is not None
    made = problem.run()[0] + bias
    np.testing.assert_array_equal(y, np.maximum(naive.max_pool(made, pool), 0))
    problem.dy = naive.max_pool_gradient(made, dy, pool).astype(np.float32)
    _, expected_dx, expected_dw = problem.run()
    for found in (dx, dx_too):
        assert found.tobytes() == expected_dx.tobytes()
    for found in (dw, dw_too):
        assert found.tobytes() == expected_dw.tobytes()
    assert set(np.unique(chosen)) == {0, 1, 2, 3}


@needs_tiles
@pytest.mark.parametrize(("windows", "channels", "filters", "groups"), POOLED)
def test_a_pooled_image_has_the_same_bytes_in_any_batch(
    windows: Windows, channels: int, filters: int, groups: int
) -> None:
    problem = Problem.random(windows, 9, channels, filters, groups)
    whole = pooled_results(problem)[:3]
    for start, stop in ((0, 1), (4, 5), (2, 9)):
        for found, expected in zip(pooled_results(problem, slice(start, stop)), whole, strict=False):
            assert found.tobytes() == expected[start:stop].tobytes()


@needs_tiles
def test_nan_is_pooled_and_has_no_gradient() -> None:
    windows = make_windows((8, 8), (3, 3), (1, 1), (1, 1), "same")
    for channels, filters in ((16, 16), (1, 5)):
        problem = Problem.random(windows, 1, channels, filters)
        problem.x[0, 0, 5, 5, 0] = np.nan
        y, chosen = pooled_results(problem)[:2]
        assert np.isnan(y).any() and (np.isnan(y) == (chosen == 4)).all()
