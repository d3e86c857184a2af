"""Which exchange a training uses: the one asked for, or the quickest that its workers can use."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable

from cluster.assignment import Assignment
from cluster.crew import Crew
from cluster.exchange.exchange import Exchange, Segment
from cluster.exchange.object_store import ObjectStoreExchange
from cluster.exchange.segment import SharedMemoryError
from cluster.exchange.shared_memory import SharedMemoryExchange
from cluster.node import node_identity
from distnn.updater import Updater

logger = logging.getLogger("distnn.cluster")


def make_exchange(name: str, crew: Crew, deadline_s: float) -> Exchange:
    """The exchange called `name`, one of `distnn.engine.EXCHANGES`."""
    if name == "shared_memory":
        return SharedMemoryExchange(crew, deadline_s)
    if name == "object_store":
        return ObjectStoreExchange(crew, deadline_s)
    return AutoExchange(crew, deadline_s)


def choose(worker_nodes: Iterable[str], here: str) -> tuple[str, str]:
    """The exchange for workers on these nodes, with a coordinator on `here`; and why."""
    nodes = set(worker_nodes)
    if nodes <= {here}:
        return "shared_memory", "all workers are on the coordinator's machine"
    if len(nodes) == 1:
        return "object_store", "the workers are on another machine than the coordinator"
    return "object_store", f"the workers are on {len(nodes)} machines"


class AutoExchange(Exchange):
    """Shared memory where all workers are on the coordinator's machine and it has room; else objects.

    The choice is made anew with every generation. That shared memory has no room is told once.
    """

    def __init__(self, crew: Crew, deadline_s: float) -> None:
        self._crew = crew
        self._shared = SharedMemoryExchange(crew, deadline_s)
        self._objects = ObjectStoreExchange(crew, deadline_s)
        self._has_room = True
        self._has_warned = False
        self._chosen: Exchange = self._objects

    @property
    def chosen(self) -> Exchange:
        """The one in use."""
        return self._chosen

    def begin(self, updater: Updater) -> None:
        self._has_room = True
        self._shared.begin(updater)
        self._objects.begin(updater)

    def join(self, assignment: Assignment) -> None:
        self._shared.join(assignment)
        self._objects.join(assignment)
        nodes = [self._crew.workers[worker].node for worker in assignment]
        name, reason = choose(nodes, node_identity())
        if name == "shared_memory" and self._has_room:
            self._chosen = self._shared
        else:
            self._chosen = self._objects
        logger.debug("exchange: %s (%s)", name, reason)

    def prepare(self) -> None:
        try:
            self._chosen.prepare()
        except SharedMemoryError as error:
            self._fall_back(error)

    def run(self, segment: Segment) -> None:
        try:
            self._chosen.run(segment)
        except SharedMemoryError as error:
            self._fall_back(error)
            self._chosen.run(segment)

    def _fall_back(self, error: SharedMemoryError) -> None:
        self._has_room = False
        self._chosen = self._objects
        if not self._has_warned:
            self._has_warned = True
            warnings.warn(f"{error}. Going on with the slower object store", stacklevel=6)
