"""Which exchange a training uses: the one asked for, or the quickest that its workers can use."""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from collections.abc import Iterable

from cluster.assignment import Assignment
from cluster.crew import Crew
from cluster.exchange.exchange import Exchange, Segment
from cluster.exchange.hierarchical import HierarchicalExchange
from cluster.exchange.object_store import ObjectStoreExchange
from cluster.exchange.segment import SharedMemoryError
from cluster.exchange.shared_memory import SharedMemoryExchange
from cluster.patience import Patience
from distnn.updater import Updater

logger = logging.getLogger("distnn.cluster")


def make_exchange(name: str, crew: Crew, patience: Patience) -> Exchange:
    """The exchange called `name`, one of `distnn.engine.EXCHANGES`."""
    if name == "auto":
        return AutoExchange(crew, patience)
    return _exchanges(crew, patience)[name]


def _exchanges(crew: Crew, patience: Patience) -> dict[str, Exchange]:
    return {
        "shared_memory": SharedMemoryExchange(crew, patience),
        "hierarchical": HierarchicalExchange(crew, patience),
        "object_store": ObjectStoreExchange(crew, patience),
    }


def choose(worker_nodes: Iterable[str], here: str) -> tuple[str, str]:
    """The exchange for a coordinator on node `here`; and why.

    Args:
        worker_nodes: the node of each worker that computes.
        here: the coordinator's.
    """
    workers = Counter(worker_nodes)
    if set(workers) <= {here}:
        return "shared_memory", "all workers are on the coordinator's node"
    most = max(workers.values())
    if most > 1 and len(workers) > 1:
        return "hierarchical", f"the workers are on {len(workers)} nodes, up to {most} on one"
    if most > 1:
        return "hierarchical", f"{most} workers share a node that is not the coordinator's"
    if len(workers) > 1:
        return "object_store", f"the workers are on {len(workers)} nodes, one on each"
    return "object_store", "the worker is on another node than the coordinator"


class AutoExchange(Exchange):
    """Shared memory where workers share a node and it has room; objects between nodes.

    The choice is made anew with every generation. That shared memory has no room is told once.
    """

    def __init__(self, crew: Crew, patience: Patience) -> None:
        self._crew = crew
        self._exchanges = _exchanges(crew, patience)
        self._has_room = True
        self._has_warned = False
        self._updater: Updater | None = None
        self._chosen = "object_store"

    @property
    def chosen(self) -> str:
        """The name of the one in use."""
        return self._chosen

    def begin(self, updater: Updater) -> None:
        self._has_room = True
        self._updater = updater
        for exchange in self._exchanges.values():
            exchange.begin(updater)

    def join(self, assignment: Assignment) -> None:
        for exchange in self._exchanges.values():
            exchange.join(assignment)
        nodes = [self._crew.workers[worker].node for worker in assignment]
        name, reason = choose(nodes, self._crew.here)
        self._take(name if self._has_room else "object_store")
        logger.debug("exchange: %s (%s)", name, reason)

    def _take(self, name: str) -> None:
        if self._chosen == "shared_memory" != name and self._updater is not None:
            self._updater.move_out()  # a worker thought dead may still write where the state lay
        self._chosen = name

    def prepare(self) -> None:
        try:
            self._exchanges[self._chosen].prepare()
        except SharedMemoryError as error:
            self._fall_back(error)

    def run(self, segment: Segment) -> None:
        try:
            self._exchanges[self._chosen].run(segment)
        except SharedMemoryError as error:
            self._fall_back(error)
            self._exchanges[self._chosen].run(segment)

    def _fall_back(self, error: SharedMemoryError) -> None:
        self._has_room = False
        self._take("object_store")
        if not self._has_warned:
            self._has_warned = True
            text = "; ".join([str(error), *getattr(error, "__notes__", ())])
            warnings.warn(f"{text}. Going on with the slower object store", stacklevel=6)
