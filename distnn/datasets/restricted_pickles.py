"""The pickles in Keras's data sets, read as plain data: they can make NumPy arrays and call nothing else.

Only files of `keras.datasets` come here, after their hashes have been checked.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from distnn.errors import DataError


def _latin1(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes in old pickles."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"text in {encoding!r}")
    return text.encode("latin1")


_ARRAY: Any = np.empty(0).__reduce__()
_SCALAR: Any = np.float64(0).__reduce__()
_ALLOWED = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _latin1,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _ARRAY[0] for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _SCALAR[0] for core in ("core", "_core")},
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str, /) -> Any:
        if (module_name, global_name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}")
        return _ALLOWED[module_name, global_name]


def read_pickle(file: BinaryIO, what: object, encoding: str = "ASCII") -> Any:
    """Lists, dicts, numbers, text and NumPy arrays.

    Args:
        file: where the pickle begins.
        what: for the error.
        encoding: of Python 2's strings; "bytes" leaves them as they are.

    Raises:
        DataError: there is anything else in it.
    """
    try:
        return _Unpickler(file, encoding=encoding).load()
    except Exception as error:
        raise DataError(f"{what}: is not plain data: {error}. It was not read further") from error


def read_npz(path: str | Path) -> dict[str, Any]:
    """The arrays of an `.npz` file, those of objects included."""
    found: dict[str, Any] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                file = io.BytesIO(archive.read(name))
                found[name.removesuffix(".npy")] = _array(file, f"{path}, {name}")
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: cannot be read as an .npz file: {error}") from error
    return found


def _array(file: io.BytesIO, what: str) -> Any:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        _, _, dtype = np.lib.format.read_array_header_1_0(file)
    else:
        _, _, dtype = np.lib.format.read_array_header_2_0(file)
    if dtype.hasobject:
        return read_pickle(file, what)
    file.seek(0)
    return np.lib.format.read_array(file, allow_pickle=False)
