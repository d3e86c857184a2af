"""Commits steps: from the summed gradient to the next weights, slots, statistics and fingerprint.

It reads one buffer and writes the other, then turns; a step is committed when the buffers have turned.
Penalties are applied here, once. Whoever owns the weights has one: a local engine, or the coordinator of a
cluster.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from distnn.kernels.update import (
    BLOCK,
    GRADIENT_SCALE,
    L1,
    L2,
    add_penalty,
    fingerprint,
    penalty_sums,
    square_sums,
    tree_total,
)
from distnn.objective import Objective
from distnn.recording import TrainingState
from distnn.reduction import ShardSums, split_moments
from distnn.task import Task
from distnn.tensor import Array
from distnn.tracing import Traced
from distnn.variable import Variable
from distnn.weights import WeightLayout, aligned_zeros

_MASK = (1 << 64) - 1


@dataclass(frozen=True)
class _Segment:
    """A run [start, stop) of the trainable vector under the same penalties."""

    start: int
    stop: int
    l1: float
    l2: float


class Updater:
    """Owns the committed state of one task.

    Args:
        task: its model's optimizer is read at every step, so a changed learning rate takes effect.
        traced: the training graph, or None if the task is only evaluated.
    """

    def __init__(self, task: Task, traced: Traced | None) -> None:
        self.task = task
        self.traced = traced
        self.layout = task.layout()
        self.num_sums = 0 if task.objective is None else 2 * task.objective.num_pairs + 1
        self._segments = _segments(self.layout, self._clips_norms)
        self._penalty = np.zeros(2, np.float64)
        self._squares = np.zeros(-(-max(self.layout.trainable_size, 1) // BLOCK), np.float64)
        self._scratch = aligned_zeros(2 * max((v.size for v in self.layout.variables), default=1), np.float64)
        self._buffers: tuple[TrainingState, TrainingState] | None = None

    @property
    def state(self) -> TrainingState:
        """The newest committed state; the one before is overwritten by the next step."""
        return self._pair[0]

    @property
    def _pair(self) -> tuple[TrainingState, TrainingState]:
        if self._buffers is None:
            raise AssertionError("the updater was given no state")
        return self._buffers

    @property
    def _clips_norms(self) -> bool:
        optimizer = self.task.model.optimizer if self.task.objective is not None else None
        return optimizer is not None and (optimizer.clipnorm or optimizer.global_clipnorm) is not None

    def begin(self, state: TrainingState) -> None:
        """Go on from `state` (copied); sums of another length begin at zero."""
        if self._buffers is None or self._buffers[1].slots.shape != state.slots.shape:
            self._buffers = (self._empty(state), self._empty(state))
        old, new = self._buffers
        new.step, new.iterations = state.step, state.iterations
        new.weights[:] = state.weights
        new.slots[...] = state.slots
        new.sums[:] = state.sums if len(state.sums) == self.num_sums else 0.0
        self._buffers = (new, old)

    def _empty(self, like: TrainingState) -> TrainingState:
        weights, slots = aligned_zeros(self.layout.size), _aligned_rows(like.slots)
        return TrainingState(0, 0, weights, slots, np.zeros(self.num_sums))

    def update(self, total: ShardSums | None) -> int:
        """Commit the step whose shards add up to `total` (which is spoilt); returns the fingerprint."""
        if total is None or self.traced is None or self.task.objective is None:
            raise AssertionError("a step needs a training task and at least one sample")
        old, new = self._pair
        start, stop = self.task.batching.batch_bounds(old.step)
        self.add_penalty(total.sums, stop - start)
        digest = self._update_trainable(old, new, total)
        digest += self._update_rest(old, new, total, stop - start)
        self._add_sums(self.task.objective, old, new, total.sums, stop - start)
        new.step, new.iterations = old.step + 1, old.iterations + 1
        self._buffers = (new, old)
        return digest & _MASK

    def add_penalty(self, sums: Array, samples: int) -> None:
        """Write the penalty of the current weights, times `samples`, into its slot of the sums."""
        value = 0.0
        weights = self.state.weights
        for segment in self._segments:
            if segment.l1 or segment.l2:
                penalty_sums(weights[segment.start : segment.stop], self._penalty)
                value += segment.l1 * self._penalty[0] + segment.l2 * self._penalty[1]
        sums[self.num_sums - 1] = value * samples

    def _update_trainable(self, old: TrainingState, new: TrainingState, total: ShardSums) -> int:
        optimizer = self.task.model.optimizer
        scalars = optimizer.scalars(old.iterations)
        gradient = total.gradient
        scales: Sequence[float] | None = None
        if self._clips_norms:
            scales = self._norm_scales(old.weights, gradient)
        digest = 0
        for i, segment in enumerate(self._segments):
            scalars[L1] = 0.0 if scales is not None else segment.l1
            scalars[L2] = 0.0 if scales is not None else segment.l2
            scalars[GRADIENT_SCALE] = 1.0 if scales is None else scales[i]
            digest += int(
                optimizer.update(
                    old.weights,
                    gradient,
                    old.slots,
                    new.weights,
                    new.slots,
                    scalars,
                    segment.start,
                    segment.stop,
                )
            )
        return digest

    def _norm_scales(self, weights: Array, gradient: Array) -> list[float]:
        """What each segment's gradient (penalty added here) is multiplied by so that norms are clipped.

        Squares are summed over fixed blocks, then by a fixed tree.
        """
        optimizer = self.task.model.optimizer
        squares = []
        for segment in self._segments:
            part = gradient[segment.start : segment.stop]
            if segment.l1 or segment.l2:
                add_penalty(part, weights[segment.start : segment.stop], segment.l1, segment.l2)
            blocks = self._squares[: -(-len(part) // BLOCK)]
            square_sums(part, blocks)
            squares.append(float(tree_total(blocks)))
        if optimizer.clipnorm is not None:
            return [_clip_scale(optimizer.clipnorm, square) for square in squares]
        return [_clip_scale(float(optimizer.global_clipnorm or 0), sum(squares))] * len(squares)

    def _update_rest(self, old: TrainingState, new: TrainingState, total: ShardSums, samples: int) -> int:
        """Moving statistics, assigned variables, and what no step changes."""
        first = self.layout.trainable_size
        if self.layout.size == first or self.traced is None:
            return 0
        np.copyto(new.weights[first:], old.weights[first:])
        for group, moments in enumerate(self.traced.moments):
            count, mean, m2 = split_moments(total.moment_group(group))
            self._move(new.weights, moments.mean, mean, 1.0, moments.momentum)
            self._move(new.weights, moments.variance, m2, 1.0 / count, moments.momentum)
        position = self.num_sums
        for assignment in self.traced.assigned:
            variable = assignment.variable
            sums = total.sums[position : position + variable.size].reshape(variable.shape)
            if variable.aggregation == "mean":
                np.divide(sums, samples, out=sums)
            elif assignment.added is not None:
                np.add(sums, self.layout.view(old.weights, variable), out=sums)
            np.copyto(self.layout.view(new.weights, variable), sums, casting="same_kind")
            position += variable.size
        return int(fingerprint(new.weights[first:], first))

    def _move(self, weights: Array, variable: Variable, value: Array, factor: float, momentum: float) -> None:
        """variable = momentum * variable + (1 - momentum) * factor * value, in float64."""
        view = self.layout.view(weights, variable).reshape(-1)
        kept, added = self._scratch[: len(view)], self._scratch[len(view) : 2 * len(view)]
        np.multiply(view, momentum, out=kept)
        np.multiply(value, factor * (1.0 - momentum), out=added)
        np.add(kept, added, out=kept)
        np.copyto(view, kept, casting="same_kind")

    def _add_sums(
        self, objective: Objective, old: TrainingState, new: TrainingState, sums: Array, samples: int
    ) -> None:
        """The epoch's sums after the step; an epoch's first step begins them anew."""
        step_sums = sums[: self.num_sums]
        objective.fold_step(step_sums, samples)
        if old.step % self.task.batching.steps_per_epoch == 0:
            np.copyto(new.sums, step_sums)
        else:
            np.add(old.sums, step_sums, out=new.sums)


def _aligned_rows(slots: Array) -> Array:
    return aligned_zeros(slots.size).reshape(slots.shape)


def _clip_scale(limit: float, square: float) -> float:
    norm = float(np.sqrt(square))
    return limit / norm if norm > limit else 1.0


def _segments(layout: WeightLayout, per_variable: bool) -> list[_Segment]:
    """Runs of the trainable vector under equal penalties; one per variable where norms are clipped."""
    found: list[_Segment] = []
    starts = [layout.offsets[variable] for variable in layout.trainable]
    ends = [*starts[1:], layout.trainable_size]
    for variable, start, stop in zip(layout.trainable, starts, ends, strict=False):
        l1, l2 = (0.0, 0.0) if variable.regularizer is None else variable.regularizer.factors()
        last = found[-1] if found else None
        if last is not None and not per_variable and (last.l1, last.l2) == (l1, l2):
            found[-1] = _Segment(last.start, stop, l1, l2)
        else:
            found.append(_Segment(start, stop, l1, l2))
    return found
