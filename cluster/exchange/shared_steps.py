"""The steps of a segment, as one worker does them in memory that it shares with the others.

Each step: compute own shards; barrier; add up and update the own slice of the vector, from one buffer into
the other; barrier. (Where norms are clipped, squares are summed in between, behind one more barrier.) A step
is committed exactly if every worker's word says that it has reached the last barrier of it: nobody turns
anything. The last worker also writes what is not cut in slices. Called by `cluster.worker`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cluster.counting import CountingRunner
from cluster.exchange.segment import SharedLayout, SharedSegment
from distnn.batching import shard_bounds
from distnn.kernels.update import add_into
from distnn.kernels.waiting import ABORTED, ARRIVED, arrive_and_await, read_word, write_word
from distnn.optimizers.base import Optimizer
from distnn.recording import TrainingState
from distnn.reduction import Range, ShardSums, SumsLayout, additions, maximal_subtrees
from distnn.tensor import Array
from distnn.update_plan import Piece, UpdatePlan

_CACHED_VALUES = 32 * 1024
"""Values that are added up and then updated while they lie in a core's cache."""
_MASK = (1 << 64) - 1


class GenerationOver(Exception):  # noqa: N818  (an event: the coordinator asked everybody to leave)
    """The steps end here; what was committed, the words say."""


def subtrees_of(ranges: Sequence[Range], shards: int) -> list[list[Range]]:
    """The subtrees of each worker, by its run of shards."""
    return [maximal_subtrees(first, stop, shards) for first, stop in ranges]


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
        by_worker = subtrees_of(ranges, task.batching.shards)
        self._subtrees = [subtree for subtrees in by_worker for subtree in subtrees]
        parts = zip(segment.gradients, segment.part_sums, segment.part_moments, strict=True)
        self._parts = [ShardSums.of(traced.sums_layout, arrays) for arrays in parts]
        # the same without gradients, which are added up slice by slice
        bare = replace(traced.sums_layout, gradient=0)
        self._sums = [ShardSums.of(bare, (one.gradient[:0], one.sums, one.moments)) for one in self._parts]
        first = sum(map(len, by_worker[:rank]))
        own = range(first, first + len(by_worker[rank]))
        self._own = [(self._subtrees[place], self._parts[place]) for place in own]
        self._reductions: dict[int, _Reduction] = {}
        self._word = read_word(segment.words, 8 * rank)
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
        write_word(self._segment.words, self._segment.layout.abort, 1)

    def _do_step(self, step: int, iterations: int) -> int:
        """All of a step but its last barrier; returns this worker's part of the fingerprint."""
        segment, plan = self._segment, self._plan
        old, new = segment.states[step % 2], segment.states[(step + 1) % 2]
        for subtree, into in self._own:
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
        self._word += 1
        words, abort = self._segment.words, self._segment.layout.abort
        while True:
            status = arrive_and_await(words, self._rank, self._workers, self._word, abort)
            if status == ARRIVED:
                return
            if status == ABORTED:
                raise GenerationOver

    def _reduction(self, start: int, stop: int) -> _Reduction:
        reduction = self._reductions.get(stop - start)
        if reduction is None:
            reduction = self._reductions[stop - start] = self._plan_reduction(start, stop)
        return reduction

    def _plan_reduction(self, start: int, stop: int) -> _Reduction:
        shards = self._batching.shards

        def samples(subtree: Range) -> int:
            bounds = (shard_bounds(start, stop, shards, shard) for shard in range(*subtree))
            return sum(high - low for low, high in bounds)

        steps, total = additions(shards, self._subtrees, [not samples(one) for one in self._subtrees])
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
        parts = tuple((self._sums[left], self._sums[right]) for left, right in steps)
        return _Reduction(slices, gradients[total], parts, self._sums[total])
