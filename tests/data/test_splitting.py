from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distnn.data import as_array_data, split_last, split_validation
from distnn.data.splitting import split_indices
from distnn.errors import DataError


@given(st.integers(2, 200), st.floats(0.01, 0.99), st.integers(0, 2**31))
def test_split_is_a_partition(n: int, fraction: float, seed: int) -> None:
    train, validation = split_indices(n, fraction, seed)
    assert sorted([*train, *validation]) == list(range(n))
    assert len(train) >= 1 and len(validation) >= 1
    assert abs(len(validation) - n * fraction) <= 1
    assert np.array_equal(validation, split_indices(n, fraction, seed)[1])


def test_split_depends_on_the_seed_and_is_fixed() -> None:
    assert split_indices(10, 0.3, 7)[1].tolist() == [2, 4, 9]
    assert split_indices(10, 0.3, 8)[1].tolist() != split_indices(10, 0.3, 7)[1].tolist()


def test_split_validation_takes_x_and_y_together() -> None:
    data = as_array_data(np.arange(10), np.arange(10) * 10)
    train, validation = split_validation(data, 0.3, 7)
    assert validation.num_samples == 3 and train.num_samples == 7
    assert np.array_equal(train.y[0], train.x[0] * 10)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -1.0, 2.0, float("nan")])
def test_split_refuses_fractions(fraction: float) -> None:
    data = as_array_data(np.arange(10))
    with pytest.raises(DataError, match="between 0 and 1"):
        split_validation(data, fraction, 0)
    with pytest.raises(DataError, match="between 0 and 1"):
        split_last(data, fraction)


def test_one_sample_cannot_be_split() -> None:
    with pytest.raises(DataError, match="1 sample cannot be split"):
        split_validation(as_array_data([1.0]), 0.5, 0)


def test_split_last_is_keras() -> None:
    data = as_array_data(np.arange(10))
    train, validation = split_last(data, 0.25)
    assert train.x[0].tolist() == list(range(7)) and validation.x[0].tolist() == [7, 8, 9]
    with pytest.raises(DataError, match="Training data contains 1 samples, which is not sufficient"):
        split_last(as_array_data([1.0]), 0.5)
