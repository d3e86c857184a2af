"""The convnet's parts, on made-up images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fashion_convnet import build_model, load

Train = Callable[..., dict[str, bytes]]


@pytest.fixture
def folder(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Images that are bright where their class says."""
    y = np.arange(80) % 10
    x = rng.integers(0, 50, (80, 28, 28)).astype(np.uint8)
    x[np.arange(80), 2 * y + 4] = 250
    np.savez(tmp_path / "fashion_mnist.npz", x_train=x[:64], y_train=y[:64], x_test=x[64:], y_test=y[64:])
    return tmp_path


def test_load_gives_images_with_a_channel(folder: Path) -> None:
    (x_train, y_train), (x_test, y_test) = load(str(folder))
    assert (x_train.shape, y_train.shape) == ((64, 28, 28, 1), (64,))
    assert (x_test.shape, y_test.shape) == ((16, 28, 28, 1), (16,))


def test_missing_data_is_one_line_that_says_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(
        SystemExit, match=r"there is no fashion_mnist\*.npz or .* in /.*\. Get Debian's package"
    ):
        load(str(tmp_path))


def test_model_gives_a_score_for_each_class() -> None:
    assert build_model().output_shape == (None, 10)


def test_program_and_spec_train_to_the_same_weights(
    folder: Path, train_program: Train, train_spec: Train
) -> None:
    program = train_program("fashion_convnet", "--data", str(folder), EPOCHS=1, ACCURACY_TO_REACH=0.0)
    schedule = "training.optimizer.learning_rate.decay_steps=1"
    spec = train_spec("fashion_convnet", f"data.options.folder={folder}", "training.epochs=1", schedule)
    assert program == spec
