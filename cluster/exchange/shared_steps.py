"""The steps of a segment, as one worker does them in memory that it shares with the others.

Each step: compute own shards; barrier; add up and update the own slice of the vector, from one buffer into
the other; barrier. (Where norms are needed, squares are summed in between, behind one more barrier.) A step
is committed exactly if every worker's word says that it has reached the last barrier of it: nobody turns
anything. The last worker also writes what is not cut in slices. Called by `cluster.worker`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from cluster.counting import CountingRunner
from cluster.exchange.segment import SharedLayout, SharedSegment
from distnn.batching import shard_bounds
from distnn.kernels.tape import Call, Tape, WithFallback
from distnn.kernels.update import add_arrays, add_into
from distnn.kernels.waiting import ABORTED, ARRIVED, LINE, await_words, pass_barrier, read_word, write_word
from distnn.optimizers.base import Optimizer
from distnn.reduction import Range, ShardSums, SumsLayout, additions, maximal_subtrees
from distnn.tensor import Array
from distnn.update_plan import Piece, UpdatePlan
from distnn.weights import aligned_zeros

_CACHED_VALUES = 16 * 1024
"""Values that are added up and then updated while they lie in a core's cache."""


class GenerationOver(Exception):  # noqa: N818  (an event: the coordinator asked everybody to leave)
    """The steps end here; what was committed, the words say."""


def subtrees_of(ranges: Sequence[Range], shards: int) -> list[list[Range]]:
    """The subtrees of each worker, by its run of shards."""
    return [maximal_subtrees(first, stop, shards) for first, stop in ranges]


def barriers_per_step(plan: UpdatePlan) -> int:
    return 3 if plan.needs_norms else 2


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
        # the same without gradients, which are added up piece by piece
        bare = replace(traced.sums_layout, gradient=0)
        self._sums = [ShardSums.of(bare, (one.gradient[:0], one.sums, one.moments)) for one in self._parts]
        first = sum(map(len, by_worker[:rank]))
        own = range(first, first + len(by_worker[rank]))
        self._own = [(self._subtrees[place], self._parts[place]) for place in own]
        self._tapes: dict[tuple[int, int], Tape] = {}
        self._buffers: list[Array] = []
        native = partial(pass_barrier, segment.words, rank, self._workers, segment.layout.abort)
        self._barrier = WithFallback(native, self._wait_on)
        self._meet = Tape([self._barrier])
        self.step = 0

    @property
    def _is_last(self) -> bool:
        return self._rank == self._workers - 1

    def take_optimizer(self, optimizer: Optimizer) -> None:
        """What the next steps are updated by."""
        self._plan.optimizer = optimizer
        self._tapes.clear()

    def run(self, first_step: int, num_steps: int, iterations: int) -> None:
        """Do these steps; `iterations` counts the optimizer's updates before the first.

        Raises:
            GenerationOver: the coordinator ended the generation, or another worker could not go on.
        """
        parts = self._segment.fingerprints[self._rank]
        for i in range(num_steps):
            self.step = step = first_step + i
            start, stop = self._batching.batch_bounds(step)
            self._runner.begin_step(step)
            self._plan.begin_step(iterations + i)
            tape = self._tapes.get((step % 2, stop - start)) or self._bind_step(step % 2, stop - start)
            tape()
            parts[i] = tape.total
            self._commit()

    def _commit(self) -> None:
        """The last barrier: with everybody there, the step is committed."""
        self._meet()

    def leave(self) -> None:
        """This worker cannot go on: let the others leave, too."""
        write_word(self._segment.words, self._segment.layout.abort, 1)

    # Steps

    def _bind_step(self, parity: int, samples: int) -> Tape:
        """All of a step of this parity but its last barrier; its total is this worker's fingerprint."""
        phases = self.phases(parity, samples)
        tape = self._tapes[parity, samples] = Tape([call for calls in phases.values() for call in calls])
        return tape

    def phases(self, parity: int, samples: int) -> dict[str, list[Call]]:
        """The calls of a step of this parity with a batch of so many samples, by what they do."""
        segment, plan = self._segment, self._plan
        old, new = segment.states[parity], segment.states[1 - parity]
        compute: list[Call] = []
        for subtree, into in self._own:
            compute += self._runner.bind_subtree(subtree, old.weights, into, samples) or []
        compute += plan.bind_penalty(old.weights, self._pieces, segment.penalty_blocks)
        additions, total = self._additions(samples)
        update: list[Call] = []
        clip: list[Call] = []
        for piece in self._pieces:
            calls, gradient = self._bind_sum(piece, additions, total)
            if plan.needs_norms:
                clip += [*calls, plan.bind_squares(old, gradient, piece, segment.square_blocks)]
                calls = []
            update += [*calls, plan.bind_update(old, new, gradient, piece)]
        if plan.needs_norms:
            clip += [self._barrier, partial(plan.scale, segment.square_blocks, segment.penalty_blocks)]
        rest: list[Call] = []
        if self._is_last:
            for left, right in additions:
                rest += self._sums[left].bind_add(self._sums[right])
            control, blocks = self._runner.control, segment.penalty_blocks
            rest += plan.bind_rest(old, new, self._sums[total], samples, control, blocks)
        return {"compute": compute, "meet": [self._barrier], "clip": clip, "update": update, "rest": rest}

    def _wait_on(self) -> None:
        """Wait at the barrier that this worker has reached, now and then in Python."""
        words, abort = self._segment.words, self._segment.layout.abort
        word = read_word(words, LINE * self._rank)
        while (status := await_words(words, self._workers, word, abort)) != ARRIVED:
            if status == ABORTED:
                raise GenerationOver

    def _additions(self, samples: int) -> tuple[Sequence[tuple[int, int]], int]:
        """In which order the subtrees' sums are added, and where their total is in the end."""
        shards = self._batching.shards

        def has_samples(subtree: Range) -> bool:
            bounds = (shard_bounds(0, samples, shards, shard) for shard in range(*subtree))
            return any(high > low for low, high in bounds)

        steps, total = additions(shards, self._subtrees, [not has_samples(one) for one in self._subtrees])
        assert total is not None, "a batch has samples"
        return steps, total

    def _bind_sum(
        self, piece: Piece, steps: Sequence[tuple[int, int]], total: int
    ) -> tuple[list[Call], Array]:
        """Calls that add up a piece of the gradient, and where it is then.

        Sums lie in memory of this worker, which stays in its cache from piece to piece; where norms are
        needed they are needed again, behind a barrier, and stay where the left operand was.
        """
        part = slice(piece.start, piece.stop)
        place: dict[int, Array] = {}
        calls: list[Call] = []
        for left, right in steps:
            x = place.get(left, self._segment.gradients[left, part])
            y = place.get(right, self._segment.gradients[right, part])
            if self._plan.needs_norms or left in place:
                place[left] = x
                calls.append(partial(add_into, x, y))
            else:
                place[left] = self._scratch(len(place), piece.stop - piece.start)
                calls.append(partial(add_arrays, x, y, place[left]))
        return calls, place.get(total, self._segment.gradients[total, part])

    def _scratch(self, number: int, size: int) -> Array:
        while len(self._buffers) <= number:
            self._buffers.append(aligned_zeros(max(piece.stop - piece.start for piece in self._pieces)))
        return self._buffers[number][:size]
