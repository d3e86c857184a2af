"""`Memory`: what a snapshot of a training holds beside the committed state.

Callbacks' states, the optimizer's, the history, and where in which epoch the training is. The committed state
itself is made tensors by `snapshots`.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from distnn.callbacks import CallbackList, History
from distnn.epoch_count import EpochCount
from distnn.errors import CheckpointError
from distnn.feeding import Feed
from distnn.recording import Snapshot, TrainingState
from distnn.snapshots import read_snapshot, with_arrays, without_arrays, write_snapshot

if TYPE_CHECKING:
    from distnn.models.model import Model
    from distnn.task import Task


@dataclass
class Memory:
    """Takes snapshots of a training, and brings it back to where one was taken.

    Attributes:
        changed: the fingerprint of weights that a callback changed after the last step, if one did.
    """

    model: Model
    task: Task
    callbacks: CallbackList
    history: History
    count: EpochCount
    feed: Feed | None
    changed: str | None = None

    def snapshot(self, state: TrainingState, epoch: int, is_within_epoch: bool) -> Snapshot:
        """A copy; a run that goes on from it is in `epoch`, or about to begin it."""
        states, arrays = without_arrays(self.callbacks.get_states())
        training: dict[str, Any] = {
            "epoch": epoch,
            "is_within_epoch": is_within_epoch,
            "history": {name: list(values) for name, values in self.history.history.items()},
            "epochs": list(self.history.epoch),
            "callbacks": copy.deepcopy(states),
            "optimizer": copy.deepcopy(self.model.optimizer.get_state()),
            "stop_training": self.model.stop_training,
            "skipped_samples": self.count.skipped,
            "changed": self.changed,
        }
        if self.feed is not None:
            training["pulled"] = self.feed.state(state.step)
        snapshot = write_snapshot(self.task, state, training)
        return replace(snapshot, tensors={**snapshot.tensors, **arrays})

    def read(self, snapshot: Snapshot, like: TrainingState) -> TrainingState:
        """The state to go on from; the history is as it was.

        Raises:
            CheckpointError: something is missing.
        """
        try:
            state = read_snapshot(snapshot, self.task, like)
        except KeyError as error:
            raise CheckpointError(f"the checkpoint of step {snapshot.step} lacks {error}") from error
        training = snapshot.metadata["training"]
        self.history.history.update({name: list(v) for name, v in training["history"].items()})
        self.history.epoch.extend(training["epochs"])
        return state

    def restore(self, snapshot: Snapshot) -> None:
        """Let callbacks, optimizer and counts be as they were."""
        training = snapshot.metadata["training"]
        self.callbacks.set_states(with_arrays(training["callbacks"], snapshot.tensors))
        self.model.optimizer.set_state(training["optimizer"])
        self.model.stop_training = bool(training["stop_training"])
        self.count.skipped = int(training.get("skipped_samples", 0))
        self.changed = training.get("changed")


def is_within_epoch(snapshot: Snapshot) -> bool:
    """Whether it was taken before the last step of an epoch."""
    return bool(snapshot.metadata["training"]["is_within_epoch"])
