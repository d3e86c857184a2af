"""THE training loop: one for all engines.

It plans segments of steps (they end at epoch ends, checkpoints, and for callbacks that want each batch),
lets the engine commit them, and tells callbacks, progress and the run directory. It does no arithmetic of a
step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from distnn.callbacks import CallbackList, History
from distnn.engine import Engine
from distnn.errors import CheckpointError
from distnn.objective import Objective
from distnn.recording import Plan, Recorder, Snapshot, TrainingState
from distnn.tensor import Array

if TYPE_CHECKING:
    from distnn.data.arrays import ArrayData
    from distnn.models.model import Model
    from distnn.task import Task

SEGMENT_SECONDS = 0.2
"""How long a segment should take: often enough for Ctrl-C, progress and timed checkpoints."""


class Stopped(Exception):  # noqa: N818  (an outcome, not an error)
    """Somebody asked the run to stop; it stopped whole at a committed step.

    `step`: the last committed step. `total_steps`: of the whole training.
    """

    def __init__(self, step: int, total_steps: int) -> None:
        super().__init__(step, total_steps)
        self.step = step
        self.total_steps = total_steps

    def __str__(self) -> str:
        return f"stopped at step {self.step} of {self.total_steps}"


@dataclass
class Validation:
    """When and how to validate."""

    samples: int
    batch_size: int
    frequency: int = 1


@dataclass
class Training:
    """One call of `fit`, ready to run."""

    model: Model
    task: Task
    objective: Objective
    data: Mapping[str, ArrayData]
    engine: Engine
    plan: Plan
    callbacks: CallbackList
    history: History
    validation: Validation | None = None
    recorder: Recorder | None = None
    recipe: dict[str, Any] = field(default_factory=dict)
    clock: Callable[[], float] = time.monotonic

    def run(self, state: TrainingState) -> TrainingState:
        """Train from `state` (or from the recorder's newest snapshot) to the plan's end.

        Returns:
            The last committed state.

        Raises:
            Stopped: the recorder asked to stop; a checkpoint of the last committed step has been saved.
        """
        state, epoch = self._begin(state)
        self.engine.load(self.task, self.data, state)
        self._event("engine-ready", engine=type(self.engine).__name__)
        self.callbacks.on_train_begin()
        self.model.stop_training = False
        logs: dict[str, float] = {}
        while epoch < self.plan.epochs and not self.model.stop_training:
            logs = self._run_epoch(epoch)
            epoch += 1
        self.callbacks.on_train_end(logs)
        final = self.engine.state()
        self.model.take_state(final)
        if self.recorder is not None:
            self.recorder.finish(self.model.final_snapshot(final.step))
        return final

    # Beginning

    def _begin(self, state: TrainingState) -> tuple[TrainingState, int]:
        """Where to begin: the given state and the plan's first epoch, or the recorder's snapshot."""
        snapshot = None if self.recorder is None else self.recorder.begin(self.recipe, self.plan)
        if snapshot is None:
            return state, self.plan.initial_epoch
        try:
            state = read_snapshot(snapshot, self.task, state)
        except KeyError as error:
            raise CheckpointError(f"the checkpoint of step {snapshot.step} lacks {error}") from error
        training = snapshot.metadata["training"]
        self.history.history.update({name: list(v) for name, v in training["history"].items()})
        self.history.epoch.extend(training["epochs"])
        self.callbacks.set_states(training["callbacks"])
        self.model.optimizer.set_state(training["optimizer"])
        return state, int(training["epoch"])

    # Epochs

    def _run_epoch(self, epoch: int) -> dict[str, float]:
        began = self.clock()
        self.callbacks.on_epoch_begin(epoch)
        self._take_callbacks_changes()
        logs = self._run_steps(epoch)
        if self.validation is not None and (epoch + 1) % self.validation.frequency == 0:
            sums = self.engine.evaluate("validation", self.validation.batch_size)
            means = self.objective.means(sums, self.validation.samples)
            logs.update({f"val_{name}": value for name, value in means.items()})
        step = self.engine.state().step
        self.model.take_state(self.engine.state())
        self.callbacks.on_epoch_end(epoch, logs)
        self._take_callbacks_changes()
        if self.recorder is not None:
            self.recorder.on_epoch(epoch, step, logs, self.clock() - began)
            if self.recorder.wants_checkpoint(step, at_epoch_end=True):
                self._save(epoch + 1)
            if self.recorder.should_stop() and epoch + 1 < self.plan.epochs:
                self._stop(epoch + 1)
        return logs

    def _run_steps(self, epoch: int) -> dict[str, float]:
        """The rest of the epoch's steps, segment by segment."""
        end = (epoch + 1) * self.plan.steps_per_epoch
        each_batch = self.callbacks.wants_batches
        per_second = 0.0
        logs: dict[str, float] = {}
        sums = self.engine.state().sums
        while (step := self.engine.state().step) < end:
            size = 1 if each_batch else self._segment_size(step, end, per_second)
            if each_batch:
                self.callbacks.on_train_batch_begin(step % self.plan.steps_per_epoch)
            began = self.clock()
            report = self.engine.run_segment(size)
            per_second = size / max(self.clock() - began, 1e-9)
            sums, step = report.sums, step + size
            logs = self.objective.means(sums, self._samples_done(step))
            if self.recorder is not None:
                self.recorder.on_steps(report.first_step, report.fingerprints, logs)
            if each_batch:
                self.model.take_state(self.engine.state())
            self.callbacks.on_train_batch_end((step - 1) % self.plan.steps_per_epoch, logs)
            self._take_callbacks_changes()
            self._after_segment(epoch, step, end)
            if self.model.stop_training:
                break
        return logs or self.objective.means(sums, self._samples_done(end))

    def _segment_size(self, step: int, end: int, per_second: float) -> int:
        """How many steps to run before looking up again; the bytes do not depend on it."""
        size = max(1, min(int(per_second * SEGMENT_SECONDS), end - step))
        if self.recorder is not None:
            checkpoint = self.recorder.next_checkpoint_step(step)
            if checkpoint is not None:
                size = min(size, max(1, checkpoint - step))
        return size

    def _after_segment(self, epoch: int, step: int, end: int) -> None:
        if self.recorder is None:
            return
        if step < end and self.recorder.wants_checkpoint(step, at_epoch_end=False):
            self._save(epoch)
        if self.recorder.should_stop() and step < end:
            self._stop(epoch)

    def _samples_done(self, step: int) -> int:
        """Samples of the epoch that the steps up to `step` (at least one) have seen."""
        within = (step - 1) % self.plan.steps_per_epoch + 1
        batching = self.task.batching
        last_start, last_stop = batching.batch_bounds(step - 1)
        full_passes = (within - 1) * batching.batch_size // batching.whole_pass
        return full_passes * batching.samples + last_stop

    # Callbacks

    def _take_callbacks_changes(self) -> None:
        """Let weights that a callback set enter the training."""
        if self.model.weights_were_set:
            state = self.engine.state().copy()
            state.weights[:] = self.model.flat_weights(self.task.layout())
            self.engine.set_state(state)
            self.model.weights_were_set = False

    # Checkpoints

    def _save(self, epoch: int) -> None:
        if self.recorder is not None:
            self.recorder.save_checkpoint(self._snapshot(epoch))

    def _stop(self, epoch: int) -> None:
        self._save(epoch)
        state = self.engine.state()
        self.model.take_state(state)
        self._event("stopped", step=state.step)
        raise Stopped(state.step, self.plan.last_step)

    def _snapshot(self, epoch: int) -> Snapshot:
        training = {
            "epoch": epoch,
            "history": self.history.history,
            "epochs": self.history.epoch,
            "callbacks": self.callbacks.get_states(),
            "optimizer": self.model.optimizer.get_state(),
        }
        return write_snapshot(self.task, self.engine.state(), training)

    def _event(self, kind: str, **facts: Any) -> None:
        if self.recorder is not None:
            self.recorder.on_event(kind, **facts)


def write_snapshot(task: Task, state: TrainingState, training: dict[str, Any]) -> Snapshot:
    """A committed state as named tensors (copied) and facts."""
    layout = task.layout()
    tensors = {f"weights/{path}": view for path, view in layout.named(state.weights).items()}
    for name, slot in zip(task.model.optimizer.slot_names, state.slots, strict=True):
        named = layout.named(slot, layout.trainable)
        tensors |= {f"optimizer/{name}/{path}": view for path, view in named.items()}
    tensors["training/sums"] = state.sums
    copied = {name: np.array(array, order="C") for name, array in tensors.items()}
    facts = {"step": state.step, "iterations": state.iterations, "training": training}
    return Snapshot(state.step, copied, facts)


def read_snapshot(snapshot: Snapshot, task: Task, like: TrainingState) -> TrainingState:
    """The state that `write_snapshot` wrote; `like` gives the sizes.

    Raises:
        CheckpointError: if it is of another model.
        KeyError: if a tensor is missing.
    """
    layout = task.layout()
    weights, slots = np.zeros_like(like.weights), np.zeros_like(like.slots)
    for variable in layout.variables:
        _fill(layout.view(weights, variable), snapshot, f"weights/{variable.path}")
    for name, slot in zip(task.model.optimizer.slot_names, slots, strict=True):
        for variable in layout.trainable:
            _fill(layout.view(slot, variable), snapshot, f"optimizer/{name}/{variable.path}")
    sums = np.array(snapshot.tensors["training/sums"], np.float64)
    return TrainingState(snapshot.step, int(snapshot.metadata["iterations"]), weights, slots, sums)


def _fill(target: Array, snapshot: Snapshot, name: str) -> None:
    array = snapshot.tensors[name]
    if array.shape != target.shape:
        raise CheckpointError(
            f"the checkpoint of step {snapshot.step} is of another model: '{name}' has shape {array.shape}, "
            f"the model's has {target.shape}"
        )
    target[...] = array
