"""Writes checkpoints beside the training: one at a time, in a thread of its own.

The thread that trains copies the committed state and goes on; hashing, writing, waiting for the disk and
renaming happen here. What came of it is taken by the thread that trains when it looks up next.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Written:
    """What came of a write: the file, or why there is none. `busy_s`: of a core. `took_s`: by the clock."""

    step: int
    path: Path | None
    error: Exception | None
    busy_s: float
    took_s: float


class CheckpointWriter:
    """At most one write at a time."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._outcome: Written | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a checkpoint is being written."""
        return self._thread is not None and self._thread.is_alive()

    def begin(self, step: int, write: Callable[[], Path]) -> None:
        """Call `write` in the background; the write before must have been waited for, its outcome taken.

        Args:
            step: of the checkpoint.
            write: writes it, whole or not at all.
        """
        assert not self.is_busy and self._outcome is None, "one at a time"
        self._thread = threading.Thread(
            target=self._run, args=(step, write), name="distnn-checkpoint", daemon=True
        )
        self._thread.start()

    def _run(self, step: int, write: Callable[[], Path]) -> None:
        began, began_at = time.thread_time(), time.monotonic()
        path, failure = None, None
        try:
            path = write()
        except Exception as error:
            failure = error
        busy_s, took_s = time.thread_time() - began, time.monotonic() - began_at
        self._outcome = Written(step, path, failure, busy_s, took_s)

    def wait(self, timeout_s: float | None = None) -> None:
        """Until nothing is being written."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    def take_outcome(self) -> Written | None:
        """What came of the last write; once."""
        if self.is_busy:
            return None
        outcome, self._outcome = self._outcome, None
        return outcome
