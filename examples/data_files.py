"""Finding the examples' data in the folder that the user names. Read with NumPy alone."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path
from typing import Any

import numpy as np

Part = tuple[Any, Any]


def find_file(folder: str | Path, *names: str, get: str) -> Path:
    """The first file in `folder` that has one of the names (`*` stands for anything).

    Without one the program, or `distnn run`, ends with a line that says where to `get` the data.
    """
    place = Path(folder).expanduser()
    for name in names:
        for path in sorted(place.glob(name)):
            return path
    sys.exit(f"there is no {' or '.join(names)} in {place.absolute()}. {get}")


def load_images(folder: str | Path, *names: str, get: str) -> tuple[Part, Part]:
    """(x_train, y_train), (x_test, y_test) of an .npz, or of the files MNIST and its kin come in.

    Args:
        folder: where to look.
        names: the .npz; the first of four .gz files, the training images.
        get: where the data can be had.
    """
    path = find_file(folder, *names, get=get)
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return (arrays["x_train"], arrays["y_train"]), (arrays["x_test"], arrays["y_test"])
    train, test = (
        (
            _read_idx(path.with_name(f"{part}-images-idx3-ubyte.gz")),
            _read_idx(path.with_name(f"{part}-labels-idx1-ubyte.gz")),
        )
        for part in ("train", "t10k")
    )
    return train, test


def _read_idx(path: Path) -> Any:
    """Two zero bytes, the type (8: bytes), the number of axes, their lengths in big-endian order, values."""
    data = gzip.decompress(path.read_bytes())
    if data[:3] != b"\x00\x00\x08":
        sys.exit(f"{path} is not an IDX file of bytes")
    axes = data[3]
    return np.frombuffer(data, np.uint8, offset=4 + 4 * axes).reshape(np.frombuffer(data, ">u4", axes, 4))
