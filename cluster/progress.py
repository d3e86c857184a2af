"""Telling a slow worker from a hung one: whether the number changes that it gives beside its work."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from cluster.crew import Crew, Request, Watch

LOOK_S = 2.0
"""How often a worker that has not answered is asked whether it makes progress."""


class ProgressWatch(Watch):
    """For workers that do not wait for each other, or whose number changes while they do."""

    def __init__(self, crew: Crew, workers: Iterable[int]) -> None:
        self._crew = crew
        self._heard: dict[int, tuple[Any, float]] = {worker: (None, time.monotonic()) for worker in workers}

    def release(self) -> None:
        pass

    def late(self, workers: Iterable[int], deadline_s: float) -> dict[int, float]:
        asked = {worker: Request("progress") for worker in workers}
        numbers = self._crew.aside(asked, min(deadline_s, LOOK_S))
        found = {}
        now = time.monotonic()
        for worker in asked:
            number, since = self._heard[worker]
            if worker in numbers and numbers[worker] != number:
                self._heard[worker] = (numbers[worker], now)
            elif now - since >= deadline_s:
                found[worker] = now - since
        return found
