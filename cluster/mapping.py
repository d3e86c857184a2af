"""`Model.map` over the workers: items are dealt out to them, those of a lost worker again to the others."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cluster.crew import Answer, Crew, Outcome, Request
from cluster.failures import losses_of, raise_first_failure
from cluster.patience import LOAD_DEADLINE_S
from cluster.supervision import Loss, decide
from cluster.transport import pack, unpack
from distnn.engine import EngineOptions
from distnn.errors import EngineError

if TYPE_CHECKING:
    from distnn.models.model import Model

logger = logging.getLogger("distnn.cluster")

WORK = "map"
"""What the work is called in sentences about lost workers."""


class Mapper:
    """Calls of functions with one model, by the workers of a crew.

    Args:
        crew: the workers.
        options: how many there shall be, and how long an item may take without being finished (five minutes
            at least).
    """

    def __init__(self, crew: Crew, options: EngineOptions) -> None:
        self._crew = crew
        self._options = options
        self._version = -1
        self._packed = b""

    def run(self, model: Model, function: Callable[[Any, Any], Any], items: Sequence[Any]) -> list[Any]:
        """`function(copy of model, item)` of every item, in order."""
        if self._version != model.tasks.version:
            self._packed, self._version = _packed(model, "the model"), model.tasks.version
        description = self._crew.share(self._packed)
        weights = self._crew.share(pack(model.get_weights()))
        call = (list(sys.path), self._version, description, weights, _packed(function, "the function"))
        results: dict[int, Any] = {}
        earlier: list[Sequence[Loss]] = []
        while missing := [place for place in range(len(items)) if place not in results]:
            self._crew.recruit(self._options.workers)
            if not self._crew.workers:
                raise EngineError(f"{WORK}: {self._crew.shortage(1)}")
            dealt = self._deal(missing)
            requests = {w: Request("map", (*call, _chosen(items, places))) for w, places in dealt.items()}
            outcomes = self._crew.ask(requests, max(LOAD_DEADLINE_S, self._options.deadline_s))
            raise_first_failure(outcomes, {})
            for worker, outcome in outcomes.items():
                if isinstance(outcome, Answer):
                    results.update(zip(dealt[worker], unpack(outcome.value), strict=True))
            self._go_on_without(earlier, outcomes)
        return [results[place] for place in range(len(items))]

    def _deal(self, places: Sequence[int]) -> dict[int, Sequence[int]]:
        """Each worker's items: in turn, so that what grows along the list is spread."""
        workers = sorted(self._crew.workers)
        dealt = {worker: places[i :: len(workers)] for i, worker in enumerate(workers)}
        return {worker: chosen for worker, chosen in dealt.items() if chosen}

    def _go_on_without(self, earlier: list[Sequence[Loss]], outcomes: Mapping[int, Outcome]) -> None:
        """End lost workers.

        Raises:
            EngineError: if none is left.
        """
        losses = losses_of(outcomes, {}, self._crew.workers)
        if not losses:
            return
        for loss in losses:
            self._crew.dismiss(loss.worker)
        decision = decide(WORK, earlier, losses, len(self._crew.workers))
        earlier.append(losses)
        if decision.action.is_terminal:
            raise EngineError(decision.reason)
        logger.warning("%s", decision.reason)


def _chosen(items: Sequence[Any], places: Sequence[int]) -> bytes:
    return _packed([items[place] for place in places], "an item")


def _packed(value: Any, what: str) -> bytes:
    try:
        return pack(value)
    except Exception as error:
        raise ValueError(
            f"{what} given to `map` cannot be sent to other processes ({type(error).__name__}: "
            f"{str(error).strip().splitlines()[0]}): keep open files, locks, threads and generators out of it"
        ) from error
