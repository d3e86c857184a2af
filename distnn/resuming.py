"""Whether a run that goes on comes to the bytes it came to before.

A changed machine, library, file or layer of the user's is to be noticed before it spoils a run. So a step or
two that were recorded are computed again before anything is written: those after the checkpoint, or, where
there are none, those after an earlier one or the initial weights. Whatever else was recorded beyond the
checkpoint is compared when its turn comes.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from distnn.callbacks import CallbackList, LambdaCallback, LearningRateScheduler
from distnn.callbacks.callback import is_overridden
from distnn.engine import Engine
from distnn.errors import CheckpointError
from distnn.optimizers import Optimizer
from distnn.recording import Evidence, Recorder, Snapshot, TrainingState
from distnn.snapshots import read_snapshot
from distnn.task import Task
from distnn.tensor import Array
from distnn.updater import skipped, state_fingerprint

logger = logging.getLogger("distnn.training")

_STEPS = 2
"""Computed again at the beginning, if so many were recorded."""
BEFORE_A_BATCH = ("on_train_batch_begin", "on_batch_begin")
_BEFORE_AN_EPOCH = (*BEFORE_A_BATCH, "on_epoch_begin")
_BEFORE_A_TRAINING = (*_BEFORE_AN_EPOCH, "on_train_begin")


def check_snapshot(snapshot: Snapshot, recorded: int | None, task: Task, like: TrainingState) -> None:
    """Compare a snapshot's weights and slots with the fingerprint of its step.

    Raises:
        CheckpointError: they are not what the step left.
    """
    try:
        state = read_snapshot(snapshot, task, like)
        changed = snapshot.metadata["training"].get("changed")
    except KeyError as error:
        raise CheckpointError(f"the checkpoint of step {snapshot.step} lacks {error}") from error
    expected = recorded if changed is None else int(changed, 16)
    found = state_fingerprint(state)
    if expected is not None and found != expected:
        raise CheckpointError(
            f"its weights are not those that step {snapshot.step} left: their fingerprint is {found:016x}, "
            f"recorded was {expected:016x}"
        )


@dataclass(frozen=True)
class Example:
    """A state from which recorded steps can be computed again.

    `optimizer`: the settings that they were computed with. `steps`: how many. `source`: what it is, in words.
    """

    state: TrainingState
    optimizer: Mapping[str, Any]
    steps: int
    source: str


class ResumeCheck:
    """Compares what is computed with what was recorded.

    What was recorded up to the state that the run goes on from is known to be whole. Of what lies beyond, a
    single fingerprint that differs between others that do not is damage to the record.

    Args:
        recorder: is told what came of it.
        evidence: what was recorded.
        begun: the committed step that the run goes on from.
        forgetful: names of callbacks that keep no state: with these a difference is told and lived with.
    """

    def __init__(self, recorder: Recorder, evidence: Evidence, begun: int, forgetful: list[str]) -> None:
        self._recorder = recorder
        self._evidence = evidence
        self._begun = begun
        self._forgetful = forgetful
        self._has_told = self._is_over = False
        self._odd: list[tuple[int, int, int]] = []

    def examine(self, example: Example, fingerprints: Array) -> None:
        """Compare the steps of an example, before anything is written.

        Raises:
            ResumeMismatchError: they differ.
        """
        first_step = example.state.step
        self._odd = self._differing(first_step, fingerprints)
        is_known = first_step < self._begun
        steps = self._compared(first_step, fingerprints)
        if self._odd and (is_known or len(self._odd) == steps):
            self._conclude(steps, example.source)
        else:
            self._tell(steps, True, example.source)
        self._odd = []

    def compare(self, first_step: int, fingerprints: Array) -> None:
        """Compare the steps after committed `first_step`, as far as they were recorded.

        Raises:
            ResumeMismatchError: two in a row differ, or all that were recorded.
        """
        steps = self._compared(first_step, fingerprints)
        if self._is_over or not steps:
            return
        self._odd += self._differing(first_step, fingerprints)
        if self._odd:
            self._judge(first_step + steps)
        if not self._has_told and not self._odd:
            self._tell(steps, True, "the recorded steps")

    def _judge(self, last: int) -> None:
        """What the odd ones among the steps up to `last` mean."""
        places = [step for step, _, _ in self._odd]
        in_a_row = any(after == step + 1 for step, after in zip(places, places[1:], strict=False))
        is_all = len(places) == last - self._begun == self._evidence.last_step - self._begun
        if in_a_row or is_all:
            self._conclude(last - self._begun, "the recorded steps")
        elif places[-1] < last or last == self._evidence.last_step:
            self._recorder.on_event("damaged-step", steps=places)
            logger.warning("the recorded fingerprints of steps %s were damaged", ", ".join(map(str, places)))
            self._odd = []

    def _conclude(self, steps: int, source: str) -> None:
        self._is_over = True
        self._tell(steps, False, source)
        step, computed, recorded = self._odd[0]
        text = (
            f"step {step} was computed again, from {source}: it leaves weights of fingerprint "
            f"{computed:016x}, recorded was {recorded:016x}"
        )
        if not self._forgetful:
            self._recorder.on_difference(step, text)
        else:
            logger.warning("%s; callbacks without state may be why: %s", text, ", ".join(self._forgetful))

    def _tell(self, steps: int, is_equal: bool, source: str) -> None:
        self._has_told = True
        self._recorder.on_event("resume-checked", steps=steps, equal=is_equal, evidence=source)

    def _compared(self, first_step: int, fingerprints: Array) -> int:
        return len(self._evidence.after(first_step, len(fingerprints)))

    def _differing(self, first_step: int, fingerprints: Array) -> list[tuple[int, int, int]]:
        """(step, computed, recorded) of those that differ."""
        recorded = self._evidence.after(first_step, len(fingerprints))
        places = np.flatnonzero(fingerprints[: len(recorded)] != recorded)
        return [(first_step + int(i) + 1, int(fingerprints[i]), int(recorded[i])) for i in places]


def find_example(
    evidence: Evidence,
    callbacks: CallbackList,
    task: Task,
    initial: TrainingState,
    begun: Snapshot | None,
) -> Example | None:
    """The newest state whose next steps were recorded, and depend on nothing but it.

    Args:
        evidence: what was recorded.
        callbacks: of the training; what they change when something begins cannot be had without calling them.
        task: of the training.
        initial: the state it began with, as the model has it now.
        begun: what the run goes on from; None if from `initial`.
    """

    def steps_after(step: int) -> int:
        left = task.batching.steps_per_epoch - step % task.batching.steps_per_epoch
        return len(evidence.after(step, min(_STEPS, left)))

    for snapshot in () if begun is None else itertools.chain([begun], evidence.earlier()):
        training = snapshot.metadata["training"]
        hooks = BEFORE_A_BATCH if training["is_within_epoch"] else _BEFORE_AN_EPOCH
        steps = steps_after(snapshot.step)
        if steps and not _may_change(callbacks, hooks):
            state = read_snapshot(snapshot, task, initial)
            return Example(state, training["optimizer"], steps, f"the checkpoint of step {snapshot.step}")
    was_new = begun is None or int(begun.metadata["iterations"]) <= begun.step - initial.step
    steps = steps_after(initial.step)
    if not steps or initial.iterations or not was_new or _may_change(callbacks, _BEFORE_A_TRAINING):
        return None  # the optimizer's slots of then are not to be had, or the settings of the first step
    return Example(initial, task.model.optimizer.get_state(), steps, "the initial weights")


def steps_again(engine: Engine, optimizer: Optimizer, example: Example, back_to: TrainingState) -> Array:
    """The fingerprints of the example's steps; the engine ends at `back_to`."""
    settings = optimizer.get_state()
    optimizer.set_state(example.optimizer)
    found: list[int] = []
    try:
        engine.set_state(example.state)
        while len(found) < example.steps:
            report = engine.run_segment(example.steps - len(found))
            found += [int(value) for value in report.fingerprints]
            if report.has_trouble:
                state = engine.state()
                found.append(state_fingerprint(state))
                engine.set_state(skipped(state, is_first_of_epoch=False))  # its sums are of no interest
    finally:
        optimizer.set_state(settings)
        engine.set_state(back_to)
    return np.array(found, np.uint64)


def _may_change(callbacks: CallbackList, hooks: tuple[str, ...]) -> bool:
    """Whether a callback may change weights or settings in one of these hooks."""
    return callbacks.users_override(*hooks) or any(
        isinstance(callback, LearningRateScheduler | LambdaCallback) and is_overridden(callback, hook)
        for callback in callbacks.callbacks
        for hook in hooks
    )
