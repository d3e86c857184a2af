"""A file that only grows. What the disk does not take waits in memory for the next try.

A full disk must not end a training: the journals and the steps go on in memory until there is room again. A
checkpoint is only written once all of it is on the disk (`sync`).
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

MAX_WAITING_BYTES = 64 << 20
"""More than this does not wait: the error is raised."""


class AppendedFile:
    """The writing side, kept open. May be used by several threads.

    Attributes:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._trouble: OSError | None = None
        self._is_told = False
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        self._waiting = bytearray()
        self._lock = threading.Lock()

    @property
    def descriptor(self) -> int:
        """Of the open file, to lock it."""
        return self._descriptor

    def append(self, data: bytes) -> None:
        """Add bytes, with one write if all is well.

        Raises:
            OSError: the disk has taken nothing for so long that too much waits in memory.
        """
        with self._lock:
            self._waiting += data
            try:
                self._write()
            except OSError as error:
                self._trouble = error
                if len(self._waiting) > MAX_WAITING_BYTES:
                    raise

    def _write(self) -> None:
        while self._waiting:
            written = os.write(self._descriptor, self._waiting)
            del self._waiting[:written]
        self._trouble, self._is_told = None, False

    def take_trouble(self) -> OSError | None:
        """Why something waits in memory, the first time it is asked for; None if nothing does."""
        is_told, self._is_told = self._is_told, self._trouble is not None
        return None if is_told else self._trouble

    def sync(self) -> None:
        """Wait until all that was added so far is on the disk.

        Raises:
            OSError: it cannot be; it goes on waiting in memory.
        """
        with self._lock:
            try:
                self._write()
            except OSError as error:
                self._trouble = error
                raise
        os.fsync(self._descriptor)  # others may append meanwhile

    def cut_at(self, size: int) -> None:
        """Leave the first `size` bytes of all that was added, what waits included; nothing is put in."""
        with self._lock:
            on_disk = os.fstat(self._descriptor).st_size
            del self._waiting[max(0, size - on_disk) :]
            if not self._waiting:
                self._trouble, self._is_told = None, False
            os.ftruncate(self._descriptor, min(size, on_disk))

    def close(self) -> None:
        """Let go of the file. Twice is fine."""
        with self._lock:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1
