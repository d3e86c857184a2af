"""Telling a slow worker from a hung one: whether the numbers change that it gives beside its work."""

from __future__ import annotations

import time
from collections.abc import Iterable

from cluster.crew import Crew, Request, Watch

LOOK_S = 2.0
"""How often a worker that has not answered is asked whether it makes progress."""

_GRACE_S = 0.5

Numbers = tuple[int, int]
"""The first changes with every shard, the second while the worker waits for others (`Worker.progress`)."""


class Looks:
    """When workers were looked at: a coordinator that was away itself (stopped, suspended) blames nobody."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def were_missed(self, deadline_s: float) -> bool:
        """Whether far more time has passed since the last call than lies between two looks."""
        last, self._last = self._last, time.monotonic()
        return self._last - last > 3 * min(deadline_s, LOOK_S) + _GRACE_S


class ProgressWatch(Watch):
    """A worker is late if its numbers do not change; all are if each only waits for the others."""

    def __init__(self, crew: Crew, workers: Iterable[int]) -> None:
        self._crew = crew
        now = time.monotonic()
        self._heard: dict[int, tuple[Numbers, float]] = {worker: ((-1, -1), now) for worker in workers}
        self._pending = len(self._heard)
        self._advanced = now
        self._looks = Looks()

    def release(self) -> None:
        pass

    def late(self, workers: Iterable[int], deadline_s: float) -> dict[int, float]:
        asked = {worker: Request("progress") for worker in workers}
        numbers = self._crew.aside(asked, min(deadline_s, LOOK_S))
        now = time.monotonic()
        if self._looks.were_missed(deadline_s):
            self._heard = {worker: (numbers, now) for worker, (numbers, _) in self._heard.items()}
            self._advanced = now
        if len(asked) < self._pending:
            self._pending, self._advanced = len(asked), now
        found = {}
        for worker in asked:
            before, since = self._heard[worker]
            current = numbers.get(worker, before)
            if current != before:
                self._heard[worker] = (current, now)
            elif now - since >= deadline_s:
                found[worker] = now - since
            if current[0] != before[0]:
                self._advanced = now
        if found or self._advanced == now or now - self._advanced < deadline_s:
            return found
        return dict.fromkeys(asked, now - self._advanced)
