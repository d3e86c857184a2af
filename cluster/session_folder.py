"""The temporary folder of an embedded Ray: made, and swept if an earlier program was killed before it could.

A program holds a lock in its folder, which the kernel frees however the program ends.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path

_PREFIX = "distnn-ray-"
_LOCK = "lock"
_SETTLED_S = 60.0
"""Younger folders are left alone: their program may not have locked them yet."""


class SessionFolder:
    """A new folder, short enough for Ray's sockets (their paths must stay below 108 bytes)."""

    def __init__(self, parent: str | None = None) -> None:
        given = parent or tempfile.gettempdir()
        self._parent = given if parent or len(given) <= 20 else "/tmp"
        sweep(Path(self._parent))
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=self._parent))
        self._lock = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def sweep(parent: Path) -> list[Path]:
    """Remove this user's folders whose program is gone; returns them."""
    removed = []
    for folder in parent.glob(f"{_PREFIX}*"):
        try:
            status = folder.lstat()
            is_settled = time.time() - status.st_mtime > _SETTLED_S
            if status.st_uid == os.geteuid() and is_settled and not _is_locked(folder):
                shutil.rmtree(folder, ignore_errors=True)
                removed.append(folder)
        except OSError:
            continue
    return removed


def _is_locked(folder: Path) -> bool:
    lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False
