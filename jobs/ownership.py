"""Who writes a run: one process at a time, held by a lock on the journal of events.

The lock is freed by the death of its holder. It does not reach other machines on every file system, nor
beyond a removed file; there the run's heartbeat is looked at.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from cluster.machine import machine_identity
from distnn.errors import RunDirectoryError
from jobs.journal import Journal
from jobs.rundir import RunDir
from jobs.status import BEAT_S, State, Status, status_or_none

WATCH_S = 3 * BEAT_S
"""How long to look for a sign of life where the lock says nothing."""


def open_locked(run: RunDir) -> Journal:
    """The journal of events, ours alone until it is closed.

    Raises:
        RunDirectoryError: another process is writing the run.
    """
    is_new = not run.events.exists()
    journal = Journal(run.events)
    is_ours = _lock(journal.file.descriptor)
    writer = _beating_elsewhere(run, is_new) if is_ours else status_or_none(run)
    if is_ours and writer is None:
        return journal
    journal.close()
    who = f" (process {writer.pid} on {writer.host}, attempt {writer.attempt})" if writer else ""
    raise RunDirectoryError(
        f"{run.path}: is being written by another process{who}: wait for it, or stop it first"
    )


def _lock(descriptor: int, *, wait_s: float = 0.5) -> bool:
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.02)


def _beating_elsewhere(run: RunDir, is_lock_new: bool) -> Status | None:
    """The status of a run that somebody writes though its lock was free, or None.

    Clocks of two machines differ, so what counts is not the age of the heartbeat but whether another comes.
    """
    status = status_or_none(run)
    if status is None or status.state.is_terminal or status.state is State.QUEUED:
        return None
    if status.machine == machine_identity() and not is_lock_new:
        return None
    deadline = time.monotonic() + WATCH_S
    while time.monotonic() < deadline:
        now = status_or_none(run)
        if now is not None and now.time != status.time:
            return None if now.state.is_terminal else now
        time.sleep(WATCH_S / 60)
    return None


def is_at(path: Path, descriptor: int) -> bool:
    """Whether the open file is still what has this name."""
    try:
        there, held = os.stat(path), os.fstat(descriptor)
    except FileNotFoundError:
        return False
    except OSError:
        return True  # nobody can say
    return (there.st_dev, there.st_ino) == (held.st_dev, held.st_ino)
