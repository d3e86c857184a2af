"""`Attempt`: one process's turn at a run, from taking the lock on its directory to freeing it.

It holds what the process writes into: the journals, the log, the heartbeat. What is written there, and what
a training goes on from, is the recorder's (`jobs.recorder`); saving checkpoints is `jobs.saving`'s.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

from distnn.errors import RunDirectoryError
from jobs.appending import AppendedFile
from jobs.checkpoint_writer import CheckpointWriter
from jobs.inspection import missing_files
from jobs.journal import Journal
from jobs.lifecycle import changes_after
from jobs.ownership import is_at, open_locked
from jobs.pulse import Pulse
from jobs.remarks import listen
from jobs.rundir import RunDir
from jobs.status import Heartbeat


class Attempt:
    """Begins by being made; `close` frees all, and so does being forgotten.

    Args:
        run: where; made if need be.

    Attributes:
        number: from 1 on, in the run.
        earlier: the events of the attempts before.
        missing: files that those have left and that are not there.
        metrics: the journal of metrics; events are told by `event`.
        files: what must be on the disk before a checkpoint is.
        writer: of checkpoints; waited for before files are closed.
        lock: held by whoever records steps, begins to save, or closes.
        is_stop_asked: whether somebody asked for a stop through the directory.
        replaced: why nothing can be kept any more, if so.

    Raises:
        RunDirectoryError: another process is writing the run, the directory holds something else, or
            nothing can be written there.
    """

    def __init__(self, run: RunDir) -> None:
        self.run = run
        self.is_stop_asked = False
        self.replaced: RunDirectoryError | None = None
        self.lock = threading.RLock()
        try:
            self._open_files()
        except OSError as error:
            if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
                raise
            raise RunDirectoryError(
                f"{run.path}: cannot be written ({error.strerror}): mount it for writing, or give a "
                "folder that can be written"
            ) from None
        self.writer = CheckpointWriter()
        self.heartbeat = Heartbeat(run, self.number)
        pulse = Pulse(self.beat)
        parts = (pulse, self.heartbeat, self.writer, listen(self.remark), self._log, self.files)
        self._end = weakref.finalize(self, _close, *parts)

    def _open_files(self) -> None:
        run = self.run
        self.missing = missing_files(run)
        run.create()
        self._events = open_locked(run)
        try:
            self.earlier = self._events.repair()
            run.sweep()
            run.stop_request.unlink(missing_ok=True)
            attempts = [r["attempt"] for r in self.earlier.records if r.get("kind") == "attempt"]
            self.number: int = 1 + max(attempts, default=0)
            self.metrics = Journal(run.metrics)
            self._log = os.open(run.log(self.number), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            self.files = [self.metrics.file, self._events.file]
        except BaseException:
            self._events.close()
            raise

    @property
    def is_open(self) -> bool:
        return self._end.alive

    def close(self) -> None:
        """Free the lock, when nothing is being written any more. Twice is fine."""
        self._end()

    def event(self, kind: str, **facts: Any) -> None:
        """Keep that something happened, and the state that the run is in by it."""
        self._events.append({"kind": kind, "time": time.time(), **facts})
        self.note(kind + "".join(f" {name}={value}" for name, value in facts.items()))
        changes = changes_after(self.heartbeat.status, kind, facts)
        if changes:
            self.heartbeat.update(**changes)

    def note(self, text: str) -> None:
        """A line for people in the log of this attempt; lost if the disk does not take it."""
        if self.is_open:
            with contextlib.suppress(OSError):
                os.write(self._log, f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n".encode())

    def remark(self, message: str) -> None:
        """Keep a warning of whatever computes (a worker was lost); one that comes too late is dropped."""
        if self.is_open:
            self.event("warning", message=message)

    def sync_events(self) -> None:
        """Wait until all events are on the disk."""
        self._events.sync()

    def beat(self) -> None:
        """In the pulse's thread: look for a stop that is asked for, and whether the directory is there."""
        if self.run.stop_request.exists():
            self.is_stop_asked = True
        if self.replaced is None and not is_at(self.run.events, self._events.file.descriptor):
            self.replaced = RunDirectoryError(
                f"{self.run.path}: was removed or replaced while the run was going; nothing of it can be kept"
            )
            self.heartbeat.end()  # what is there now may be another's
        self.heartbeat.beat()


def _close(
    pulse: Pulse,
    heartbeat: Heartbeat,
    writer: CheckpointWriter,
    stop_listening: Callable[[], None],
    log: int,
    files: list[AppendedFile],
) -> None:
    pulse.stop()
    stop_listening()
    writer.wait()
    heartbeat.end()
    os.close(log)
    for file in files:  # that of the lock last
        with contextlib.suppress(OSError):
            file.sync()
        file.close()
