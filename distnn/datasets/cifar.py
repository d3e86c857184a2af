"""What CIFAR-10 and CIFAR-100 have in common: an archive of pickles, which is read where it lies."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from distnn.data.downloads import get_file
from distnn.datasets.restricted_pickles import read_pickle
from distnn.errors import DataError
from distnn.tensor import Array

ORIGIN = "https://www.cs.toronto.edu/~kriz/"


def load_parts(
    kept_as: str, name: str, sha256: str, parts: Sequence[Sequence[str]], label: str
) -> list[tuple[Array, Array]]:
    """Images uint8 [N, 32, 32, 3] and labels [N, 1] of each part, a list of files in the archive.

    Args:
        kept_as: the archive's name in `~/.keras/datasets`.
        name: at its origin.
        sha256: of the archive.
        parts: the files of each part.
        label: which of the labels.
    """
    path = get_file(kept_as, ORIGIN + name, file_hash=sha256)
    files = {file for part in parts for file in part}
    found: dict[str, Any] = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                if member.name in files and member.isfile():
                    opened: Any = archive.extractfile(member)
                    found[member.name] = read_pickle(opened, f"{path}, {member.name}", "bytes")
    except (OSError, tarfile.TarError) as error:
        raise DataError(f"{path}: is damaged ({error}): remove it, and it is downloaded again") from error
    if files - found.keys():
        raise DataError(f"{path}: lacks {', '.join(sorted(files - found.keys()))}")
    return [_joined([found[file] for file in part], label.encode()) for part in parts]


def _joined(batches: Sequence[Any], label: bytes) -> tuple[Array, Array]:
    images = np.concatenate([np.asarray(batch[b"data"], np.uint8) for batch in batches])
    labels = np.concatenate([np.asarray(batch[label]) for batch in batches])
    return images.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), labels.reshape(-1, 1)
