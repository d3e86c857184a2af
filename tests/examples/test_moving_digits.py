"""The films' parts, on made-up digits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from moving_digits import DIRECTIONS, FRAMES, build_model, make_films

Train = Callable[..., dict[str, bytes]]


@pytest.fixture
def folder(tmp_path: Path, rng: np.random.Generator) -> Path:
    x = rng.integers(1, 256, (48, 28, 28)).astype(np.uint8)
    np.savez(tmp_path / "mnist.npz", x_train=x[:32], y_train=x[:32, 0, 0], x_test=x[32:], y_test=x[32:, 0, 0])
    return tmp_path


def test_films_move_in_the_direction_of_their_label(rng: np.random.Generator) -> None:
    digits = rng.integers(1, 256, (60, 28, 28)).astype(np.uint8)
    films, labels = make_films(digits, rng)
    assert films.shape == (60, FRAMES, 28, 28, 1) and films.dtype == np.uint8
    directions, speeds = list(DIRECTIONS.values()), set()
    for film, label in zip(films[..., 0], labels, strict=True):
        for speed in (1, 2):
            step = tuple(speed * part for part in directions[label])
            moved = [np.roll(frame, step, (0, 1)) for frame in film[:-1]]
            if np.array_equal(moved, film[1:]):
                speeds.add(speed)
                break
        else:
            pytest.fail(f"a film of label {label} moves otherwise")
    assert speeds == {1, 2} and set(labels) == set(range(8))


def test_films_show_the_digits_in_half_their_size(rng: np.random.Generator) -> None:
    digits = np.zeros((1, 28, 28), np.uint8)
    digits[0, :2, :2] = 200
    films, _ = make_films(digits, rng)
    assert sorted(np.unique(films)) == [0, 200] and (films == 200).sum() == FRAMES


def test_model_gives_a_score_for_each_direction() -> None:
    assert build_model().output_shape == (None, 8)


def test_program_and_spec_train_to_the_same_weights(
    folder: Path, train_program: Train, train_spec: Train
) -> None:
    program = train_program("moving_digits", "--data", str(folder), EPOCHS=1, ACCURACY_TO_REACH=0.0)
    assert program == train_spec("moving_digits", f"data.options.folder={folder}", "training.epochs=1")
