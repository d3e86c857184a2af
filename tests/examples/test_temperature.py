"""The forecast's parts, on a made-up year."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from temperature import DAY, WINDOW, load

Train = Callable[..., dict[str, bytes]]


@pytest.fixture
def degrees(rng: np.random.Generator) -> Any:
    hours = np.arange(600)
    return (50 + 10 * np.sin(hours * 2 * np.pi / 24) + rng.normal(0, 1, 600)).round(1).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path, degrees: Any) -> Path:
    lines = [f"2010/01/01 00:00,{value:.1f}" for value in degrees]
    (tmp_path / "seattle-temps.csv").write_text("date,temp\n" + "\n".join(lines) + "\n")
    return tmp_path


def test_load_pairs_two_days_with_the_hour_a_day_later(folder: Path, degrees: Any) -> None:
    (x_train, y_train), (x_test, y_test) = load(str(folder))
    change = degrees[DAY:] - degrees[:-DAY]
    end = len(change) * 4 // 5
    assert x_train.shape == (end - WINDOW - DAY + 1, WINDOW, 1) and y_train.shape == x_train.shape[:1]
    np.testing.assert_array_equal(x_train[5, :, 0], change[5 : 5 + WINDOW])
    np.testing.assert_array_equal(y_train[5], change[5 + WINDOW - 1 + DAY])
    np.testing.assert_array_equal(x_test[0, :, 0], change[end : end + WINDOW])
    assert y_test[-1] == change[-1]


def test_load_gives_the_same_from_an_npz(folder: Path, degrees: Any, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    np.savez(other / "seattle_hourly_temp.npz", temp_F=degrees)
    for one, two in zip(load(str(folder)), load(str(other)), strict=True):
        np.testing.assert_array_equal(one[0], two[0])
        np.testing.assert_array_equal(one[1], two[1])


def test_program_and_spec_train_to_the_same_weights(
    folder: Path, train_program: Train, train_spec: Train
) -> None:
    program = train_program("temperature", "--data", str(folder), EPOCHS=1, BETTER_TO_REACH=-9.0)
    assert program == train_spec("temperature", f"data.options.folder={folder}", "training.epochs=1")
