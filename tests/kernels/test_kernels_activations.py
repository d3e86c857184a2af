"""Activations against their formulas in float64; fused kernels against the unfused sequence, by bytes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from distnn.kernels import activations as kernels

Array = np.ndarray[Any, np.dtype[Any]]
Formula = Callable[[Array], Array]

normal_cdf = np.vectorize(lambda v: 0.5 * (1 + math.erf(v / math.sqrt(2))), otypes=[float])


def gelu_by_tanh(x: Array) -> Array:
    result: Array = 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return result


def sigmoid(x: Array) -> Array:
    result: Array = 1 / (1 + np.exp(-x))
    return result


# name, forward kernel, gradient kernel, bias kernel, parameters, formula, whether the gradient reads y
ACTIVATIONS: list[tuple[str, Any, Any, Any, tuple[float, ...], Formula, bool]] = [
    ("relu", kernels.relu, kernels.relu_gradient, kernels.bias_relu, (), lambda x: np.maximum(x, 0), True),
    (
        "leaky_relu",
        kernels.leaky_relu,
        kernels.leaky_relu_gradient,
        kernels.bias_leaky_relu,
        (0.3,),
        lambda x: np.where(x > 0, x, 0.3 * x),
        True,
    ),
    (
        "elu",
        kernels.elu,
        kernels.elu_gradient,
        kernels.bias_elu,
        (0.7,),
        lambda x: np.where(x > 0, x, 0.7 * np.expm1(np.minimum(x, 0))),
        True,
    ),
    ("sigmoid", kernels.sigmoid_forward, kernels.sigmoid_gradient, kernels.bias_sigmoid, (), sigmoid, True),
    ("tanh", kernels.tanh_forward, kernels.tanh_gradient, kernels.bias_tanh, (), np.tanh, True),
    ("silu", kernels.silu, kernels.silu_gradient, kernels.bias_silu, (), lambda x: x * sigmoid(x), False),
    ("gelu", kernels.gelu, kernels.gelu_gradient, kernels.bias_gelu, (), lambda x: x * normal_cdf(x), False),
    (
        "gelu_tanh",
        kernels.gelu_tanh,
        kernels.gelu_tanh_gradient,
        kernels.bias_gelu_tanh,
        (),
        gelu_by_tanh,
        False,
    ),
    (
        "softplus",
        kernels.softplus_forward,
        kernels.softplus_gradient,
        kernels.bias_softplus,
        (),
        lambda x: np.logaddexp(0, x),
        False,
    ),
]
parametrized = pytest.mark.parametrize(
    ("name", "forward", "gradient", "biased", "parameters", "formula", "reads_output"),
    ACTIVATIONS,
    ids=[entry[0] for entry in ACTIVATIONS],
)


def values(size: int) -> Array:
    x = np.random.default_rng(3).normal(size=size).astype(np.float32) * 3
    x[np.abs(x) < 0.01] = 0.5
    return x


@parametrized
def test_forward_and_gradient(
    name: str,
    forward: Any,
    gradient: Any,
    biased: Any,
    parameters: tuple[float, ...],
    formula: Formula,
    reads_output: bool,
) -> None:
    for dtype, tolerance in ((np.float32, 2e-6), (np.float64, 1e-9)):
        x = values(53).astype(dtype)
        y, dx, dy = np.empty_like(x), np.empty_like(x), np.linspace(-2, 2, 53).astype(dtype)
        forward(x, *parameters, y)
        wide = x.astype(np.float64)
        np.testing.assert_allclose(y, formula(wide), rtol=tolerance, atol=tolerance)
        gradient(y if reads_output else x, dy, *parameters, dx)
        step = 1e-5
        slope = (formula(wide + step) - formula(wide - step)) / (2 * step)
        np.testing.assert_allclose(dx, dy * slope, rtol=max(tolerance, 2e-6), atol=max(tolerance, 1e-8))


@parametrized
@pytest.mark.parametrize("shape", [(3, 5), (4, 37)])
def test_fused_with_bias_gives_the_same_bytes(
    name: str,
    forward: Any,
    gradient: Any,
    biased: Any,
    parameters: tuple[float, ...],
    formula: Formula,
    reads_output: bool,
    shape: tuple[int, int],
) -> None:
    x, bias = values(shape[0] * shape[1]).reshape(shape), values(shape[1])
    summed, separate, fused = np.empty_like(x), np.empty_like(x), np.empty_like(x)
    kernels.bias_add(x, bias, summed)
    np.testing.assert_array_equal(summed, x + bias)
    forward(summed.reshape(-1), *parameters, separate.reshape(-1))
    biased(x, bias, *parameters, fused)
    assert fused.tobytes() == separate.tobytes()


@parametrized
def test_slices_give_the_same_bytes(
    name: str,
    forward: Any,
    gradient: Any,
    biased: Any,
    parameters: tuple[float, ...],
    formula: Formula,
    reads_output: bool,
) -> None:
    x = values(80)
    whole, dwhole = np.empty_like(x), np.empty_like(x)
    forward(x, *parameters, whole)
    gradient(whole if reads_output else x, x, *parameters, dwhole)
    for start in (0, 1, 5, 16):
        for length in (1, 7, 16, 33, 47):
            part = np.s_[start : start + length]
            y, dx = np.empty(length, np.float32), np.empty(length, np.float32)
            forward(x[part], *parameters, y)
            gradient(y if reads_output else x[part], x[part], *parameters, dx)
            assert y.tobytes() == whole[part].tobytes()
            assert dx.tobytes() == dwhole[part].tobytes()


@parametrized
def test_nan_passes(
    name: str,
    forward: Any,
    gradient: Any,
    biased: Any,
    parameters: tuple[float, ...],
    formula: Formula,
    reads_output: bool,
) -> None:
    x = np.array([np.nan, 1.0], np.float32)
    y = np.empty_like(x)
    forward(x, *parameters, y)
    assert np.isnan(y[0]) and np.isfinite(y[1])


def test_gelu_with_its_slope_is_gelu_and_its_gradient(rng: np.random.Generator) -> None:
    x, bias = rng.normal(size=(5, 7)).astype(np.float32), rng.normal(size=7).astype(np.float32)
    y, slope, value, gradient = (np.empty_like(x) for _ in range(4))
    kernels.bias_gelu_with_slope(x, bias, y, slope)
    moved = (x + bias).reshape(-1)
    kernels.gelu(moved, value.reshape(-1))
    kernels.gelu_gradient(moved, np.ones_like(moved), gradient.reshape(-1))
    np.testing.assert_array_equal(y, value)
    np.testing.assert_allclose(slope, gradient, rtol=2e-6, atol=1e-7)
    again = np.empty_like(x)
    kernels.gelu_with_slope(moved, value.reshape(-1), again.reshape(-1))
    np.testing.assert_array_equal(again, slope)
