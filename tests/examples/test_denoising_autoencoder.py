"""The autoencoder's parts, on made-up digits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from denoising_autoencoder import NOISE, build_model, load, save_picture

Train = Callable[..., dict[str, bytes]]


@pytest.fixture
def folder(tmp_path: Path, rng: np.random.Generator) -> Path:
    x = np.where(rng.random((80, 28, 28)) < 0.2, 255, 0).astype(np.uint8)
    np.savez(tmp_path / "mnist.npz", x_train=x[:64], y_train=x[:64, 0, 0], x_test=x[64:], y_test=x[64:, 0, 0])
    return tmp_path


def test_load_adds_noise_to_clean_images(folder: Path) -> None:
    (noisy_train, clean_train), (noisy, clean) = load(str(folder))
    assert noisy_train.shape == clean_train.shape == (64, 28, 28, 1)
    assert noisy.shape == (16, 28, 28, 1) and set(np.unique(clean)) == {0.0, 1.0}
    assert noisy.min() == 0 and noisy.max() == 1
    # What would fall below 0 or above 1 is cut off: half of the noise, and a little more.
    assert 0.4 * NOISE**2 < np.mean((noisy - clean) ** 2) < 0.5 * NOISE**2


def test_model_gives_images_of_the_size_of_its_inputs() -> None:
    assert build_model().output_shape == (None, 28, 28, 1)


def test_picture_has_a_row_for_each_kind(folder: Path, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    (noisy, clean), _ = load(str(folder))
    save_picture(str(tmp_path / "rows.png"), noisy[:10], clean[:10])
    with image.open(tmp_path / "rows.png") as picture:
        assert picture.size == (10 * 28 * 3, 2 * 28 * 3)


def test_program_and_spec_train_to_the_same_weights(
    folder: Path, train_program: Train, train_spec: Train
) -> None:
    constants = {"EPOCHS": 1, "ERROR_LEFT_TO_REACH": 9.0}
    program = train_program("denoising_autoencoder", "--data", str(folder), **constants)
    spec = train_spec("denoising_autoencoder", f"data.options.folder={folder}", "training.epochs=1")
    assert program == spec
