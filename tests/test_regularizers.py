from __future__ import annotations

import doctest
import json
from typing import Any

import numpy as np
import pytest

from distnn import regularizers


def test_defaults_are_keras() -> None:
    assert (regularizers.get("l2").l2, regularizers.get("l2").l1) == (0.01, 0.0)
    assert regularizers.get("l1").factors() == (0.01, 0.0)
    assert regularizers.L1L2().factors() == (0.0, 0.0)
    assert regularizers.l1_l2(l1=0.1, l2=0.2).factors() == (0.1, 0.2)
    assert regularizers.L2(None).l2 == 0.01  # type: ignore[arg-type]


def test_penalty_by_hand() -> None:
    x = np.array([[1.0, -2.0], [3.0, 0.0]], np.float32)
    assert regularizers.L1L2(0.5, 0.25)(x) == 0.5 * 6 + 0.25 * 14
    assert isinstance(regularizers.L2()(x), float)


@pytest.mark.parametrize("made", [regularizers.L1(0.3), regularizers.L2(0.2), regularizers.L1L2(0.1, 0.2)])
def test_config_round_trip(made: regularizers.Regularizer) -> None:
    again = regularizers.get(json.loads(json.dumps(regularizers.serialize(made))))
    assert type(again) is type(made) and again.factors() == made.factors()


def test_get() -> None:
    assert regularizers.get(None) is None and regularizers.serialize(None) is None
    made = regularizers.L2()
    assert regularizers.get(made) is made
    assert isinstance(regularizers.get(regularizers.L1), regularizers.L1)


@pytest.mark.parametrize(
    ("identifier", "message"),
    [
        ("l3", "Could not interpret regularizer identifier: l3"),
        ("L1L", "Did you mean 'l1l2'?"),
        (3, "Could not interpret regularizer identifier: 3"),
        ({"class_name": "L9"}, "Could not interpret regularizer identifier: L9"),
    ],
)
def test_get_refuses(identifier: Any, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        regularizers.get(identifier)
    assert message in str(caught.value)


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), "0.1", True])
def test_factors_are_checked(value: Any) -> None:
    with pytest.raises(
        ValueError, match="Invalid value for argument l2: expected a non-negative float. Received: l2="
    ):
        regularizers.L2(value)


def test_a_penalty_of_ones_own_is_refused_where_it_would_be_ignored() -> None:
    class Strange(regularizers.Regularizer):
        def __call__(self, x: Any) -> float:
            return 1.0

    with pytest.raises(ValueError, match="Strange overrides `__call__`.*add_loss"):
        Strange().factors()


def test_examples_in_the_docstrings() -> None:
    assert doctest.testmod(regularizers).failed == 0
