from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import numpy as np

import distnn.datasets
from distnn.datasets import digits

FOLDER = Path(distnn.datasets.__file__).parent


def test_digits_have_the_fixed_split() -> None:
    (x_train, y_train), (x_test, y_test) = digits.load_data()
    assert x_train.shape == (1437, 8, 8) and x_test.shape == (360, 8, 8)
    assert x_train.dtype == np.uint8 and x_train.max() == 16 and x_train.min() == 0
    assert y_train.shape == (1437,) and y_test.shape == (360,)
    assert set(np.concatenate([y_train, y_test]).tolist()) == set(range(10))


def test_digits_are_unchanged() -> None:
    x, y = digits.load_all()
    assert hashlib.sha256(x.tobytes() + y.tobytes()).hexdigest() == (
        "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"
    )


def test_the_file_is_small_and_repeatable() -> None:
    path = FOLDER / "digits.npz"
    assert path.stat().st_size < 50_000
    with zipfile.ZipFile(path) as archive:
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert archive.namelist() == ["x.npy", "y.npy"]


def test_the_licence_is_beside_it() -> None:
    text = (FOLDER / "digits_LICENCE.md").read_text()
    assert "CC BY 4.0" in text and "Alpaydin" in text
