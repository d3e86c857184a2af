"""A run seen from outside, by its directory alone: its events, its steps, who works."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import psutil

from cluster.machine import machine_identity
from distnn import incidents
from jobs.journal import Followed
from jobs.lifecycle import ENGINE_READY
from jobs.rundir import RunDir
from jobs.steplog import BYTES_PER_STEP

LOOK_EVERY_S = 0.01

Event = Mapping[str, Any]


@dataclass(frozen=True)
class Worker:
    """A process that computes, on a machine."""

    number: int
    pid: int
    machine: str
    started: float

    @classmethod
    def told(cls, facts: Mapping[str, Any]) -> Worker:
        """As an event tells of it."""
        return cls(facts["worker"], facts["pid"], facts["machine"], facts["started"])

    def process(self) -> psutil.Process | None:
        """Its process if it lives here, else None."""
        if self.machine != machine_identity():
            return None
        try:
            process = psutil.Process(self.pid)
            is_it = (
                abs(process.create_time() - self.started) < 0.5 and process.status() != psutil.STATUS_ZOMBIE
            )
            return process if is_it else None
        except psutil.NoSuchProcess:
            return None


class RunWatch:
    """What a run directory tells while its run lives. Every look costs a few calls of `stat`."""

    def __init__(self, run: RunDir) -> None:
        self.run = run
        self._events = Followed(run.events)

    @property
    def events(self) -> list[dict[str, Any]]:
        """All events so far."""
        return self._events.records

    def since(self, place: int, kind: str, **facts: Any) -> Event | None:
        """The first event of a kind, with these facts, after the first `place` events."""
        for event in self.events[place:]:
            if event.get("kind") == kind and all(event.get(k) == v for k, v in facts.items()):
                return event
        return None

    def last(self, kind: str) -> Event | None:
        """The newest event of a kind."""
        return next((event for event in reversed(self.events) if event.get("kind") == kind), None)

    def step(self) -> int:
        """Steps that are recorded."""
        try:
            return self.run.steps.stat().st_size // BYTES_PER_STEP
        except OSError:
            return 0

    def mark(self) -> tuple[int, int]:
        """Changes whenever steps are recorded."""
        try:
            found = self.run.steps.stat()
        except OSError:
            return 0, 0
        return found.st_size, found.st_mtime_ns

    def total_steps(self) -> int:
        """Steps of the whole run, 0 while nobody knows."""
        begin = self.last("begin")
        return 0 if begin is None else int(begin["total_steps"])

    def is_computing(self) -> bool:
        """Whether the newest attempt has come as far as its engine."""
        for event in reversed(self.events):
            if event.get("kind") in (ENGINE_READY, "attempt"):
                return bool(event["kind"] == ENGINE_READY)
        return False

    def has_finished(self) -> bool:
        return self.last("finished") is not None

    def workers(self) -> list[Worker]:
        """Those of the newest attempt that compute or are about to, as far as the events tell."""
        there: dict[int, Worker] = {}
        for event in self.events:
            kind = event.get("kind")
            if kind in ("attempt", ENGINE_READY):
                there = {facts["worker"]: Worker.told(facts) for facts in event.get("processes", ())}
            elif kind == incidents.WORKER_JOINED:
                there[event["worker"]] = Worker.told(event)
            elif kind in (incidents.WORKER_LOST, incidents.WORKER_LEFT):
                there.pop(event["worker"], None)
        return list(there.values())

    def writes_checkpoint(self) -> bool:
        """Whether a checkpoint is half-written just now, or was when its writer died."""
        return any(self.run.checkpoints.glob(".*.tmp"))


def wait_until(is_so: Callable[[], bool], timeout_s: float, every_s: float = LOOK_EVERY_S) -> bool:
    """Whether it came to be so in time."""
    limit = time.monotonic() + timeout_s
    while not is_so():
        if time.monotonic() >= limit:
            return False
        time.sleep(every_s)
    return True
