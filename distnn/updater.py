"""Commits steps: from the summed gradient to the next weights, slots, statistics and fingerprint.

It reads one buffer and writes the other; the current buffer is the parity of the step. Whoever owns the
weights has one: a local engine, or the coordinator of a cluster. Where workers share memory, the buffers lie
there and the workers write them; this owner then only follows.
"""

from __future__ import annotations

import numpy as np

from distnn.recording import TrainingState
from distnn.reduction import ShardSums
from distnn.task import Task
from distnn.tensor import Array
from distnn.tracing import Traced
from distnn.update_plan import UpdatePlan
from distnn.weights import aligned_zeros

_MASK = (1 << 64) - 1

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
        self._buffers: Buffers | None = None
        self._step = 0

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
        self._step = state.step
        self._fill(self.state, state)

    def move_to(self, buffers: Buffers) -> None:
        """Let the states lie in `buffers` from now on; the current one is copied."""
        current = self.state
        self._buffers = buffers
        self._fill(self.state, current)

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

    def update(self, total: ShardSums | None) -> int:
        """Commit the step whose shards add up to `total` (its sums are spoilt); returns the fingerprint."""
        if total is None or self.traced is None or self.task.objective is None:
            raise AssertionError("a step needs a training task and at least one sample")
        plan, old, new = self.plan, self.state, self._held[(self._step + 1) % 2]
        scales = None
        if plan.clips_norms:
            plan.measure_squares(old.weights, total.gradient, self._pieces, self._blocks[0])
            scales = plan.scales(self._blocks[0])
        scalars = plan.optimizer.scalars(old.iterations)
        digest = plan.update(old, new, total.gradient, scalars, scales, self._pieces)
        start, stop = self.task.batching.batch_bounds(old.step)
        digest += plan.update_rest(old, new, total, self._penalty(), stop - start)
        self._step = new.step
        return digest & _MASK

    def add_penalty(self, sums: Array, samples: int) -> None:
        """Write the penalty of the current weights, times `samples`, into its slot of the sums."""
        sums[self.plan.num_sums - 1] = self._penalty() * samples

    def _penalty(self) -> float:
        if not self.plan.has_penalty:
            return 0.0
        self.plan.measure_penalty(self.state.weights, self._pieces, self._blocks)
        return self.plan.penalty(self._blocks)
