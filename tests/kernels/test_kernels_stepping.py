"""Control words, indices and the epoch's sums, against plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from distnn import control
from distnn.kernels.random import feistel_order
from distnn.kernels.stepping import (
    begin_shard,
    copy_values,
    fold_sums,
    indices_in_turn,
    set_value,
    shuffled_indices,
    spread_value,
)


def make_control(**words: int) -> np.ndarray:
    found = np.zeros(control.CONTROL_WORDS, np.int64)
    for name, value in words.items():
        found[getattr(control, f"{name}_WORD")] = value
    return found


def test_control_words_have_a_place_each() -> None:
    places = [value for name, value in vars(control).items() if name.endswith("_WORD")]
    assert sorted(places) == list(range(control.CONTROL_WORDS))


def test_begin_shard_writes_its_words_only() -> None:
    words = make_control(SEED=1, STEP=2, ORDER=3, START=40, FIRST=1)
    begin_shard(words, 5, 6, 7)
    expected = make_control(SEED=1, STEP=2, ORDER=3, START=40, FIRST=1, SHARD=5, SAMPLES=7, POSITION=46)
    assert words.tolist() == expected.tolist()


def test_shuffled_indices_are_a_slice_of_the_order() -> None:
    whole, part = np.zeros(100, np.int64), np.zeros(9, np.int64)
    feistel_order(77, 100, 0, 100, whole)
    shuffled_indices(make_control(ORDER=77, POSITION=30), 100, part)
    assert part.tolist() == whole[30:39].tolist()


def test_indices_in_turn_begin_at_the_position() -> None:
    part = np.zeros(3, np.int64)
    indices_in_turn(make_control(POSITION=30), part)
    assert part.tolist() == [30, 31, 32]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_are_set_spread_and_copied(dtype: type[np.floating]) -> None:
    out = np.zeros(5, dtype)
    set_value(out, 0.1)
    assert out.tolist() == [dtype(0.1), 0, 0, 0, 0]
    spread_value(out[:1].copy(), out)
    assert out.tolist() == [dtype(0.1)] * 5
    for source in (np.arange(5), np.arange(5) / 7, np.arange(5) > 2):
        copy_values(source, out)
        assert out.tobytes() == source.astype(dtype).tobytes()


@pytest.mark.parametrize("is_first", [0, 1])
def test_fold_sums_adds_to_the_epoch_or_begins_it(is_first: int) -> None:
    step, old, new = np.array([1.0, 2.0, 3.0, 4.0, 5.0]), np.full(5, 100.0), np.full(5, np.nan)
    fold_sums(step, np.array([1]), 10, old, make_control(FIRST=is_first), new)
    expected = np.array([1.0, 2.0, 30.0, 10.0, 5.0])
    assert new.tolist() == (expected if is_first else expected + 100.0).tolist()
    assert old.tolist() == [100.0] * 5
