"""Finding and reading the examples' data."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_files import find_file, load_images

NAMES = ("mnist*.npz", "mnist/train-images-idx3-ubyte.gz")


def write_idx(path: Path, values: Any) -> None:
    head = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
    path.write_bytes(gzip.compress(head + values.tobytes()))


@pytest.fixture
def parts(rng: np.random.Generator) -> dict[str, Any]:
    shapes = {"x_train": (6, 28, 28), "y_train": (6,), "x_test": (3, 28, 28), "y_test": (3,)}
    return {name: rng.integers(0, 256, shape).astype(np.uint8) for name, shape in shapes.items()}


def test_images_are_read_from_both_kinds_of_file(tmp_path: Path, parts: dict[str, Any]) -> None:
    folder = tmp_path / "mnist"
    folder.mkdir()
    for part, prefix in (("train", "train"), ("test", "t10k")):
        write_idx(folder / f"{prefix}-images-idx3-ubyte.gz", parts[f"x_{part}"])
        write_idx(folder / f"{prefix}-labels-idx1-ubyte.gz", parts[f"y_{part}"])
    from_idx = load_images(tmp_path, *NAMES, get="")
    np.savez(tmp_path / "mnist.npz", **parts)
    from_npz = load_images(tmp_path, *NAMES, get="")
    for found in (from_idx, from_npz):
        (x_train, y_train), (x_test, y_test) = found
        for name, array in zip(parts, (x_train, y_train, x_test, y_test), strict=True):
            np.testing.assert_array_equal(array, parts[name])


def test_other_bytes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "mnist").mkdir()
    path = tmp_path / "mnist" / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(b"\x00\x00\x0d\x01" + bytes(8)))
    with pytest.raises(SystemExit, match="train-images-idx3-ubyte.gz is not an IDX file of bytes"):
        load_images(tmp_path, *NAMES, get="")


def test_find_file_takes_the_first_name_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "b.csv").touch()
    assert find_file(tmp_path, "a*.npz", "b.csv", get="") == tmp_path / "b.csv"
    (tmp_path / "a2.npz").touch()
    (tmp_path / "a1.npz").touch()
    assert find_file(str(tmp_path), "a*.npz", "b.csv", get="") == tmp_path / "a1.npz"
    with pytest.raises(SystemExit) as caught:
        find_file(tmp_path, "c.npz", "d.csv", get="Get it from example.org")
    assert str(caught.value) == f"there is no c.npz or d.csv in {tmp_path}. Get it from example.org"
