"""The state of a run as its own heartbeat tells it, and whether somebody is writing the run right now.

`status.json` is written by the one process that holds the lock on the run's journal; everybody may read.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from enum import Enum
from typing import Any

from cluster.machine import machine_identity
from distnn.errors import RunDirectoryError
from jobs.journal import plain_json
from jobs.rundir import RunDir

BEAT_S = 2.0
"""A living run's status is never older than this by much, whatever the training does."""


class State(Enum):
    """Where a run is in its life.

    STARTING until the first step can be computed; RECOVERING from the loss of a worker to the next committed
    step; WAITING for workers without which the run does not go on.
    """

    QUEUED = "QUEUED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    RECOVERING = "RECOVERING"
    WAITING = "WAITING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    STOPPED = "STOPPED"

    @property
    def is_terminal(self) -> bool:
        """Whether nobody works on the run any more; FAILED and STOPPED runs can be resumed."""
        return self in (State.SUCCEEDED, State.FAILED, State.STOPPED)


@dataclass(frozen=True)
class Status:
    """One heartbeat. Times are seconds since 1970; `epoch` counts finished epochs.

    `message`: why it is RECOVERING, what it is WAITING for, how it ended. `workers`: those that compute, 0 if
    nobody said. `losses`: workers lost in this attempt.
    """

    state: State
    step: int = 0
    total_steps: int = 0
    epoch: int = 0
    epochs: int = 0
    logs: Mapping[str, float] = field(default_factory=dict)
    attempt: int = 1
    message: str = ""
    workers: int = 0
    losses: int = 0
    pid: int = 0
    host: str = ""
    machine: str = ""
    started: float = 0.0
    time: float = 0.0

    def to_plain(self) -> dict[str, Any]:
        plain = asdict(self)
        plain["state"] = self.state.value
        plain["logs"] = plain_json(self.logs)
        return plain


class Heartbeat:
    """Writes a run's status, at most once a second unless the state changes. May be used by several threads.

    A disk that does not take it is no reason to end a training: readers see an older one.
    """

    def __init__(self, run: RunDir, attempt: int, interval_s: float = 1.0) -> None:
        self._run = run
        self._interval_s = interval_s
        self._written = float("-inf")
        self._lock = threading.RLock()
        self._has_ended = False
        now = time.time()
        self.status = Status(
            State.STARTING,
            attempt=attempt,
            pid=os.getpid(),
            host=socket.gethostname(),
            machine=machine_identity(),
            started=now,
            time=now,
        )

    def update(self, *, force: bool = False, **changes: Any) -> None:
        """Change the status; written now if it is due, if the state changed, or if forced."""
        with self._lock:
            force = force or changes.get("state", self.status.state) is not self.status.state
            self.status = replace(self.status, **changes)
            if force or time.monotonic() - self._written >= self._interval_s:
                self._write()

    def beat(self) -> None:
        """Write the status again if nobody has for a while."""
        with self._lock:
            if time.monotonic() - self._written >= BEAT_S:
                self._write()

    def end(self) -> None:
        """Write nothing any more: the run may be another process's soon."""
        with self._lock:
            self._has_ended = True

    def _write(self) -> None:
        if self._has_ended:
            return
        self._written = time.monotonic()
        self.status = replace(self.status, time=time.time())
        with contextlib.suppress(OSError):
            self._run.write_json(self._run.status, self.status.to_plain(), durable=False)


def read_status(run: RunDir) -> Status | None:
    """The last heartbeat, or None if there was none yet.

    Raises:
        RunDirectoryError: the file is there and is not a status.
    """
    plain = run.read_json(run.status)
    if plain is None:
        return None
    known = {entry.name for entry in fields(Status)}
    try:
        return Status(**{**{k: v for k, v in plain.items() if k in known}, "state": State(plain["state"])})
    except (TypeError, KeyError, ValueError, AttributeError):
        raise RunDirectoryError(f"{run.status}: is not the status of a run") from None


def status_or_none(run: RunDir) -> Status | None:
    """The last heartbeat, or None if there is none that can be read."""
    with contextlib.suppress(RunDirectoryError):
        return read_status(run)
    return None


def is_being_written(run: RunDir) -> bool:
    """Whether a living process holds the run's lock, on this machine or on one that shares the folder."""
    try:
        descriptor = os.open(run.events, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
