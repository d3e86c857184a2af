"""The reference exchange: the coordinator gathers, adds, updates and broadcasts, over plain objects.

Short and obvious, it works wherever workers can be asked; the others are tested against it.
"""

from __future__ import annotations

import time

from cluster.assignment import Assignment
from cluster.crew import Answer, Crew, Request
from cluster.exchange.arrivals import Arrivals
from cluster.exchange.exchange import Exchange, Segment, WorkersLost
from cluster.exchange.phases import computing
from cluster.failures import losses_of, raise_first_failure
from cluster.patience import Patience
from distnn.reduction import combine
from distnn.updater import Updater


class ObjectStoreExchange(Exchange):
    """One round trip to every worker of the generation for each step.

    Args:
        crew: where the workers are.
        patience: how long a worker may compute a step.
    """

    def __init__(self, crew: Crew, patience: Patience) -> None:
        self._crew = crew
        self._patience = patience
        self._assignment: Assignment = {}
        self._updater: Updater | None = None
        self._arrivals: Arrivals | None = None

    def begin(self, updater: Updater) -> None:
        self._updater = updater
        self._arrivals = None

    def join(self, assignment: Assignment) -> None:
        self._assignment = dict(assignment)
        self._arrivals = None

    def prepare(self) -> None:
        pass  # whoever can be asked can send objects

    def run(self, segment: Segment) -> None:
        updater = self._updater
        assert updater is not None and updater.traced is not None, "only a training task has steps"
        arrivals = self._arrivals = self._arrivals or Arrivals(updater.traced.sums_layout)
        while segment.left:
            segment.take(self._commit_step(updater, arrivals))

    def _commit_step(self, updater: Updater, arrivals: Arrivals) -> int | None:
        began = time.monotonic()
        state = updater.state
        weights = self._crew.share(state.weights)
        requests = {
            worker: Request("compute", (state.step, *shards, weights))
            for worker, shards in self._assignment.items()
        }
        outcomes = self._crew.ask(requests, self._patience.now_s)
        raise_first_failure(outcomes, self._assignment)
        assignment = self._assignment
        losses = losses_of(outcomes, assignment, self._crew.workers, lambda w: computing(assignment[w]))
        if losses:
            raise WorkersLost(losses)
        answers = (outcome.value for outcome in outcomes.values() if isinstance(outcome, Answer))
        fingerprint = updater.update(
            combine(updater.task.batching.shards, arrivals.take(state.step, answers))
        )
        self._patience.took(1, time.monotonic() - began)
        return fingerprint
