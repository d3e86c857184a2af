"""`steps.bin`: the fingerprint of the weights after each step, 8 bytes a step, little-endian, no header."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from jobs.appending import AppendedFile

BYTES_PER_STEP = 8

Fingerprints = npt.NDArray[np.uint64]


class StepLog:
    """The writing side, kept open. `first_step` is the step before the first one in the file."""

    def __init__(self, path: Path, first_step: int) -> None:
        self.file = AppendedFile(path)
        self.first_step = first_step
        self._last_step = first_step + os.fstat(self.file.descriptor).st_size // BYTES_PER_STEP
        self._digest = hashlib.sha256()

    def last_step(self) -> int:
        """The last step that is recorded."""
        return self._last_step

    def digest_up_to(self, step: int) -> str:
        """SHA-256 over the file's fingerprints up to `step`; of what it has, if it ends before."""
        return str(self._read_up_to(step).hexdigest())

    def digest(self) -> str:
        """The same up to the last step, of what was written and not of what the disk has made of it."""
        return self._digest.hexdigest()

    def fingerprint(self, step: int) -> int | None:
        """That of the weights after `step`, or None if there is none."""
        place = step - self.first_step - 1
        if place < 0 or step > self._last_step:
            return None
        return int(read_steps(self.file.path)[place])

    def cut_after(self, step: int) -> None:
        """Forget all steps after `step`."""
        self.file.cut_at((step - self.first_step) * BYTES_PER_STEP)
        self._last_step = step
        self._digest = self._read_up_to(step)

    def _read_up_to(self, step: int) -> Any:
        with self.file.path.open("rb") as opened:
            return hashlib.sha256(opened.read((step - self.first_step) * BYTES_PER_STEP))

    def write(self, first: int, fingerprints: npt.NDArray[Any]) -> None:
        """Add the fingerprints of the steps after `first`."""
        assert first == self._last_step, f"step {first} does not follow step {self._last_step}"
        data = np.ascontiguousarray(fingerprints, dtype="<u8").tobytes()
        self._last_step += len(fingerprints)
        self._digest.update(data)
        self.file.append(data)

    def sync(self) -> None:
        """Wait until all is on the disk."""
        self.file.sync()

    def close(self) -> None:
        self.file.close()


def read_steps(path: Path) -> Fingerprints:
    """All whole fingerprints of a file."""
    data = path.read_bytes() if path.is_file() else b""
    whole = len(data) - len(data) % BYTES_PER_STEP
    return np.frombuffer(data[:whole], dtype="<u8").astype(np.uint64)
