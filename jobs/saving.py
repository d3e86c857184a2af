"""`Saving`: checkpoints are begun one after another, by the thread that trains or by one that rescues.

A checkpoint is marked with the steps up to its own and no further: whoever records steps holds `lock`, too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from distnn.recording import Snapshot
from jobs.appending import AppendedFile
from jobs.checkpoint_writer import CheckpointWriter
from jobs.checkpoints import CheckpointStore
from jobs.rundir import RunDir
from jobs.steplog import StepLog


class Saving:
    """Begins the checkpoints of a run.

    Args:
        run: where.
        store: marks and writes a checkpoint.
        steps: what has been recorded.
        writer: writes beside the training.
        rests_on: what must be on the disk before a checkpoint is.

    Attributes:
        lock: held while a checkpoint is marked and begun, and by whoever records steps.
    """

    def __init__(
        self,
        run: RunDir,
        store: CheckpointStore,
        steps: StepLog,
        writer: CheckpointWriter,
        rests_on: Sequence[AppendedFile],
    ) -> None:
        self.lock = threading.RLock()
        self._run = run
        self._store = store
        self._steps = steps
        self._writer = writer
        self._rests_on = rests_on

    def begin(self, snapshot: Snapshot, take_stock: Callable[[], None]) -> None:
        """Save the snapshot of the last recorded step, in the background; waits for the write before.

        Args:
            snapshot: what to save.
            take_stock: takes and tells what came of the write before.
        """
        with self.lock:
            self._writer.wait()
            take_stock()
            marked = self._store.marked(snapshot, self._steps.digest())
            files = tuple(self._rests_on)
            self._writer.begin(snapshot.step, partial(_save, self._store, marked, files))

    def wait(self) -> None:
        """Until nothing is being saved, by whomever it was begun."""
        with self.lock:
            self._writer.wait()

    def rescue(
        self, last_committed: Callable[[], Snapshot | None], take_stock: Callable[[], None]
    ) -> int | None:
        """Save what is committed while another thread trains; see `RunRecorder.rescue`.

        Nothing is had of a step that is not the last recorded one: its mark would be of other steps.
        """
        with self.lock:
            snapshot = last_committed()
            if snapshot is None:
                return None
            self._writer.wait()
            if snapshot.step not in self._run.checkpoint_steps():
                if snapshot.step != self._steps.last_step():
                    return None
                self.begin(snapshot, take_stock)
                self._writer.wait()
            return snapshot.step


def _save(store: CheckpointStore, snapshot: Snapshot, rests_on: Sequence[AppendedFile]) -> Path:
    """In the writer's thread: what a checkpoint rests on is on the disk before it is."""
    for file in rests_on:
        file.sync()
    return store.save(snapshot)
