"""THE training loop: one for all engines.

It plans segments of steps (they end at epoch ends, checkpoints, and for callbacks that want each batch),
lets the engine commit them, and tells callbacks, progress and the run directory. It does no arithmetic of a
step.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from distnn.batching import UNKNOWN_STEPS
from distnn.callbacks import CallbackList, History
from distnn.engine import Engine, SegmentReport, StopAsked
from distnn.epoch_count import EpochCount
from distnn.errors import NonFiniteError, Trouble
from distnn.feeding import Feed, Window
from distnn.hooked_passes import TEST_HOOKS, HookedPass
from distnn.incidents import Incident
from distnn.interrupts import Interrupts
from distnn.memory import Memory, is_within_epoch
from distnn.nonfinite import find_trouble
from distnn.objective import Objective
from distnn.recording import BATCHES_ENDED, Plan, Recorder, Snapshot, TrainingState
from distnn.rescue import Rescue
from distnn.resuming import BEFORE_A_BATCH, ResumeCheck, check_snapshot, find_example, steps_again
from distnn.tensor import Array
from distnn.updater import skipped, state_fingerprint

if TYPE_CHECKING:
    from distnn.data.arrays import ArrayData
    from distnn.models.model import Model
    from distnn.task import Task

logger = logging.getLogger("distnn.training")

POLICIES = ("stop", "skip")
"""What happens at a step whose loss, gradient or new weights are not finite."""

_MANY = 5
"""Skipped steps from which on only some are told to people."""

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
    """When and how to validate: after every so many epochs, or after those named, counted from 1."""

    samples: int
    batch_size: int
    frequency: int | Sequence[int] = 1

    def follows(self, epoch: int) -> bool:
        """Whether there is one after `epoch`, counted from 0."""
        if isinstance(self.frequency, Sequence):
            return epoch + 1 in self.frequency
        return (epoch + 1) % self.frequency == 0


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
    on_nonfinite: str = "stop"
    feed: Feed | None = None
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self.layout = self.model.layout
        self._num_skipped = 0
        self._count = EpochCount(self.objective, self.plan, self.task.batching, self.feed)
        self._memory = Memory(self.model, self.task, self.callbacks, self.history, self._count, self.feed)
        self._check: ResumeCheck | None = None
        self.interrupts = Interrupts()
        self._rescue = Rescue(lambda epoch: self._snapshot(epoch, is_within_epoch=True))

    def run(self, state: TrainingState) -> TrainingState:
        """Train from `state` (or from the recorder's newest snapshot) to the plan's end.

        Returns:
            The last committed state.

        Raises:
            Stopped: the recorder asked to stop; a checkpoint of the last committed step has been saved.
        """
        self.engine.observer = self._on_incident
        self.engine.should_stop = None if self.recorder is None else self._is_stop_asked
        try:
            return self._run(state)
        finally:
            self.engine.observer = self.engine.should_stop = None
            if self.feed is not None:
                self.feed.close()

    def _run(self, state: TrainingState) -> TrainingState:
        initial, snapshot = state, None
        if self.recorder is not None:
            check = partial(check_snapshot, task=self.task, like=initial)
            snapshot = self.recorder.begin(self.recipe, self.plan, check)
        if snapshot is not None:
            state = self._read(snapshot, state)
        if self.recorder is not None:
            self.recorder.offer(self._rescue.snapshot)
        try:
            self.engine.load(self._task_at(state.step), self.data, state)
        except StopAsked:
            raise Stopped(state.step, self.plan.last_step) from None
        self._event("engine-ready", engine=type(self.engine).__name__, **self.engine.facts())
        if forgetful := self.callbacks.without_state():
            self._event("callbacks-without-state", callbacks=", ".join(forgetful))
        try:
            self._check_beginning(snapshot, initial, state)
            if self.recorder is not None:
                self.recorder.settle()
            self._run_epochs(snapshot)
        except BaseException:
            self._keep_committed()
            raise
        final = self.engine.state()
        self.model.take_state(final)
        if self.recorder is not None:
            self.recorder.finish(self.model.final_snapshot(final.step))
        return final

    def _run_epochs(self, snapshot: Snapshot | None) -> None:
        self.model.take_state(self.engine.state())
        self.model.stop_training = False
        self.callbacks.on_train_begin()
        epoch, has_ended = self.plan.initial_epoch, False
        if snapshot is not None:
            self._restore(snapshot)
            epoch = int(snapshot.metadata["training"]["epoch"])
            has_ended = self.model.stop_training and not is_within_epoch(snapshot)
        while epoch < self.plan.epochs and not has_ended and not self._has_run_out():
            try:
                self._run_epoch(epoch, snapshot)
            except StopAsked:
                self._stop(epoch, is_within_epoch=True)
            epoch, snapshot, has_ended = epoch + 1, None, self.model.stop_training
        self.callbacks.on_train_end({name: values[-1] for name, values in self.history.history.items()})
        self._take_callbacks_changes()

    def _has_run_out(self) -> bool:
        """Whether an epoch that is to begin would find no batch."""
        if self.feed is None or self.feed.has_more():
            return False
        if self.feed.warn_once():
            self._event(BATCHES_ENDED, step=self.engine.state().step)
        return True

    def _keep_committed(self) -> None:
        """Whatever ended the training, the model holds the last committed step."""
        with contextlib.suppress(Exception):  # what ended the training is what must be seen
            self.model.take_state(self.engine.state())

    def _task_at(self, step: int) -> Task:
        """The task as an engine loads it; it knows the next steps' batches only, if they are pulled."""
        if self.feed is None:
            return self.task
        return replace(self.task, batching=self.feed.opening(step))

    # Going on from a snapshot

    def _read(self, snapshot: Snapshot, like: TrainingState) -> TrainingState:
        state = self._memory.read(snapshot, like)
        if self.feed is not None and not self.feed.go_on(snapshot.metadata["training"]["pulled"], state.step):
            message = (
                f"{self.feed.source.what} gave another batch for step {state.step - 1} than before: the run "
                "goes on, but not to the bytes of an unbroken one. Make batches a function of their numbers."
            )
            warnings.warn(message, stacklevel=6)
            self._event("not-exactly-resumed", message=message)
        return state

    def _check_beginning(
        self, snapshot: Snapshot | None, initial: TrainingState, state: TrainingState
    ) -> None:
        """Compute steps again that were recorded, before anything is written."""
        evidence = None if self.recorder is None else self.recorder.evidence()
        if self.recorder is None or evidence is None or state.step >= self.plan.last_step:
            return
        if self.feed is not None:
            return  # whether the batches are the same, the feed says
        self._check = ResumeCheck(self.recorder, evidence, state.step, self.callbacks.without_state())
        example = find_example(evidence, self.callbacks, self.task, initial, snapshot)
        if example is not None:
            fingerprints = steps_again(self.engine, self.model.optimizer, example, state)
            self._check.examine(example, fingerprints)

    def _restore(self, snapshot: Snapshot) -> None:
        """The snapshot has the last word over what callbacks do when a training, or an epoch, begins."""
        self._memory.restore(snapshot)
        self.model.take_state(self.engine.state())

    # Epochs

    def _run_epoch(self, epoch: int, snapshot: Snapshot | None) -> None:
        """Run the epoch, or what is left of it after `snapshot`."""
        began = self.clock()
        self.callbacks.on_epoch_begin(epoch)
        has_ended = False
        self._count.skipped = 0
        if snapshot is not None and is_within_epoch(snapshot):
            self._restore(snapshot)
            has_ended = self.model.stop_training
        else:
            self._take_callbacks_changes()
        logs = self._run_steps(epoch, has_ended)
        if self.validation is not None and self.validation.follows(epoch):
            validated = self._validate(epoch, self.validation)
            logs.update({f"val_{name}": value for name, value in validated.items()})
        step = self.engine.state().step
        self.model.take_state(self.engine.state())
        self.callbacks.on_epoch_end(epoch, logs)
        self._take_callbacks_changes()
        if self.recorder is not None:
            self.recorder.on_epoch(epoch, step, logs, self.clock() - began)
            if self._is_stop_asked() and epoch + 1 < self.plan.epochs and not self.model.stop_training:
                self._stop(epoch + 1, is_within_epoch=False)
            if self.recorder.wants_checkpoint(step, at_epoch_end=True):
                self._save(epoch + 1, is_within_epoch=False)

    def _validate(self, epoch: int, validation: Validation) -> dict[str, float]:
        self.callbacks.on_test_begin()
        begins_anew = self.feed is None and not self.callbacks.users_override("on_test_begin", *TEST_HOOKS)
        with self._rescue.possible(epoch, self.engine.state().step, begins_anew):
            sums = self._validation_sums(validation)
        self.engine.add_penalty(sums, validation.samples)
        logs = self.objective.means(sums, validation.samples)
        self.callbacks.on_test_end(logs)
        return logs

    def _validation_sums(self, validation: Validation) -> Array:
        if not self.callbacks.users_override(*TEST_HOOKS):
            return self.engine.evaluate("validation", validation.batch_size)
        states = self.model.tasks.state_variables(self.model)
        size = validation.batch_size
        with HookedPass(self.engine, self.callbacks, "validation", size, self.layout, states) as hooked:
            return hooked.evaluate(self.data["validation"], self.objective)

    def _run_steps(self, epoch: int, has_ended: bool) -> dict[str, float]:
        """The rest of the epoch's steps, segment by segment; none if a callback ended it before."""
        end = self.plan.end_of(epoch)
        each_batch = self.callbacks.wants_batches
        per_second = 0.0
        if self.feed is not None:
            self.feed.begin_epoch(epoch, self.engine.state().step, end)
        while (step := self.engine.state().step) < end and not has_ended:
            size = 1 if each_batch else self._segment_size(step, end, per_second)
            if self.feed is not None:
                size = self._send_batches(self.feed, step, size)
                if not size:
                    break
            if each_batch:
                self.callbacks.on_train_batch_begin(step % self.plan.steps_per_epoch)
                self._take_callbacks_changes()
            if self.recorder is not None and (workers := self.recorder.wanted_workers()) is not None:
                self.engine.scale(workers)
            began = self.clock()
            report = self._run_segment(epoch, step, size)
            committed = len(report.fingerprints)
            per_second = (committed + report.has_trouble) / max(self.clock() - began, 1e-9)
            if committed:
                self._after_segment(epoch, step + committed, report, each_batch)
                has_ended = self.model.stop_training
            if report.has_trouble and not has_ended:
                loss = self._meet_trouble(epoch, each_batch)
                if loss is not None:
                    return self._logs(epoch) | {"loss": loss}
        if self.feed is not None:
            self.feed.end_epoch()
        return self._logs(epoch)

    def _logs(self, epoch: int) -> dict[str, float]:
        """Losses and metrics of the epoch so far."""
        return self._count.logs(epoch, self.engine.state())

    # Steps that are not finite

    @property
    def _window(self) -> Window | None:
        return None if self.feed is None else self.feed.window

    def _meet_trouble(self, epoch: int, each_batch: bool) -> float | None:
        """The step after the committed state is not finite: skip it, or end.

        Returns:
            Its loss, if callbacks have ended the training because of it; None if it was skipped.

        Raises:
            NonFiniteError: in all other cases.
        """
        state = self.engine.state()
        trouble = self._find_trouble(state)
        self._event("nonfinite", step=state.step, policy=self.on_nonfinite, **trouble.facts())
        place = f"epoch {epoch + 1} of {self.plan.epochs}"
        if self.on_nonfinite == "skip":
            self._skip(epoch, each_batch, trouble)
            self._num_skipped = count = self._num_skipped + 1
            if count < _MANY or count & (count - 1) == 0:  # all of them are events
                logger.warning("%s; %s goes on without this step, the %d. such", trouble, place, count)
            return None
        if state.step > self.plan.first_step:
            self._save(epoch, is_within_epoch=True)
        loss = float(trouble.value) if trouble.what == "loss" else math.nan
        logs = self._logs(epoch) | {"loss": loss}
        self.callbacks.on_train_batch_end(state.step % self.plan.steps_per_epoch, logs)
        if self.model.stop_training:
            return loss
        raise NonFiniteError(
            trouble,
            f"Nothing of it was kept: the model is that of {state.step} steps ({place}). Lower the learning "
            "rate, clip the gradient (clipnorm), or go on without such steps: on_nonfinite='skip'",
        )

    def _find_trouble(self, state: TrainingState) -> Trouble:
        """Where it comes from; of pulled batches, samples are counted in their batch."""
        window = self._window
        if window is None:
            return find_trouble(self.task, self.data["train"], state)
        trouble = find_trouble(replace(self.task, batching=window.batching), window.data, state)
        if trouble.sample is None:
            return trouble
        return replace(trouble, sample=trouble.sample - window.batching.batch_bounds(state.step)[0])

    def _skip(self, epoch: int, each_batch: bool, trouble: Trouble) -> None:
        """Commit the step without its update.

        Raises:
            NonFiniteError: all steps of the epoch were such.
        """
        state = self.engine.state()
        batching = self.task.batching if self._window is None else self._window.batching
        start, stop = batching.batch_bounds(state.step)
        self._count.skipped += stop - start
        if self._count.is_all_skipped(epoch):
            raise NonFiniteError(
                trouble,
                f"So was every step of epoch {epoch + 1}, and without updates no other epoch will end "
                "otherwise: lower the learning rate, or look at this place",
            )
        self.engine.set_state(skipped(state, state.step % self.plan.steps_per_epoch == 0))
        committed = self.engine.state()
        fingerprints = np.array([state_fingerprint(committed)], np.uint64)
        report = SegmentReport(committed.step - 1, fingerprints, committed.sums.copy())
        self._after_segment(epoch, committed.step, report, each_batch)

    def _run_segment(self, epoch: int, step: int, size: int) -> SegmentReport:
        """Steps; a single one may take long, so its beginning can be saved while it runs.

        What the engine commits is recorded even if it is asked to stop in the middle.
        """
        is_single = size == 1 and not self.model.stop_training and self.feed is None
        begins_anew = is_single and not self.callbacks.users_override(*BEFORE_A_BATCH)
        try:
            with self._rescue.possible(epoch, step, begins_anew):
                return self.engine.run_segment(size)
        except StopAsked as asked:
            report = asked.report
            if self.recorder is not None and report is not None and len(report.fingerprints):
                self.recorder.on_steps(report.first_step, report.fingerprints, self._logs(epoch))
            raise

    def _send_batches(self, feed: Feed, step: int, limit: int) -> int:
        """Pull the batches of up to `limit` steps; for how many there are any."""
        if feed.window is not None and (left := feed.window.steps_left(step)) > 0:
            return min(left, limit)  # of those that the engine has
        window = feed.pull(step, limit)
        if window is None:
            if self.plan.steps_per_epoch != UNKNOWN_STEPS and feed.warn_once():
                self._event(BATCHES_ENDED, step=step)
            return 0
        self.engine.take_batches("train", window.data, window.batching)
        return window.steps_left(step)

    def _after_segment(self, epoch: int, step: int, report: SegmentReport, each_batch: bool) -> None:
        """Tell who wants to know; stop (which saves), or save, if asked to."""
        logs = self._logs(epoch)
        self._memory.changed = None
        if self._check is not None:
            self._check.compare(report.first_step, report.fingerprints)
        if self.recorder is not None:
            self.recorder.on_steps(report.first_step, report.fingerprints, logs)
        if each_batch:
            self.model.take_state(self.engine.state())
        self.callbacks.on_train_batch_end((step - 1) % self.plan.steps_per_epoch, logs)
        if each_batch:
            self._take_callbacks_changes()
        if self.recorder is None or step == self.plan.end_of(epoch):
            return
        if self._is_stop_asked():
            self._stop(epoch, is_within_epoch=True)
        if self.recorder.wants_checkpoint(step, at_epoch_end=False):
            self._save(epoch, is_within_epoch=True)

    def _segment_size(self, step: int, end: int, per_second: float) -> int:
        """How many steps to run before looking up again; the bytes do not depend on it."""
        size = max(1, min(int(per_second * SEGMENT_SECONDS), end - step))
        if self.recorder is not None:
            checkpoint = self.recorder.next_checkpoint_step(step)
            if checkpoint is not None:
                size = min(size, max(1, checkpoint - step))
        return size

    # Callbacks

    def _take_callbacks_changes(self) -> None:
        """Let weights that a callback changed in the model enter the training."""
        state = self.engine.state()
        weights = self.model.flat_weights(self.layout)
        if not np.array_equal(weights.view(np.int32), state.weights.view(np.int32)):
            changed = state.copy()
            changed.weights[:] = weights
            self.engine.set_state(changed)
            self._memory.changed = f"{state_fingerprint(changed):016x}"

    # Checkpoints

    def _save(self, epoch: int, is_within_epoch: bool) -> None:
        if self.recorder is not None:
            self.recorder.save_checkpoint(self._snapshot(epoch, is_within_epoch))

    def _is_stop_asked(self) -> bool:
        return self.interrupts.asked or (self.recorder is not None and self.recorder.should_stop())

    def _stop(self, epoch: int, is_within_epoch: bool) -> None:
        self._save(epoch, is_within_epoch)
        step = self.engine.state().step
        self._event("stopped", step=step)
        raise Stopped(step, self.plan.last_step)

    def _snapshot(self, epoch: int, is_within_epoch: bool) -> Snapshot:
        """The committed state, copied; a run that goes on from it is in `epoch`, or about to begin it."""
        return self._memory.snapshot(self.engine.state(), epoch, is_within_epoch)

    def _on_incident(self, incident: Incident) -> None:
        self._event(incident.kind, step=incident.step, **incident.facts)

    def _event(self, kind: str, **facts: Any) -> None:
        if self.recorder is not None:
            self.recorder.on_event(kind, **facts)
