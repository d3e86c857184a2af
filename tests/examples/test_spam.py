"""The spam filter's parts, on made-up mails."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from spam import build_model, load

Train = Callable[..., dict[str, bytes]]


@pytest.fixture
def table(rng: np.random.Generator) -> Any:
    """57 frequencies and whether a mail is spam, as in spambase.data."""
    return np.c_[rng.exponential(1.0, (100, 57)).round(2), np.arange(100) % 2]


@pytest.fixture
def folder(tmp_path: Path, table: Any) -> Path:
    np.savetxt(tmp_path / "spambase.data", table, delimiter=",", fmt="%g")
    return tmp_path


def test_load_holds_one_mail_in_five_out(folder: Path, table: Any) -> None:
    (x_train, y_train), (x_test, y_test) = load(str(folder))
    assert (x_train.shape, y_train.shape) == ((80, 57), (80,))
    assert (x_test.shape, y_test.shape) == ((20, 57), (20,))
    every = np.expm1(np.concatenate([x_train, x_test]))
    np.testing.assert_allclose(np.sort(every[:, 0]), np.sort(table[:, 0]), rtol=1e-5)


def test_load_gives_the_same_from_an_npz(folder: Path, table: Any, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    np.savez(other / "spambase.npz", x=table[:, :-1].astype(np.float32), y=table[:, -1])
    for one, two in zip(load(str(folder)), load(str(other)), strict=True):
        np.testing.assert_array_equal(one[0], two[0])
        np.testing.assert_array_equal(one[1], two[1])


def test_program_and_spec_train_the_same_layers(
    folder: Path, train_program: Train, train_spec: Train
) -> None:
    program = train_program("spam", "--data", str(folder), EPOCHS=1, ACCURACY_TO_REACH=0.0)
    spec = train_spec("spam", f"data.options.folder={folder}", "training.epochs=1")
    assert sorted(map(len, program.values())) == sorted(map(len, spec.values()))


def test_program_ends_with_a_failure_below_its_figure(folder: Path, train_program: Train) -> None:
    with pytest.raises(SystemExit, match="less than the example must reach"):
        train_program("spam", "--data", str(folder), EPOCHS=1, ACCURACY_TO_REACH=1.1)


def test_inputs_are_scaled_in_the_model(folder: Path) -> None:
    (x_train, _), _ = load(str(folder))
    scaled = build_model(x_train).layers[0](x_train)
    np.testing.assert_allclose(np.asarray(scaled).mean(axis=0), 0.0, atol=1e-5)
