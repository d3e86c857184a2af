"""`Model.map` over the workers: items are dealt out to them, those of a lost worker again to the others."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cluster.crew import Answer, Crew, Outcome, Request
from cluster.failures import losses_of, raise_first_failure
from cluster.patience import LOAD_DEADLINE_S
from cluster.staff import Staff
from cluster.supervision import Action, Loss, decide
from cluster.transport import pack, unpack
from distnn.engine import EngineOptions
from distnn.errors import EngineError

if TYPE_CHECKING:
    from distnn.models.model import Model

logger = logging.getLogger("distnn.cluster")

WORK = "map"
"""What the work is called in sentences about lost workers."""
_WAIT_S = 0.02


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
        why = ""
        while missing := [place for place in range(len(items)) if place not in results]:
            self._crew.recruit(self._options.workers)
            if not self._crew.workers:
                self._wait_for_a_worker(why or f"{WORK}: {self._crew.shortage(1)}")
            dealt = self._deal(missing)
            requests = {w: Request("map", (*call, _chosen(items, places))) for w, places in dealt.items()}
            outcomes = self._crew.ask(requests, max(LOAD_DEADLINE_S, self._options.deadline_s))
            raise_first_failure(outcomes, {})
            for worker, outcome in outcomes.items():
                if isinstance(outcome, Answer):
                    results.update(zip(dealt[worker], unpack(outcome.value), strict=True))
                    earlier.clear()  # the next attempt is at other items
            why = self._go_on_without(earlier, outcomes)
        return [results[place] for place in range(len(items))]

    def _deal(self, places: Sequence[int]) -> dict[int, Sequence[int]]:
        """Each worker's items: in turn, so that what grows along the list is spread."""
        workers = sorted(self._crew.workers)
        dealt = {worker: places[i :: len(workers)] for i, worker in enumerate(workers)}
        return {worker: chosen for worker, chosen in dealt.items() if chosen}

    def _go_on_without(self, earlier: list[Sequence[Loss]], outcomes: Mapping[int, Outcome]) -> str:
        """End lost workers; returns a sentence on why there are none, if none is left.

        Raises:
            EngineError: if every attempt loses workers.
        """
        losses = losses_of(outcomes, {}, self._crew.workers)
        if not losses:
            return ""
        for loss in losses:
            self._crew.dismiss(loss.worker)
        left = len(self._crew.workers)
        decision = decide(WORK, earlier, losses, left, onward="with the items that have no result")
        earlier.append(losses)
        if decision.action.is_terminal:
            raise EngineError(decision.reason)
        logger.warning("%s", decision.reason)
        return decision.reason if decision.action is Action.WAIT else ""

    def _wait_for_a_worker(self, why: str) -> None:
        """Wait as long as the options say.

        Raises:
            EngineError: none comes.
        """
        logger.warning("%s: waiting for a worker", WORK)
        staff, limit = Staff(self._crew, self._options.workers), time.monotonic() + self._options.wait_s
        while not staff.look(lambda worker: (), _WAIT_S):
            if staff.has_given_up or time.monotonic() >= limit:
                waited = "" if staff.has_given_up else f"after {self._options.wait_s:.0f} s "
                shortage = self._crew.shortage(1)
                raise EngineError(
                    f"{why}; {waited}there is no worker" + ("" if shortage in why else f": {shortage}")
                )
            time.sleep(_WAIT_S)


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
