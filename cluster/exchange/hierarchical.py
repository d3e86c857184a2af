"""The exchange between nodes with several workers: shared memory within each, the object store between them.

The coordinator owns the committed state. At each step it sends the weights once to every node, asks every
worker, and gets the sums of each node's subtrees from one worker of it. What the others do, `node_steps` has.
A worker that is alone on its node is asked as in the object store's exchange. A loss ends the generation.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.assignment import Assignment
from cluster.crew import Answer, Crew, Outcome, Request, Watch
from cluster.exchange.arrivals import Arrivals
from cluster.exchange.exchange import Exchange, Segment, WorkersLost
from cluster.exchange.node_steps import node_layout
from cluster.exchange.phases import computing
from cluster.exchange.segment import MAPPING_S_PER_BYTE, SharedLayout
from cluster.failures import losses_of, raise_first_failure
from cluster.patience import Patience
from cluster.progress import LOOK_S, ProgressWatch
from distnn.reduction import Range, combine
from distnn.updater import Updater

_JOINING = "while it mapped the memory"


class HierarchicalExchange(Exchange):
    """One round trip to every worker for each step; what is large travels once per node.

    Args:
        crew: where the workers are.
        patience: how long a worker may hold up the others.
    """

    def __init__(self, crew: Crew, patience: Patience) -> None:
        self._crew = crew
        self._patience = patience
        self._assignment: Assignment = {}
        self._updater: Updater | None = None
        self._generation: _Generation | None = None

    def begin(self, updater: Updater) -> None:
        self._updater = updater
        self._generation = None

    def join(self, assignment: Assignment) -> None:
        self._assignment = dict(assignment)
        self._generation = None

    def prepare(self) -> None:
        updater = self._updater
        assert updater is not None, "begin comes before prepare"
        if self._generation is None:
            with contextlib.suppress(WorkersLost):  # who is lost now is missed by the first step, too
                self._start_generation(updater)

    def run(self, segment: Segment) -> None:
        updater = self._updater
        assert updater is not None and updater.traced is not None, "only a training task has steps"
        while segment.left:
            generation = self._generation or self._start_generation(updater)
            segment.take(self._commit_step(updater, generation))

    # Generations

    def _start_generation(self, updater: Updater) -> _Generation:
        """New memory on every node with several workers, mapped by all of them.

        Raises:
            SharedMemoryError: a node has no room, or a worker cannot reach it.
            WorkersLost: as ever.
        """
        assert updater.traced is not None
        generation = _Generation(self._crew, _nodes(self._crew, self._assignment))
        layouts = {
            node.leader: None
            if node.is_single
            else node_layout(
                updater.plan.layout.size,
                updater.traced.sums_layout,
                node.ranges,
                updater.task.batching.shards,
            )
            for node in generation.nodes
        }
        try:
            needed = max((one.num_bytes for one in layouts.values() if one is not None), default=0)
            deadline_s = self._patience.seconds + needed * MAPPING_S_PER_BYTE
            paths = self._answers(generation, generation.open_requests(layouts), deadline_s, _JOINING)
            self._answers(generation, generation.join_requests(layouts, paths), deadline_s, _JOINING)
        except BaseException:
            generation.release(LOOK_S)  # no name may stay behind, even if this program ends now
            raise
        generation.arrivals = Arrivals(updater.traced.sums_layout)
        self._generation = generation
        return generation

    def _answers(
        self, generation: _Generation, requests: dict[int, Request], deadline_s: float, doing: str = ""
    ) -> dict[int, Any]:
        """What every asked worker answers; `doing` tells what was asked for, if no step.

        Before steps a loss comes first: others fail because of it. Shards are to blame only in steps.

        Raises:
            WorkersLost: some do not.
            Exception: raised in a worker.
        """
        outcomes: dict[int, Outcome] = self._crew.ask(requests, deadline_s, generation.watch(requests))
        shards = self._assignment
        losses = losses_of(
            outcomes,
            {} if doing else shards,
            self._crew.workers,
            lambda worker: doing or computing(shards[worker]),
        )
        if not (losses and doing):
            raise_first_failure(outcomes, shards)
        if losses:
            raise WorkersLost(losses)
        return {worker: one.value for worker, one in outcomes.items() if isinstance(one, Answer)}

    # Steps

    def _commit_step(self, updater: Updater, generation: _Generation) -> int | None:
        began = time.monotonic()
        state = updater.state
        weights = self._crew.share(state.weights)
        requests = generation.step_requests(state.step, weights)
        try:
            answers = self._answers(generation, requests, self._patience.now_s)
        except BaseException:
            # Ctrl-C included: workers may be anywhere in the step, and their memory is of no more use.
            self._generation = None
            generation.release()
            raise
        assert generation.arrivals is not None
        parts = generation.arrivals.take(state.step, answers.values())
        fingerprint = updater.update(combine(updater.task.batching.shards, parts))
        self._patience.took(1, time.monotonic() - began)
        return fingerprint


@dataclass(frozen=True)
class _Node:
    """The workers of one node, and their shards, in order; together these are contiguous."""

    workers: tuple[int, ...]
    ranges: tuple[Range, ...]

    @property
    def leader(self) -> int:
        """Makes the memory, and sends the node's sums."""
        return self.workers[0]

    @property
    def is_single(self) -> bool:
        return len(self.workers) == 1


def _nodes(crew: Crew, assignment: Assignment) -> list[_Node]:
    grouped: dict[str, dict[int, Range]] = {}
    for worker, shards in assignment.items():
        info = crew.workers.get(worker)
        # One that was lost meanwhile is asked all the same, to be told so as ever.
        grouped.setdefault("" if info is None else info.node, {})[worker] = shards
    return [_Node(tuple(group), tuple(group.values())) for group in grouped.values()]


class _Generation:
    """One membership of workers: what each of them is asked, and how they are released.

    Attributes:
        nodes: with their workers.
        arrivals: buffers for their sums.
    """

    def __init__(self, crew: Crew, nodes: list[_Node]) -> None:
        self._crew = crew
        self._number = secrets.randbits(62)  # workers may have seen generations of other exchanges
        self.nodes = nodes
        self.arrivals: Arrivals | None = None

    def open_requests(self, layouts: dict[int, SharedLayout | None]) -> dict[int, Request]:
        """Each leader makes its node's memory; one that is alone sweeps what a killed neighbour left."""
        return {leader: Request("open_node", (layout, self._number)) for leader, layout in layouts.items()}

    def join_requests(
        self, layouts: dict[int, SharedLayout | None], paths: dict[int, Path | None]
    ) -> dict[int, Request]:
        return {
            worker: Request(
                "join_node", (paths[node.leader], layouts[node.leader], self._number, node.ranges, rank)
            )
            for node in self.nodes
            if not node.is_single
            for rank, worker in enumerate(node.workers)
        }

    def step_requests(self, step: int, weights: Any) -> dict[int, Request]:
        requests = {}
        for node in self.nodes:
            if node.is_single:
                requests[node.leader] = Request("compute", (step, *node.ranges[0], weights))
            else:
                requests |= {worker: Request("compute_together", (step, weights)) for worker in node.workers}
        return requests

    def watch(self, workers: Iterable[int]) -> Watch:
        return _Releasing(self, ProgressWatch(self._crew, workers))

    def release(self, timeout_s: float = 0.0) -> None:
        """Let workers that wait for a lost one go on; any live worker of a node does it for all of them."""
        leave = Request("leave_node", (self._number,))
        together = [worker for node in self.nodes if not node.is_single for worker in node.workers]
        self._crew.aside(dict.fromkeys(together, leave), timeout_s)


class _Releasing(Watch):
    """Knows from the workers' own numbers who is late: those that wait for others count on."""

    def __init__(self, generation: _Generation, progress: ProgressWatch) -> None:
        self._generation = generation
        self._progress = progress

    def release(self) -> None:
        self._generation.release()

    def late(self, workers: Iterable[int], deadline_s: float) -> dict[int, float]:
        return self._progress.late(workers, deadline_s)
