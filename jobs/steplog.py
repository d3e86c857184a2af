"""`steps.bin`: the fingerprint of the weights after each step, 8 bytes a step, little-endian, no header."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

BYTES_PER_STEP = 8

Fingerprints = npt.NDArray[np.uint64]


class StepLog:
    """The writing side, kept open. `first_step` is the step before the first one in the file."""

    def __init__(self, path: Path, first_step: int) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        self._first_step = first_step

    def last_step(self) -> int:
        """The last step that is whole in the file."""
        return self._first_step + os.fstat(self._descriptor).st_size // BYTES_PER_STEP

    def cut_after(self, step: int) -> None:
        """Forget all steps after `step`."""
        os.ftruncate(self._descriptor, (step - self._first_step) * BYTES_PER_STEP)

    def write(self, first: int, fingerprints: npt.NDArray[Any]) -> None:
        """Add the fingerprints of the steps after `first`."""
        assert first == self.last_step(), f"step {first} does not follow step {self.last_step()}"
        data = np.ascontiguousarray(fingerprints, dtype="<u8").tobytes()
        offset = (first - self._first_step) * BYTES_PER_STEP
        while data:
            written = os.pwrite(self._descriptor, data, offset)
            data, offset = data[written:], offset + written

    def sync(self) -> None:
        """Wait until all is on the disk."""
        os.fsync(self._descriptor)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def read_steps(path: Path) -> Fingerprints:
    """All whole fingerprints of a file."""
    data = path.read_bytes() if path.is_file() else b""
    whole = len(data) - len(data) % BYTES_PER_STEP
    return np.frombuffer(data[:whole], dtype="<u8").astype(np.uint64)
