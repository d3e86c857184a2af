from __future__ import annotations

import doctest
import random

import numpy as np
import pytest

from distnn import rng, utils


def test_to_categorical_is_keras() -> None:
    assert utils.to_categorical([0, 1, 2, 3], num_classes=4).tolist() == np.eye(4).tolist()
    assert utils.to_categorical(np.array([[1], [0]])).tolist() == [[0, 1], [1, 0]]
    assert utils.to_categorical([[0, 1], [2, 0]]).shape == (2, 2, 3)
    assert utils.to_categorical(np.array([1.0, 0.0])).shape == (2, 2)
    assert utils.to_categorical([], num_classes=3).shape == (0, 3)
    assert utils.to_categorical(2).tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("x", "num_classes", "message"),
    [
        ([0, 5], 3, "class index 5 (value number 1) is outside 0 to 2 (num_classes=3)"),
        ([-1, 0], None, "class index -1 (value number 0) is outside 0 to 0"),
        ([0.5], None, "expects whole numbers"),
        ([], None, "needs `num_classes`"),
    ],
)
def test_to_categorical_refuses(x: list[float], num_classes: int | None, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        utils.to_categorical(x, num_classes)
    assert message in str(caught.value)


def test_set_random_seed_seeds_everything() -> None:
    def draws() -> tuple[float, float, int]:
        utils.set_random_seed(11)
        return random.random(), float(np.random.random()), rng.draw_seed()

    assert draws() == draws()
    with pytest.raises(ValueError, match="to be an integer"):
        utils.set_random_seed("x")  # type: ignore[arg-type]


def test_examples_in_the_docstrings() -> None:
    assert doctest.testmod(utils).failed == 0
