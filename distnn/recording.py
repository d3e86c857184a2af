"""What the training loop tells a run directory, and what it asks of it.

`Recorder` is the interface; the training loop calls it at committed steps only. A training that keeps
nothing has no recorder. The run directory's recorder lives in `jobs`, found by name at the call.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from distnn.batching import UNKNOWN_STEPS
from distnn.tensor import Array

BATCHES_ENDED = "batches-ended"
"""The kind of an event: what yields the batches had no more of them before the plan's last step."""


@dataclass
class TrainingState:
    """All that is committed with a step; a run goes on from it to the same bytes.

    `weights`: float32 [N], trainable variables first. `slots`: float32 [num_slots, T]. `sums`: float64 [K],
    the epoch's loss and metric sums so far. `step` counts the run's committed steps, `iterations` the
    optimizer's updates over the model's whole life.
    """

    step: int
    iterations: int
    weights: Array
    slots: Array
    sums: Array

    def copy(self) -> TrainingState:
        return TrainingState(
            self.step, self.iterations, self.weights.copy(), self.slots.copy(), self.sums.copy()
        )


@dataclass(frozen=True)
class Plan:
    """The size of a training: what SUCCEEDED is checked against."""

    epochs: int
    initial_epoch: int
    steps_per_epoch: int
    batch_size: int
    samples: int
    shards: int

    @property
    def first_step(self) -> int:
        return self.begin_of(self.initial_epoch)

    @property
    def last_step(self) -> int:
        return self.epochs * self.steps_per_epoch

    def begin_of(self, epoch: int) -> int:
        """The committed step that `epoch` begins at; 0 if its length is unknown, as it is the only one."""
        return 0 if self.steps_per_epoch == UNKNOWN_STEPS else epoch * self.steps_per_epoch

    def end_of(self, epoch: int) -> int:
        """The committed step that `epoch` ends at, at the latest."""
        return self.begin_of(epoch) + self.steps_per_epoch


@dataclass
class Snapshot:
    """A training at a committed step, ready to be written: named tensors and JSON-able facts."""

    step: int
    tensors: Mapping[str, Array]
    metadata: dict[str, Any] = field(default_factory=dict)


SnapshotCheck = Callable[[Snapshot, int | None], None]


@dataclass(frozen=True)
class Evidence:
    """What a run recorded before, to compare with what is computed again.

    `fingerprints`: uint64, of the steps after `first_step`. `earlier`: the snapshots before the one that the
    run goes on from, the newest first.
    """

    first_step: int
    fingerprints: Array
    earlier: Callable[[], Iterator[Snapshot]]

    @property
    def last_step(self) -> int:
        return self.first_step + len(self.fingerprints)

    def after(self, step: int, count: int) -> Array:
        """Fingerprints of the `count` steps after committed `step`; fewer where the record ends."""
        start = step - self.first_step
        return self.fingerprints[start : start + count]


class Recorder(ABC):
    """Keeps a training: implemented by a run directory. All calls come from the thread that trains."""

    @abstractmethod
    def begin(
        self, recipe: dict[str, Any], plan: Plan, check: SnapshotCheck | None = None
    ) -> Snapshot | None:
        """Called once before the first step.

        Args:
            recipe: what the bytes depend on.
            plan: the size of the training.
            check: raises CheckpointError for a snapshot that is not what was recorded, given the fingerprint
                of its step, if that is known.

        Returns:
            The snapshot to go on from, or None to begin at the beginning. What the directory holds beyond
            that snapshot's step stays until `settle`.

        Raises:
            RunDirectoryError: if the directory holds a run of another recipe.
        """

    def evidence(self) -> Evidence | None:
        """What was recorded before `begin`; None if nothing was."""
        return None

    def on_difference(self, step: int, text: str) -> None:  # noqa: B027  (may be ignored)
        """What was computed again for `step` is not what was recorded, as `text` says.

        Raises:
            ResumeMismatchError: unless the run is to go on all the same.
        """

    def settle(self) -> None:  # noqa: B027  (may be ignored)
        """All is well: cut what lies beyond the snapshot. Whatever writes does this, too."""

    @abstractmethod
    def next_checkpoint_step(self, step: int) -> int | None:
        """The first step after `step` at which a segment must end for a checkpoint, if steps decide it."""

    @abstractmethod
    def wants_checkpoint(self, step: int, at_epoch_end: bool) -> bool:
        """Whether to save now, at the committed `step`."""

    @abstractmethod
    def save_checkpoint(self, snapshot: Snapshot) -> None:
        """Keep the snapshot, whole or not at all; the writing may go on beside the next steps.

        One that cannot be written is told as an event, and leaves the ones before. `finish` and `abandon`
        wait for one that is being written.
        """

    def offer(self, last_committed: Callable[[], Snapshot | None]) -> None:  # noqa: B027  (may be ignored)
        """How to have the last committed state from another thread, while a call of the engine is long."""

    @abstractmethod
    def on_steps(
        self, first_step: int, fingerprints: np.ndarray[Any, Any], logs: Mapping[str, float]
    ) -> None:
        """Steps `first_step` .. have been committed; `logs` are the epoch's running means after them."""

    @abstractmethod
    def on_epoch(self, epoch: int, step: int, logs: Mapping[str, float], duration_s: float) -> None:
        """Epoch `epoch` (from 0) ended at committed `step`, validation included."""

    @abstractmethod
    def on_event(self, kind: str, **facts: Any) -> None:
        """Something worth a line in the journal: engine started, stopped, warning, ..."""

    @abstractmethod
    def should_stop(self) -> bool:
        """Whether somebody (Ctrl-C, SIGTERM, `stop`) asked to stop at the next commit."""

    def wanted_workers(self) -> int | None:
        """How many workers somebody asked for since the last call (`scale`); None if nobody did."""
        return None

    @abstractmethod
    def abandon(self, error: BaseException) -> None:
        """The training ended by `error` (a stop included): say so, and let go of what is held."""

    @abstractmethod
    def finish(self, snapshot: Snapshot) -> Path:
        """The training is complete: keep the final model. Returns its path."""
