"""`Saving`: when checkpoints of a run are saved, and what came of them.

They are begun one after another, by the thread that trains or by one that rescues, and written beside the
training (`jobs.checkpoint_writer`); what came of them is told when the training looks up next. A checkpoint
is marked with the steps up to its own and no further: whoever records steps holds the attempt's lock, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from distnn.recording import Snapshot
from jobs.appending import AppendedFile
from jobs.attempt import Attempt
from jobs.checkpoint_writer import Written
from jobs.checkpoints import CheckpointStore
from jobs.errors import in_words
from jobs.rhythm import Rhythm
from jobs.steplog import StepLog


class Saving:
    """Saves the checkpoints of an attempt.

    Args:
        attempt: whose files a checkpoint rests on.
        store: marks and writes a checkpoint.
        steps: what has been recorded.
        rhythm: when to save.
        warn: told in words of what could not be written.
        clock: seconds.
    """

    def __init__(
        self,
        attempt: Attempt,
        store: CheckpointStore,
        steps: StepLog,
        rhythm: Rhythm,
        warn: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        self._attempt = attempt
        self._store = store
        self._steps = steps
        self._rhythm = rhythm
        self._warn = warn
        self._clock = clock
        self._last_begun = clock()
        self._cost_s = 0.0

    def is_due(self, step: int, at_epoch_end: bool) -> bool:
        """Whether the rhythm wants a checkpoint of `step`."""
        if self._attempt.writer.is_busy and self._rhythm.every_steps is None:
            return False
        age = self._clock() - self._last_begun
        if at_epoch_end:
            return self._rhythm.is_due_at_epoch_end(step, age, self._cost_s)
        return self._rhythm.is_due(step, age)

    def begin(self, snapshot: Snapshot) -> None:
        """Save the snapshot of the last recorded step, in the background; waits for the write before.

        Raises:
            Exception: as `take_stock` does.
        """
        with self._attempt.lock:
            self._attempt.writer.wait()
            self.take_stock()
            marked = self._store.marked(snapshot, self._steps.digest())
            files = tuple(self._attempt.files)
            self._attempt.writer.begin(snapshot.step, partial(_save, self._store, marked, files))
        self._last_begun = self._clock()  # of the last try: one that fails is not tried again at once

    def wait(self) -> None:
        """Until nothing is being saved, by whomever it was begun."""
        with self._attempt.lock:
            self._attempt.writer.wait()

    def rescue(self, last_committed: Callable[[], Snapshot | None]) -> int | None:
        """Save what is committed while another thread trains; see `RunRecorder.rescue`.

        Nothing is had of a step that is not the last recorded one: its mark would be of other steps. Nor of
        an attempt that has been closed meanwhile.
        """
        with self._attempt.lock:
            snapshot = last_committed() if self._attempt.is_open else None
            if snapshot is None:
                return None
            self._attempt.writer.wait()
            if snapshot.step not in self._attempt.run.checkpoint_steps():
                if snapshot.step != self._steps.last_step():
                    return None
                self.begin(snapshot)
                self._attempt.writer.wait()
            return snapshot.step

    def take_stock(self) -> None:
        """Tell what happened beside the training, on its thread.

        Raises:
            RunDirectoryError: the directory is not there any more.
            Exception: a bug, or something in a callback's state that cannot be written.
        """
        if self._attempt.replaced is not None:
            raise self._attempt.replaced
        outcome = self._attempt.writer.take_outcome()
        if outcome is not None:
            self._cost_s = outcome.busy_s
            tell_of(outcome, self._attempt, self._warn)
            if outcome.error is not None and not isinstance(outcome.error, OSError):
                raise outcome.error
        for file in self._attempt.files:
            if (trouble := file.take_trouble()) is not None:
                name, reason = file.path.name, trouble.strerror
                self._attempt.event("write-failed", file=name, reason=reason)
                self._warn(f"{name} cannot be written ({reason}): what is to be written waits in memory")


def tell_of(outcome: Written, attempt: Attempt, warn: Callable[[str], None]) -> None:
    """What came of a checkpoint, as an event; of one that could not be written in words, too."""
    if outcome.path is not None:
        took_s = round(outcome.took_s, 3)
        attempt.event("checkpoint", step=outcome.step, file=outcome.path.name, took_s=took_s)
        return
    assert outcome.error is not None
    reason = in_words(outcome.error)
    attempt.event("checkpoint-failed", step=outcome.step, reason=reason)
    if isinstance(outcome.error, OSError):
        warn(f"the checkpoint of step {outcome.step} could not be written: {reason}")


def _save(store: CheckpointStore, snapshot: Snapshot, rests_on: Sequence[AppendedFile]) -> Path:
    """In the writer's thread: what a checkpoint rests on is on the disk before it is."""
    for file in rests_on:
        file.sync()
    return store.save(snapshot)
