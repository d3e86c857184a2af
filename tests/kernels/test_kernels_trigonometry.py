"""Sines, angles and whole numbers in float32 against float64 libm, at special values too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from distnn.kernels import elementwise, trigonometry

Array = np.ndarray[Any, np.dtype[Any]]
FUNCTIONS: list[tuple[str, Callable[..., None], Callable[[Array], Array]]] = [
    ("sin", trigonometry.sin_forward, np.sin),
    ("cos", trigonometry.cos_forward, np.cos),
    ("tan", trigonometry.tan_forward, np.tan),
    ("arctan", trigonometry.arctan_forward, np.arctan),
    ("arcsin", trigonometry.arcsin_forward, np.arcsin),
    ("arccos", trigonometry.arccos_forward, np.arccos),
]
IDS = [name for name, *_ in FUNCTIONS]
EXACT: list[tuple[str, Callable[..., None], Callable[[Array], Array]]] = [
    ("floor", elementwise.floor_forward, np.floor),
    ("ceil", elementwise.ceil_forward, np.ceil),
    ("round", elementwise.round_forward, np.rint),
]


def inputs_for(name: str) -> Array:
    rng = np.random.default_rng(7)
    small = 10 ** rng.uniform(-12, 0, 200)
    near = np.concatenate([small, -small, rng.uniform(-1, 1, 300), 1 - small])
    if name in ("arcsin", "arccos"):
        return near.astype(np.float32)
    quarters = np.arange(-40, 41) * (np.pi / 2)
    wide = [near, quarters, rng.uniform(-100, 100, 300), 10 ** rng.uniform(0, 6, 300)]
    return np.concatenate(wide).astype(np.float32)


@pytest.mark.parametrize(("name", "function", "reference"), FUNCTIONS, ids=IDS)
def test_float32_is_within_1e_7_of_float64(
    name: str, function: Callable[..., None], reference: Callable[[Array], Array]
) -> None:
    x = inputs_for(name)
    y = np.empty_like(x)
    function(x, y)
    np.testing.assert_allclose(y, reference(x.astype(np.float64)), rtol=1e-7, atol=1e-44)


@pytest.mark.parametrize(("name", "function", "reference"), FUNCTIONS, ids=IDS)
def test_float64_is_libm(
    name: str, function: Callable[..., None], reference: Callable[[Array], Array]
) -> None:
    x = inputs_for(name).astype(np.float64)
    y = np.empty_like(x)
    function(x, y)
    np.testing.assert_allclose(y, reference(x), rtol=1e-14)


@pytest.mark.parametrize(("name", "function", "reference"), [*FUNCTIONS, *EXACT], ids=[*IDS, "f", "c", "r"])
def test_special_values(
    name: str, function: Callable[..., None], reference: Callable[[Array], Array]
) -> None:
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 0.5, 1.5, -2.5, 1e-40, 1e6], np.float32)
    y = np.empty_like(x)
    function(x, y)
    with np.errstate(invalid="ignore"):
        expected = reference(x.astype(np.float64)).astype(np.float32)
    np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-44, equal_nan=True)
    np.testing.assert_array_equal(np.signbit(y[:2]), np.signbit(expected[:2]))


@pytest.mark.parametrize(("name", "function", "reference"), EXACT, ids=[name for name, *_ in EXACT])
def test_whole_numbers_are_exact(
    name: str, function: Callable[..., None], reference: Callable[[Array], Array]
) -> None:
    x = np.concatenate([np.arange(-20, 20) / 2, [1e7, -1e30]]).astype(np.float32)
    y = np.empty_like(x)
    function(x, y)
    np.testing.assert_array_equal(y, reference(x))
