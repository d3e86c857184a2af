"""The character model's parts, on a made-up text."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from shakespeare import CHARACTERS, WINDOW, build_model, load, write_on

Train = Callable[..., dict[str, bytes]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shakespeare.txt").write_text("To be, or not to be: that is the question.\n" * 120)
    return tmp_path


def test_load_gives_windows_and_the_characters_that_follow(folder: Path) -> None:
    (x_train, y_train), (x_test, y_test) = load(str(folder))
    assert x_train.shape == y_train.shape == (76, WINDOW) and x_test.shape == y_test.shape == (4, WINDOW)
    assert bytes(x_train[0][:6]) == b"To be," and bytes(y_train[0][:6]) == b"o be, "
    text = np.append(x_train.reshape(-1), y_train[-1, -1])
    np.testing.assert_array_equal(text[1:], y_train.reshape(-1))
    assert bytes(text) + bytes(x_test[0]) in bytes(text) * 3, "what is held out comes after"


def test_load_reads_packed_text_and_leaves_out_what_is_not_ascii(folder: Path) -> None:
    plain = load(str(folder))
    text = (folder / "shakespeare.txt").read_text()
    (folder / "shakespeare.txt").unlink()
    (folder / "shakespeare.txt.gz").write_bytes(gzip.compress(("\ufeff“" + text).encode()))
    np.testing.assert_array_equal(load(str(folder))[0][0], plain[0][0])


def test_model_writes_on_the_same_for_the_same_seed(folder: Path) -> None:
    model = build_model()
    assert model.output_shape == (None, WINDOW, CHARACTERS)
    begin = load(str(folder))[1][0][0]
    written = write_on(model, begin, 5, seed=3)
    assert len(written) == 5
    assert written == write_on(model, begin, 5, seed=3) != write_on(model, begin, 5, seed=4)


def test_program_and_spec_train_to_the_same_weights(
    folder: Path, train_program: Train, train_spec: Train
) -> None:
    program = train_program("shakespeare", "--data", str(folder), NATS_TO_REACH=9.0)
    schedule = "training.optimizer.learning_rate.decay_steps=3"
    spec = train_spec("shakespeare", f"data.options.folder={folder}", schedule)
    assert program == spec
