"""The float32 functions against float64 libm over wide ranges, and at special values."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from distnn.kernels import activations, elementwise
from distnn.kernels.jit import kernel
from distnn.kernels.scalar_math import erf, expm1

Array = np.ndarray[Any, np.dtype[Any]]


@kernel
def expm1_forward(x: Array, y: Array) -> None:
    for i in range(x.size):
        y[i] = expm1(x[i])


@kernel
def erf_forward(x: Array, y: Array) -> None:
    for i in range(x.size):
        y[i] = erf(x[i])


def sigmoid_of(x: Array) -> Array:
    result: Array = 1 / (1 + np.exp(-x))
    return result


def softplus_of(x: Array) -> Array:
    result: Array = np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))
    return result


erf_of = np.vectorize(math.erf, otypes=[float])
FUNCTIONS: list[tuple[str, Callable[..., None], Callable[[Array], Array], float]] = [
    ("exp", elementwise.exp_forward, np.exp, 1e-7),
    ("expm1", expm1_forward, np.expm1, 1.5e-7),
    ("log", elementwise.log_forward, np.log, 1e-7),
    ("log1p", elementwise.log1p_forward, np.log1p, 1.5e-7),
    ("tanh", activations.tanh_forward, np.tanh, 3e-7),
    ("erf", erf_forward, erf_of, 3e-7),
    ("sigmoid", activations.sigmoid_forward, sigmoid_of, 1.5e-7),
    ("softplus", activations.softplus_forward, softplus_of, 2e-7),
]
IDS = [name for name, *_ in FUNCTIONS]


def inputs_for(name: str) -> Array:
    rng = np.random.default_rng(7)
    size = 300
    if name == "log":
        return np.exp(rng.uniform(-87, 88, size)).astype(np.float32)
    small = 10 ** rng.uniform(-9, 1, size)
    if name == "log1p":
        return np.concatenate([small, rng.uniform(-0.999, 5, size), 10 ** rng.uniform(0, 38, size)]).astype(
            "f4"
        )
    return np.concatenate([small, -small, rng.uniform(-87, 87, size), rng.normal(size=size)]).astype(
        np.float32
    )


@pytest.mark.parametrize(("name", "function", "reference", "tolerance"), FUNCTIONS, ids=IDS)
def test_float32_agrees_with_float64(
    name: str, function: Callable[..., None], reference: Callable[[Array], Array], tolerance: float
) -> None:
    x = inputs_for(name)
    y = np.empty_like(x)
    function(x, y)
    expected = reference(x.astype(np.float64))
    is_normal = np.abs(expected) > 1.2e-38
    np.testing.assert_allclose(y[is_normal], expected[is_normal], rtol=tolerance)
    np.testing.assert_allclose(y[~is_normal], expected[~is_normal], atol=3e-39)


@pytest.mark.parametrize(("name", "function", "reference", "tolerance"), FUNCTIONS, ids=IDS)
def test_float64_is_libm(
    name: str, function: Callable[..., None], reference: Callable[[Array], Array], tolerance: float
) -> None:
    x = inputs_for(name).astype(np.float64)
    y = np.empty_like(x)
    function(x, y)
    np.testing.assert_allclose(y, reference(x), rtol=2e-15, atol=1e-300)


@pytest.mark.parametrize(("name", "function", "reference", "tolerance"), FUNCTIONS, ids=IDS)
def test_special_values(
    name: str, function: Callable[..., None], reference: Callable[[Array], Array], tolerance: float
) -> None:
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 1e-40, 200.0, -200.0, 3e38], np.float32)
    y = np.empty_like(x)
    function(x, y)
    expected = reference(x.astype(np.float64)).astype(np.float32)
    np.testing.assert_allclose(y, expected, rtol=tolerance, atol=1.5e-42, equal_nan=True)


def test_exp_at_the_ends_of_its_range() -> None:
    x = np.array([88.7, 88.73, -87.4, -100.0, -103.9, -104.1], np.float32)
    y = np.empty_like(x)
    elementwise.exp_forward(x, y)
    assert np.isfinite(y[0]) and np.isposinf(y[1])
    np.testing.assert_allclose(y[2:], np.exp(x[2:].astype(np.float64)), rtol=1e-7, atol=1.5e-45)


@pytest.mark.parametrize("exponent", [0.3, -1.7, 2.5])
def test_power_of_positive_values(exponent: float) -> None:
    x = np.random.default_rng(0).uniform(0.1, 30, 50).astype(np.float32)
    y = np.empty_like(x)
    elementwise.power_forward(x, exponent, y)
    np.testing.assert_allclose(y, x.astype(np.float64) ** exponent, rtol=1e-6)
