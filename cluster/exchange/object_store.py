"""The reference exchange: the coordinator gathers, adds, updates and broadcasts, over plain objects.

Short and obvious, it works wherever workers can be asked; the others are tested against it.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from cluster.assignment import Assignment
from cluster.crew import Answer, Crew, Request
from cluster.exchange.exchange import Exchange, Segment, WorkersLost
from cluster.exchange.phases import computing
from cluster.failures import losses_of, raise_first_failure
from distnn.reduction import Range, ShardSums, combine
from distnn.tensor import Array
from distnn.updater import Updater

Part = tuple[Range, tuple[Array, Array, Array] | None]
"""A subtree and its gradient, sums and moments; None if all its shards are empty."""


class ObjectStoreExchange(Exchange):
    """One round trip to every worker of the generation for each step.

    Args:
        crew: where the workers are.
        deadline_s: how long a worker may compute a step.
    """

    def __init__(self, crew: Crew, deadline_s: float) -> None:
        self._crew = crew
        self._deadline_s = deadline_s
        self._assignment: Assignment = {}
        self._updater: Updater | None = None
        self._received: dict[Range, ShardSums] = {}

    def begin(self, updater: Updater) -> None:
        self._updater = updater
        self._received = {}

    def join(self, assignment: Assignment) -> None:
        self._assignment = dict(assignment)
        self._received = {}

    def prepare(self) -> None:
        pass  # whoever can be asked can send objects

    def run(self, segment: Segment) -> None:
        while not segment.is_complete:
            segment.commit(np.array([self._commit_step()], np.uint64))

    def _commit_step(self) -> int:
        updater = self._updater
        assert updater is not None, "begin comes before run"
        state = updater.state
        weights = self._crew.share(state.weights)
        requests = {
            worker: Request("compute", (state.step, *shards, weights))
            for worker, shards in self._assignment.items()
        }
        outcomes = self._crew.ask(requests, self._deadline_s)
        raise_first_failure(outcomes, self._assignment)
        assignment = self._assignment
        losses = losses_of(outcomes, assignment, self._crew.workers, lambda w: computing(assignment[w]))
        if losses:
            raise WorkersLost(losses)
        answers = (outcome.value for outcome in outcomes.values() if isinstance(outcome, Answer))
        return updater.update(combine(updater.task.batching.shards, self._receive(state.step, answers)))

    def _receive(self, step: int, answers: Iterable[tuple[int, list[Part]]]) -> dict[Range, ShardSums | None]:
        """The parts in buffers of our own: what arrives is read-only, and adding writes the left operand."""
        parts: dict[Range, ShardSums | None] = {}
        for answered_step, answer in answers:
            assert answered_step == step, f"sums of step {answered_step} for step {step}"
            for shards, arrays in answer:
                parts[shards] = None if arrays is None else self._buffer(shards, arrays)
        return parts

    def _buffer(self, shards: Range, arrays: tuple[Array, Array, Array]) -> ShardSums:
        updater = self._updater
        assert updater is not None and updater.traced is not None, "only a training task has steps"
        buffer = self._received.get(shards)
        if buffer is None:
            buffer = self._received[shards] = ShardSums(updater.traced.sums_layout)
        for target, source in zip(buffer.arrays(), arrays, strict=True):
            np.copyto(target, source)
        return buffer
