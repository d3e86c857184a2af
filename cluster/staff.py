"""Who works for a training: members, who hold the task; newcomers, on their way to it; how many are wanted.

A look at it costs microseconds and never waits: workers are started, loaded and warmed beside the training.
When members compute, and what they compute, is the coordinator's to say.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cluster.assignment import Assignment, choose_leavers
from cluster.crew import Answer, Call, Crew, Died, Failed, Outcome, Request
from cluster.failures import losses_of
from cluster.patience import LOAD_DEADLINE_S
from cluster.supervision import MAX_FAILED_STARTS, Loss, missing, pause_s
from distnn.errors import EngineError

logger = logging.getLogger("distnn.cluster")

Briefing = Callable[[int], Sequence[Request]]
"""What a worker must be asked before it can compute, in order."""
SPARES_ASKED_EVERY_S = 1.0


@dataclass
class _Newcomer:
    """`round`: of summoning; those of one that cannot be made ready count as one failure."""

    calls: list[Call]
    since: float
    round: int


class Staff:
    """Members and newcomers among the workers of a crew.

    Args:
        crew: the workers.
        wanted: how many.

    Attributes:
        members: those who hold the task, or have been given it.
        wanted: how many workers there should be, spares included.
    """

    def __init__(self, crew: Crew, wanted: int) -> None:
        self._crew = crew
        self.members: set[int] = set()
        self.wanted = wanted
        self._newcomers: dict[int, _Newcomer] = {}
        self._round = 0
        self._failed_briefings: set[int] = set()
        self._start_again = 0.0
        self._spares: dict[int, Call] = {}
        self._spares_asked = 0.0

    @property
    def is_complete(self) -> bool:
        """Whether nobody is missing, and nobody on the way."""
        return len(self.members) >= self.wanted and not self._newcomers and not self._crew.coming

    @property
    def has_given_up(self) -> bool:
        """Whether workers cannot be started, as far as the last ones show."""
        return self._failed >= MAX_FAILED_STARTS and not self._newcomers and not self._crew.coming

    @property
    def _failed(self) -> int:
        return self._crew.failed_starts + len(self._failed_briefings)

    def take_all(self) -> None:
        """Everybody who is there is given a task now."""
        self._newcomers.clear()
        self._spares.clear()
        self.members = set(self._crew.workers)

    def lose(self) -> None:
        """Some have been dismissed."""
        there = set(self._crew.workers)
        self.members &= there
        for group in (self._newcomers, self._spares):
            for worker in set(group) - there:
                del group[worker]

    def look(self, briefing: Briefing, timeout_s: float = 0.0) -> list[int]:
        """Start who is missing, brief who has come; returns those who have become members.

        Args:
            briefing: asked of each newcomer; who cannot be given it (`EngineError`) is sent away.
            timeout_s: to wait for the next one to come.
        """
        self._start_missing()
        self._crew.arrivals(timeout_s)
        for worker in set(self._crew.workers) - self.members - set(self._newcomers):
            self._brief(worker, briefing)
        ready = [
            worker for worker, newcomer in list(self._newcomers.items()) if self._is_ready(worker, newcomer)
        ]
        self.members |= set(ready)
        return ready

    def _brief(self, worker: int, briefing: Briefing) -> None:
        newcomer = self._newcomers[worker] = _Newcomer([], time.monotonic(), self._round)
        try:
            requests = briefing(worker)
        except EngineError as error:  # a full object store: the members need nothing more of it
            self._send_away(worker, str(error))
        else:
            newcomer.calls += [self._crew.call(worker, request) for request in requests]

    def ask_newcomers(self, request: Request) -> None:
        """What members are asked meanwhile, those on their way to it are asked too; nobody waits for them."""
        for worker, newcomer in self._newcomers.items():
            newcomer.calls.append(self._crew.call(worker, request))

    def _start_missing(self) -> None:
        count = missing(self.wanted, len(self._crew.workers), self._crew.coming)
        now = time.monotonic()
        if count and now >= self._start_again:
            self._start_again = now + pause_s(self._failed)
            self._round += 1
            self._crew.summon(count)

    def _is_ready(self, worker: int, newcomer: _Newcomer) -> bool:
        """Whether it has done all it was asked; one that cannot is sent away."""
        while newcomer.calls:
            outcome = newcomer.calls[0].outcome()
            if outcome is None:
                if time.monotonic() - newcomer.since >= LOAD_DEADLINE_S:
                    self._send_away(worker, f"it was not ready within {LOAD_DEADLINE_S:.0f} s")
                return False
            if not isinstance(outcome, Answer):
                self._send_away(worker, _why(outcome))
                return False
            del newcomer.calls[0]
        del self._newcomers[worker]
        self._failed_briefings.clear()
        return True

    def _send_away(self, worker: int, reason: str) -> None:
        logger.warning("%s does not join: %s", self._crew.workers[worker], reason)
        self._failed_briefings.add(self._newcomers.pop(worker).round)
        self._crew.dismiss(worker)
        self._start_again = time.monotonic() + pause_s(self._failed)

    def lost_spares(self, assignment: Assignment) -> list[Loss]:
        """Members without shards that died meanwhile; they are asked now and then, and nobody waits."""
        outcomes: dict[int, Outcome] = {}
        for worker, call in list(self._spares.items()):
            outcome = call.outcome()
            if outcome is not None:
                del self._spares[worker]
                outcomes[worker] = outcome
        now = time.monotonic()
        if now - self._spares_asked >= SPARES_ASKED_EVERY_S:
            self._spares_asked = now
            for worker in self.members - set(assignment) - set(self._spares):
                self._spares[worker] = self._crew.call(worker, Request("progress"))
        return losses_of(outcomes, {}, self._crew.workers, lambda _: "while it had nothing to do")

    def shrink(self, assignment: Assignment) -> list[int]:
        """Let go of those beyond the wanted number; returns the members among them."""
        there = len(self._crew.workers)
        self._crew.recall(min(self._crew.coming, max(0, there + self._crew.coming - self.wanted)))
        leavers = choose_leavers(self.members, assignment, self.wanted)
        newcomers = sorted(self._newcomers)[max(0, self.wanted - len(self.members)) :]
        for worker in (*newcomers, *leavers):
            self._crew.dismiss(worker)
        self.lose()
        return leavers


def _why(outcome: Outcome) -> str:
    if isinstance(outcome, Failed):
        return outcome.failure.summary
    return outcome.reason if isinstance(outcome, Died) else "it did not answer"
