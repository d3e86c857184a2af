"""The steps of a segment, as one worker does them in memory that it shares with the others.

Each step: compute own shards; barrier; add up and update the own slice of the vector, from one buffer into
the other; barrier. (Where norms are needed, squares are summed in between, behind one more barrier.) A step
is committed exactly if every worker's word says that it has reached the last barrier of it: nobody turns
anything. The last worker also writes what is not cut in slices. Called by `cluster.worker`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from functools import partial

from cluster.counting import CountingRunner
from cluster.exchange.barrier import Barrier
from cluster.exchange.distance import Distance
from cluster.exchange.outgoing import Outgoing
from cluster.exchange.places import Places, subtrees_of
from cluster.exchange.segment import SharedLayout, SharedSegment
from distnn.kernels.tape import Call, Tape
from distnn.kernels.update import add_arrays, add_into
from distnn.optimizers.base import Optimizer
from distnn.reduction import Range, SumsLayout, additions
from distnn.tensor import Array
from distnn.update_plan import Piece, UpdatePlan
from distnn.weights import aligned_zeros

_CACHED_VALUES = 16 * 1024
"""Values that are added up and then updated while they lie in a core's cache."""
_MAX_TAPES = 64
"""Of batches of different sizes."""
STREAMED_BYTES = 8 << 20
"""Gradients up to this size may be streamed. With larger ones, weights, slots and gradients of two steps fit
no cache, and a second copy of them costs more than it saves."""
_MEASURED_STEPS = 16
"""Calls of so many steps begin with a look at the cores' distance."""


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
        self._plan = UpdatePlan(task, traced)
        self._pieces = self._plan.cut(self._plan.deal(self._workers)[rank], _CACHED_VALUES)
        self._places = Places(segment, traced.sums_layout, task.batching, ranges, rank)
        self._ways = [Outgoing(self._places, self._pieces, is_streamed=False)]
        if self._workers > 1 and segment.gradients[0].nbytes <= STREAMED_BYTES:
            self._ways.append(Outgoing(self._places, self._pieces, is_streamed=True))
        self._distance = Distance(segment, rank)
        self._has_measured = False
        self._outgoing = self._ways[0]
        self._tapes: OrderedDict[tuple[int, int, Outgoing], Tape] = OrderedDict()
        self._bindings = runner.bindings
        self._buffers: list[Array] = []
        self._barrier = Barrier(segment, rank)
        self._trouble = segment.words.data
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

        Whoever comes to a value that is not finite says so before the last barrier, and all end behind it.

        Raises:
            GenerationOver: the coordinator ended the generation, or another worker could not go on.
        """
        parts, trouble = self._segment.fingerprints[self._rank], self._segment.layout.trouble
        batching = self._runner.task.batching
        if self._bindings != self._runner.bindings:
            self._bindings = self._runner.bindings
            self._tapes.clear()
        self._choose_way(num_steps)
        for i in range(num_steps):
            self.step = step = first_step + i
            start, stop = batching.batch_bounds(step)
            self._runner.begin_step(step)
            self._plan.begin_step(iterations + i)
            known = self._tapes.get((step % 2, stop - start, self._outgoing))
            tape = known or self._bind_step(step % 2, stop - start)
            tape()
            parts[i] = tape.total
            self._commit()
            if self._trouble[trouble]:
                return

    def _commit(self) -> None:
        """The last barrier: with everybody there, the step is committed."""
        self._barrier.meet()

    def leave(self) -> None:
        """This worker cannot go on: let the others leave, too."""
        self._barrier.leave()

    # Steps

    def _bind_step(self, parity: int, samples: int) -> Tape:
        """All of a step of this parity but its last barrier; its total is this worker's fingerprint."""
        phases = self.phases(parity, samples)
        tape = Tape([call for calls in phases.values() for call in calls])
        self._tapes[parity, samples, self._outgoing] = tape
        if len(self._tapes) > _MAX_TAPES:
            self._tapes.popitem(last=False)
        return tape

    def _choose_way(self, num_steps: int) -> None:
        """Stream to cores that are far; all workers look at the same calls."""
        if len(self._ways) > 1 and (num_steps >= _MEASURED_STEPS or not self._has_measured):
            self._distance.measure()
            self._has_measured = True
            self._outgoing = self._ways[self._distance.is_far]

    def phases(self, parity: int, samples: int) -> dict[str, list[Call]]:
        """The calls of a step of this parity with a batch of so many samples, by what they do."""
        segment, plan, outgoing = self._segment, self._plan, self._outgoing
        old, new = segment.states[parity], segment.states[1 - parity]
        compute: list[Call] = []
        for row in self._places.own_rows:
            subtree, into = self._places.subtrees[row], outgoing.sums(row)
            calls = self._runner.bind_subtree(subtree, old.weights, into, samples)
            compute += [*calls, *outgoing.bind_sums(row)] if calls else []
        compute += plan.bind_penalty(old.weights, self._pieces, segment.penalty_blocks)
        pairs, total = self._additions(samples)
        update: list[Call] = []
        clip: list[Call] = []
        for piece in self._pieces:
            calls, gradient = self._bind_sum(piece, pairs, total)
            if plan.needs_norms:
                clip += [*calls, plan.bind_squares(old, gradient, piece, segment.square_blocks)]
                calls = []
            update += [*calls, *plan.bind_update(old, outgoing.new(new), gradient, piece)]
            update += outgoing.bind_weights(new, piece)
        if plan.needs_norms:
            clip += [self._barrier.call, partial(plan.scale, segment.square_blocks, segment.penalty_blocks)]
        rest: list[Call] = []
        if self._is_last:
            sums = self._places.sums
            for left, right in pairs:
                rest += sums[left].bind_add(sums[right])
            control, blocks = self._runner.control, segment.penalty_blocks
            rest += plan.bind_rest(old, new, sums[total], samples, control, blocks)
        return {
            "compute": compute,
            "meet": [self._barrier.call],
            "clip": clip,
            "update": update,
            "rest": rest,
            "report": [plan.bind_report(self._runner.control, segment.words, segment.layout.trouble)],
        }

    def _additions(self, samples: int) -> tuple[Sequence[tuple[int, int]], int]:
        """In which order the subtrees' sums are added, and where their total is in the end."""
        places = self._places
        steps, total = additions(
            self._runner.task.batching.shards, places.subtrees, places.are_empty(0, samples)
        )
        assert total is not None, "a batch has samples"
        return steps, total

    def _bind_sum(
        self, piece: Piece, steps: Sequence[tuple[int, int]], total: int
    ) -> tuple[list[Call], Array]:
        """Calls that add up a piece of the gradient, and where it is then.

        Sums lie in memory of this worker, which stays in its cache from piece to piece; where norms are
        needed they are needed again, behind a barrier, and stay where the left operand was.
        """
        place: dict[int, Array] = {}
        calls: list[Call] = []
        for left, right in steps:
            x = place.get(left, self._outgoing.gradient(left, piece))
            y = place.get(right, self._outgoing.gradient(right, piece))
            if self._plan.needs_norms or left in place:
                place[left] = x
                calls.append(partial(add_into, x, y))
            else:
                place[left] = self._scratch(len(place), piece.stop - piece.start)
                calls.append(partial(add_arrays, x, y, place[left]))
        return calls, place.get(total, self._outgoing.gradient(total, piece))

    def _scratch(self, number: int, size: int) -> Array:
        while len(self._buffers) <= number:
            self._buffers.append(aligned_zeros(max(piece.stop - piece.start for piece in self._pieces)))
        return self._buffers[number][:size]
