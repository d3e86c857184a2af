"""The steps of a segment, as one worker does them in memory that it shares with the others.

Each step: compute own shards; barrier; add up and update the own slice of the vector, from one buffer into
the other; barrier. (Where norms are clipped, squares are summed in between, behind one more barrier.) A step
is committed exactly if every worker's word says that it has reached the last barrier of it: nobody turns
anything. The last worker also writes what is not cut in slices. Called by `cluster.worker`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cluster.counting import CountingRunner
from cluster.exchange.barrier import Barrier
from cluster.exchange.places import Places, subtrees_of
from cluster.exchange.segment import SharedLayout, SharedSegment
from distnn.kernels.update import add_into
from distnn.optimizers.base import Optimizer
from distnn.recording import TrainingState
from distnn.reduction import Range, ShardSums, SumsLayout, additions
from distnn.tensor import Array
from distnn.update_plan import Piece, UpdatePlan

_CACHED_VALUES = 32 * 1024
"""Values that are added up and then updated while they lie in a core's cache."""
_MASK = (1 << 64) - 1


def barriers_per_step(plan: UpdatePlan) -> int:
    return 3 if plan.clips_norms else 2


def shared_layout(plan: UpdatePlan, sums: SumsLayout, slots: Array, ranges: Sequence[Range]) -> SharedLayout:
    """What the workers of these runs of shards share."""
    subtrees = subtrees_of(ranges, plan.task.batching.shards)
    return SharedLayout(
        workers=len(ranges),
        subtrees=sum(map(len, subtrees)),
        weights=plan.layout.size,
        slots=slots.shape[0],
        trainable=slots.shape[1],
        gradient=sums.gradient,
        sums=sums.sums,
        moments=sums.moments_size,
        epoch_sums=plan.num_sums,
        blocks=plan.num_blocks,
    )


@dataclass(frozen=True)
class _Slice:
    """A piece of the own slice, small enough for a cache, and the additions that give its gradient."""

    piece: Piece
    additions: tuple[tuple[Array, Array], ...]


@dataclass(frozen=True)
class _Reduction:
    """How sums come together in a batch of a certain size: some subtrees may be empty.

    `gradient`: where it is in the end, in the own slice. `parts`, `total`: for the sums, likewise.
    """

    slices: tuple[_Slice, ...]
    gradient: Array
    parts: tuple[tuple[ShardSums, ShardSums], ...]
    total: ShardSums


class SharedSteps:
    """One worker's place in a generation.

    Args:
        runner: computes shards.
        segment: the shared memory.
        ranges: the shards of every worker.
        rank: which of them this one is.
    """

    def __init__(
        self, runner: CountingRunner, segment: SharedSegment, ranges: Sequence[Range], rank: int
    ) -> None:
        task, traced = runner.task, runner.training
        self._runner = runner
        self._segment = segment
        self._rank = rank
        self._workers = len(ranges)
        self._batching = task.batching
        self._plan = UpdatePlan(task, traced)
        self._pieces = self._plan.cut(self._plan.deal(self._workers)[rank], _CACHED_VALUES)
        self._places = Places(segment, traced.sums_layout, task.batching, ranges, rank)
        self._reductions: dict[int, _Reduction] = {}
        self._barrier = Barrier(segment, rank)
        self.step = 0

    @property
    def _is_last(self) -> bool:
        return self._rank == self._workers - 1

    def take_optimizer(self, optimizer: Optimizer) -> None:
        """What the next steps are updated by."""
        self._plan.optimizer = optimizer

    def run(self, first_step: int, num_steps: int, iterations: int) -> None:
        """Do these steps; `iterations` counts the optimizer's updates before the first.

        Raises:
            GenerationOver: the coordinator ended the generation, or another worker could not go on.
        """
        parts = self._segment.fingerprints[self._rank]
        for i in range(num_steps):
            self.step = first_step + i
            parts[i] = self._do_step(self.step, iterations + i)
            self._meet()

    def leave(self) -> None:
        """This worker cannot go on: let the others leave, too."""
        self._barrier.leave()

    def _do_step(self, step: int, iterations: int) -> int:
        """All of a step but its last barrier; returns this worker's part of the fingerprint."""
        segment, plan = self._segment, self._plan
        old, new = segment.states[step % 2], segment.states[(step + 1) % 2]
        for subtree, into in self._places.own:
            self._runner.compute_subtree(step, subtree, old.weights, into)
        if plan.has_penalty:
            plan.measure_penalty(old.weights, self._pieces, segment.penalty_blocks)
        scalars = plan.optimizer.scalars(iterations)
        start, stop = self._batching.batch_bounds(step)
        reduction = self._reduction(start, stop)
        self._meet()
        scales = self._clip(old.weights, reduction) if plan.clips_norms else None
        digest = 0
        for one in reduction.slices:
            if scales is None:
                for left, right in one.additions:
                    add_into(left, right)
            digest += plan.update(old, new, reduction.gradient, scalars, scales, (one.piece,))
        if self._is_last:
            old.step, old.iterations = step, iterations
            digest += self._finish(reduction, old, new, stop - start)
        return digest & _MASK

    def _clip(self, weights: Array, reduction: _Reduction) -> list[float]:
        """Add up the own slice and measure it; when all have, the scales follow."""
        plan, squares = self._plan, self._segment.square_blocks
        for one in reduction.slices:
            for left, right in one.additions:
                add_into(left, right)
            plan.measure_squares(weights, reduction.gradient, (one.piece,), squares)
        self._meet()
        return plan.scales(squares)

    def _finish(self, reduction: _Reduction, old: TrainingState, new: TrainingState, samples: int) -> int:
        """What is not cut in slices: sums, statistics, assigned variables."""
        for left, right in reduction.parts:
            left.add(right)
        plan = self._plan
        penalty = plan.penalty(self._segment.penalty_blocks) if plan.has_penalty else 0.0
        return plan.update_rest(old, new, reduction.total, penalty, samples)

    def _meet(self) -> None:
        """The barrier: go on when everybody is here."""
        self._barrier.meet()

    def _reduction(self, start: int, stop: int) -> _Reduction:
        reduction = self._reductions.get(stop - start)
        if reduction is None:
            reduction = self._reductions[stop - start] = self._plan_reduction(start, stop)
        return reduction

    def _plan_reduction(self, start: int, stop: int) -> _Reduction:
        places = self._places
        steps, total = additions(self._batching.shards, places.subtrees, places.are_empty(start, stop))
        assert total is not None, "a batch has samples"
        gradients = self._segment.gradients
        slices = tuple(
            _Slice(
                piece,
                tuple(
                    (gradients[left, piece.start : piece.stop], gradients[right, piece.start : piece.stop])
                    for left, right in steps
                ),
            )
            for piece in self._pieces
        )
        parts = tuple((places.sums[left], places.sums[right]) for left, right in steps)
        return _Reduction(slices, gradients[total], parts, places.sums[total])
