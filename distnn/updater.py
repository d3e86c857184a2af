"""Commits steps: from the summed gradient to the next weights, slots, statistics and fingerprint.

It reads one buffer and writes the other; the current buffer is the parity of the step. Whoever owns the
weights has one: a local engine, or the coordinator of a cluster. Where workers share memory, the buffers lie
there and the workers write them; this owner then only follows.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import Any

import numpy as np

from distnn.control import CONTROL_WORDS, FIRST_WORD
from distnn.kernels.fingerprints import SLOT_STRIDE, fingerprint
from distnn.kernels.tape import Call, Tape
from distnn.recording import TrainingState
from distnn.reduction import ShardSums
from distnn.task import Task
from distnn.tensor import Array
from distnn.tracing import Traced
from distnn.update_plan import UpdatePlan
from distnn.weights import aligned_zeros

_MAX_TAPES = 64

Buffers = tuple[TrainingState, TrainingState]
"""States of even and of odd steps."""


class Updater:
    """Owns the committed state of one task.

    Args:
        task: its model's optimizer is read at every step, so a changed learning rate takes effect.
        traced: the training graph, or None if the task is only evaluated.
    """

    def __init__(self, task: Task, traced: Traced | None) -> None:
        self.task = task
        self.traced = traced
        self.plan = UpdatePlan(task, traced)
        self._pieces = self.plan.deal(1)[0]
        self._blocks = np.zeros((2, self.plan.num_blocks), np.float64)
        self._squares = np.zeros(self.plan.num_blocks, np.float64)
        self._control = np.zeros(CONTROL_WORDS, np.int64)
        self._trouble = np.zeros(1, np.int64)
        self._trouble_word = self._trouble.data
        self._tapes: OrderedDict[tuple[int, int, int, Any], tuple[Tape, ShardSums]] = OrderedDict()
        self._buffers: Buffers | None = None
        self._step = 0

    def take_task(self, task: Task) -> None:
        """Go on with a task of the same key."""
        self.task = self.plan.task = task

    @property
    def state(self) -> TrainingState:
        """The newest committed state; the one before is overwritten by the next step."""
        return self._held[self._step % 2]

    @property
    def _held(self) -> Buffers:
        if self._buffers is None:
            raise AssertionError("the updater was given no state")
        return self._buffers

    def begin(self, state: TrainingState) -> None:
        """Go on from `state` (copied); sums of another length begin at zero."""
        if self._buffers is None or self._buffers[0].slots.shape != state.slots.shape:
            self._buffers = (self._empty(state), self._empty(state))
            self._tapes.clear()
        self._step = state.step
        self._fill(self.state, state)

    @property
    def attempted(self) -> TrainingState:
        """What the last update wrote, if that was not committed."""
        return self._held[(self._step + 1) % 2]

    def move_to(self, buffers: Buffers) -> None:
        """Let the states lie in `buffers` from now on; the current one is copied."""
        self._fill(buffers[self._step % 2], self.state)  # first: another thread may be reading the state
        self._buffers = buffers
        self._tapes.clear()

    def move_out(self) -> None:
        """Let the states lie in memory of this process alone, whoever shared it before."""
        self.move_to((self._empty(self.state), self._empty(self.state)))

    def follow(self, step: int, iterations: int) -> None:
        """Others have written the buffers: `step` is committed."""
        self._step = step
        self.state.step, self.state.iterations = step, iterations

    def _empty(self, like: TrainingState) -> TrainingState:
        slots = aligned_zeros(like.slots.size).reshape(like.slots.shape)
        return TrainingState(0, 0, aligned_zeros(self.plan.layout.size), slots, np.zeros(self.plan.num_sums))

    def _fill(self, target: TrainingState, source: TrainingState) -> None:
        target.step, target.iterations = source.step, source.iterations
        target.weights[:] = source.weights
        target.slots[...] = source.slots
        target.sums[:] = source.sums if len(source.sums) == len(target.sums) else 0.0

    def update(self, total: ShardSums | None) -> int | None:
        """Commit the step whose shards add up to `total` (its sums are spoilt).

        Returns:
            The fingerprint; None if a loss or a new value is not finite, and nothing has been committed.
        """
        if total is None or self.traced is None or self.task.objective is None:
            raise AssertionError("a step needs a training task and at least one sample")
        batching, old = self.task.batching, self.state
        start, stop = batching.batch_bounds(old.step)
        self._control[FIRST_WORD] = old.step % batching.steps_per_epoch == 0
        self.plan.begin_step(old.iterations)
        tape = self._tape_of(total, stop - start)
        tape()
        if self._trouble_word[0]:
            self._trouble[0] = 0
            return None
        self.follow(old.step + 1, old.iterations + 1)
        return tape.total

    def _tape_of(self, total: ShardSums, samples: int) -> Tape:
        """The update of a step of this parity, for such a batch; kept, as gradients come in few buffers."""
        key = (self._step % 2, id(total), samples, self.plan.optimizer.kernel)
        kept = self._tapes.get(key)
        if kept is None:
            kept = self._tapes[key] = (Tape(self._bind(total, samples)), total)
            if len(self._tapes) > _MAX_TAPES:
                self._tapes.popitem(last=False)
        return kept[0]

    def _bind(self, total: ShardSums, samples: int) -> list[Call]:
        plan, old, new = self.plan, self.state, self._held[(self._step + 1) % 2]
        parts = [(piece, total.gradient[piece.start : piece.stop]) for piece in self._pieces]
        calls = plan.bind_penalty(old.weights, self._pieces, self._blocks)
        if plan.needs_norms:
            squares = self._squares
            calls += [plan.bind_squares(old, part, piece, squares) for piece, part in parts]
            calls.append(partial(plan.scale, squares, self._blocks))
        for piece, part in parts:
            calls += plan.bind_update(old, new, part, piece)
        calls += plan.bind_rest(old, new, total, samples, self._control, self._blocks)
        return [*calls, plan.bind_report(self._control, self._trouble, 0)]

    def add_penalty(self, sums: Array, samples: int) -> None:
        """Add the penalty of the current weights, times `samples`, in its slot of the sums."""
        for call in self.plan.bind_penalty(self.state.weights, self._pieces, self._blocks):
            call()
        sums[self.plan.num_sums - 1] += self.plan.penalty(self._blocks) * samples


def state_fingerprint(state: TrainingState) -> int:
    """The fingerprint that a step leaves which ends in this state."""
    total = int(fingerprint(state.weights, 0))
    for number, slot in enumerate(state.slots):
        total += int(fingerprint(slot, (number + 1) * SLOT_STRIDE))
    return total % 2**64


def skipped(state: TrainingState, is_first_of_epoch: bool) -> TrainingState:
    """What is committed in place of the step after `state`, where that is skipped; arrays are `state`'s.

    The step counts, the optimizer's updates do not, and the epoch's sums are those of the other steps.
    """
    sums = np.zeros_like(state.sums) if is_first_of_epoch else state.sums
    return TrainingState(state.step + 1, state.iterations, state.weights, state.slots, sums)
