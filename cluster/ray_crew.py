"""The crew that trains: each worker is a Ray actor.

It turns Ray's exceptions into outcomes and Ray's waiting into waiting with a deadline. Policy (who computes
what, what to do after a loss) is not here.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cluster.connect import Connection
from cluster.crew import (
    Answer,
    Call,
    Crew,
    Died,
    Failed,
    Failure,
    Outcome,
    Request,
    Silent,
    Watch,
    WorkerInfo,
)
from cluster.fleet import PACKAGE_DIGEST, arithmetic_facts, mixed_fleet_message, other_version_message
from cluster.machine import machine_identity
from cluster.progress import LOOK_S, ProgressWatch
from cluster.ray_import import ray
from cluster.reasons import reason
from cluster.room import no_room_message, room_for
from cluster.stopping import kill_process
from cluster.supervision import missing
from cluster.worker import Worker
from distnn.errors import EngineError
from distnn.kernels.jit import load_compiler

logger = logging.getLogger("distnn.cluster")

START_DEADLINE_S = 60.0
"""For worker processes to start; beyond it the training goes on with those that have."""
_READY_S = 30.0
"""For what Ray says is there to be taken; the node that has it may die meanwhile."""
_LOOK_FOR_ROOM_S = 0.5
_FULL_S = 3.0
"""Ray knows of CPUs that another program has left some time after."""
_MANY = 1 << 30
_INLINE_BYTES = 100_000
"""Ray sends smaller arguments within the call itself, which is faster than through the object store."""


class RayCrew(Crew):
    """Actors of one engine.

    Args:
        connection: to Ray; not closed here.
        threads: cores each worker asks the cluster for; an embedded Ray is ours alone and not asked.
        start_deadline_s: for worker processes to start.
    """

    def __init__(
        self, connection: Connection, threads: int, start_deadline_s: float = START_DEADLINE_S
    ) -> None:
        self._cpus = 0 if connection.is_embedded else threads
        self._start_deadline_s = start_deadline_s
        self._here = this_node()
        self._actors: dict[int, Any] = {}
        self._workers: dict[int, WorkerInfo] = {}
        self._greetings: dict[int, Mapping[str, Any]] = {}
        self._coming: dict[Any, _Summoned] = {}
        self._actor_class: Any = None
        self._next_number = 0
        self._has_warned = False
        self._problem = ""
        self._round = 0
        self._failed_rounds: set[int] = set()

    @property
    def workers(self) -> Mapping[int, WorkerInfo]:
        return self._workers

    @property
    def here(self) -> str:
        return self._here

    # Starting and ending

    @property
    def coming(self) -> int:
        return len(self._coming)

    @property
    def failed_starts(self) -> int:
        return len(self._failed_rounds)

    def summon(self, count: int) -> None:
        if self._actor_class is None:
            options = {"num_cpus": self._cpus, "max_restarts": 0, "concurrency_groups": {"control": 1}}
            options["enable_task_events"] = False  # Ray's head would keep 3 KB of every segment
            self._actor_class = ray.remote(**options)(Worker)
        room, now = self._room() if count else 0, time.monotonic()
        self._round += 1
        for i in range(count):
            actor = self._actor_class.remote()
            greeting = actor.hello.remote(this_node)
            due = now + self._start_deadline_s
            self._coming[greeting] = _Summoned(self._next_number, actor, i < room, now, self._round, due)
            self._next_number += 1

    def _room(self) -> int:
        """How many more workers could start at once, as far as Ray knows by now."""
        if not self._cpus:
            return _MANY
        starting = sum(summoned.has_room for summoned in self._coming.values())
        return int(ray.available_resources().get("CPU", 0)) // self._cpus - starting

    def arrivals(self, timeout_s: float = 0.0) -> list[int]:
        if not self._coming:
            return []
        came, _ = ray.wait(list(self._coming), num_returns=1, timeout=timeout_s)
        if came:  # those who came together
            came, _ = ray.wait(list(self._coming), num_returns=len(self._coming), timeout=0)
        elif self._are_late():
            self._give_up_late()
        return [number for greeting in came for number in self._let_in(greeting)]

    def _let_in(self, greeting: Any) -> list[int]:
        """The number of one who came, or none if it could not start or may not take part."""
        summoned = self._coming.pop(greeting)
        try:
            told = ray.get(greeting, timeout=_READY_S)
        except ray.exceptions.RayError as error:
            _forget_frames(error)
            self._refuse(summoned, reason(str(error)))
            return []
        if told["package"] != PACKAGE_DIGEST:
            is_here = told["info"]["machine"] == machine_identity()
            self._refuse(summoned, other_version_message([told["info"]["host"]], is_here))
            return []
        self._failed_rounds.clear()
        self._welcome(summoned.number, summoned.actor, told)
        self._warn_of_mixed_fleet()
        return [summoned.number]

    def _refuse(self, summoned: _Summoned, problem: str) -> None:
        self._failed_rounds.add(summoned.round)
        ray.kill(summoned.actor)
        if problem != self._problem:
            self._problem = problem
            logger.warning("worker %d could not be started: %s", summoned.number, problem)

    def _are_late(self) -> bool:
        return time.monotonic() >= min(summoned.due for summoned in self._coming.values())

    def _give_up_late(self) -> None:
        """End those that do not start although there is or was room; the others stay in Ray's queue.

        A start that hangs holds its CPUs, so a cluster that is full now tells nothing of those that had room.
        """
        now, is_full = time.monotonic(), self._room() <= 0
        for greeting, summoned in list(self._coming.items()):
            if now < summoned.due:
                continue
            if summoned.has_room or not is_full:
                del self._coming[greeting]
                self._refuse(summoned, f"it did not answer within {self._start_deadline_s:.0f} s")
            else:
                summoned.due = now + self._start_deadline_s

    def recall(self, count: int) -> None:
        for greeting in list(self._coming)[len(self._coming) - count :]:
            ray.kill(self._coming.pop(greeting).actor)

    def recruit(self, count: int) -> None:
        self.summon(missing(count, len(self._workers), self.coming))
        load_compiler()  # while they load theirs
        fitting = room_for(ray.nodes(), self._cpus) if self._cpus else count
        while self._coming and len(self._workers) < min(count, fitting):
            left = self._patience_left()
            self.arrivals(max(0.0, min(left, _LOOK_FOR_ROOM_S)))
            if left <= 0:
                return

    def _patience_left(self) -> float:
        """How long those on their way are worth waiting for; what has been waited before counts."""
        newest = max(summoned.since for summoned in self._coming.values())
        are_starting = any(summoned.has_room for summoned in self._coming.values())
        return newest + (self._start_deadline_s if are_starting else _FULL_S) - time.monotonic()

    def shortage(self, wanted: int) -> str:
        if self._problem and self._failed_rounds:
            return f"{len(self._workers)} of {wanted} workers could be started: {self._problem}"
        free, total = ray.available_resources(), ray.cluster_resources()
        return no_room_message(wanted, len(self._workers), self._cpus, free, total)

    def _welcome(self, number: int, actor: Any, greeting: Mapping[str, Any]) -> None:
        self._actors[number] = actor
        self._workers[number] = WorkerInfo(number, **greeting["info"])
        self._greetings[number] = greeting

    def _warn_of_mixed_fleet(self) -> None:
        """Say once that machines compute differently."""
        facts = {g["info"]["host"]: g["arithmetic"] for g in self._greetings.values()}
        message = mixed_fleet_message(arithmetic_facts(), facts)
        if message is not None and not self._has_warned:
            self._has_warned = True
            warnings.warn(message, stacklevel=2)

    def dismiss(self, worker: int) -> None:
        info = self._workers.get(worker)
        # Ray gives a stopped process seconds before it kills it; where we can, we do not wait.
        if info is not None and info.machine == machine_identity():
            kill_process(info.pid, info.started)
        self._let_go(worker)

    def _let_go(self, worker: int) -> None:
        actor = self._actors.pop(worker, None)
        self._workers.pop(worker, None)
        self._greetings.pop(worker, None)
        if actor is not None and ray.is_initialized():
            ray.kill(actor)

    def close(self) -> None:
        for worker in list(self._actors):
            self._let_go(worker)
        coming, self._coming = self._coming, {}
        for summoned in coming.values():
            if ray.is_initialized():
                ray.kill(summoned.actor)

    # Sending and waiting

    def share(self, value: Any) -> Any:
        if _is_small(value):
            return value
        try:
            return ray.put(value)
        except ray.exceptions.ObjectStoreFullError as error:
            raise EngineError(
                "the data does not fit into Ray's object store: give it more memory "
                "(`ray start --object-store-memory`, or a larger /dev/shm), or use backend='threads'"
            ) from error

    def ask(
        self, requests: Mapping[int, Request], deadline_s: float, watch: Watch | None = None
    ) -> dict[int, Outcome]:
        outcomes: dict[int, Outcome] = {}
        pending: dict[Any, int] = {}
        for worker, request in requests.items():
            actor = self._actors.get(worker)
            if actor is None:
                outcomes[worker] = Died("it had been ended before")
            else:
                pending[getattr(actor, request.method).remote(*request.args)] = worker
        if outcomes and watch is not None:
            watch.release()
        try:
            # The common case in one call: everybody answers in time.
            values = ray.get(list(pending), timeout=min(deadline_s, LOOK_S))
        except ray.exceptions.RayError as error:
            _forget_frames(error)
            values = None
        if values is None:
            self._wait(pending, outcomes, deadline_s, watch or ProgressWatch(self, pending.values()))
        else:
            outcomes |= {w: _outcome(value) for w, value in zip(pending.values(), values, strict=True)}
        return {worker: outcomes[worker] for worker in requests}

    def _wait(
        self, pending: dict[Any, int], outcomes: dict[int, Outcome], deadline_s: float, watch: Watch
    ) -> None:
        """Move every pending call to its outcome, however long that takes while progress is made."""
        pending = dict(pending)
        while pending:
            ready, _ = ray.wait(list(pending), num_returns=1, timeout=min(deadline_s, LOOK_S))
            for call in ready:
                outcome = outcomes[pending.pop(call)] = _collect(call)
                if not isinstance(outcome, Answer):
                    watch.release()
            if ready:
                continue
            late = watch.late(list(pending.values()), deadline_s)
            for call, worker in list(pending.items()):
                if worker in late:
                    outcomes[worker] = Silent(late[worker])
                    del pending[call]
            if late:
                watch.release()

    def call(self, worker: int, request: Request) -> Call:
        actor = self._actors.get(worker)
        return _RayCall(None if actor is None else getattr(actor, request.method).remote(*request.args))

    def aside(self, requests: Mapping[int, Request], timeout_s: float) -> dict[int, Any]:
        calls = {}
        for worker, request in requests.items():
            if worker in self._actors:
                method = getattr(self._actors[worker], request.method)
                calls[method.options(concurrency_group="control").remote(*request.args)] = worker
        if not calls or timeout_s <= 0:
            return {}
        ready, _ = ray.wait(list(calls), num_returns=len(calls), timeout=timeout_s)
        outcomes = {calls[call]: _collect(call) for call in ready}
        return {worker: one.value for worker, one in outcomes.items() if isinstance(one, Answer)}


@dataclass
class _Summoned:
    """One on its way.

    `has_room`: whether there was room for it. `since`: when it was summoned; `round`: together with whom;
    `due`: when it is asked what keeps it.
    """

    number: int
    actor: Any
    has_room: bool
    since: float
    round: int
    due: float


class _RayCall(Call):
    """`call` is None for a worker that had been ended."""

    def __init__(self, call: Any) -> None:
        self._call = call

    def outcome(self) -> Outcome | None:
        if self._call is None:
            return Died("it had been ended before")
        ready, _ = ray.wait([self._call], timeout=0)
        return _collect(self._call) if ready else None


def this_node() -> str:
    """Ray's id of the node that the calling process runs on; several may be on one machine."""
    return str(ray.get_runtime_context().get_node_id())


def _is_small(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.nbytes <= _INLINE_BYTES
    return isinstance(value, bytes) and len(value) <= _INLINE_BYTES


def _collect(call: Any) -> Outcome:
    """The outcome of a call that is ready."""
    try:
        return _outcome(ray.get(call, timeout=_READY_S))
    except ray.exceptions.RayTaskError as error:
        # Raised outside the worker's own guard: arguments that could not be unpickled, answers that could
        # not be pickled, or a worker on another version of this package.
        _forget_frames(error)
        return Failed(Failure(reason(str(error)), "", str(error), None))
    except ray.exceptions.RayError as error:
        _forget_frames(error)
        return Died(reason(str(error)))


def _forget_frames(error: BaseException) -> None:
    """Ray's frames hold the exception that holds them, and ours with the memory of a generation in them."""
    error.__traceback__ = None


def _outcome(value: Any) -> Outcome:
    return Failed(value) if isinstance(value, Failure) else Answer(value)
