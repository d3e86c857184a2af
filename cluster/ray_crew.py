"""The crew that trains: each worker is a Ray actor.

It turns Ray's exceptions into outcomes and Ray's waiting into waiting with a deadline. Policy (who computes
what, what to do after a loss) is not here.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from cluster.connect import Connection
from cluster.crew import Answer, Crew, Died, Failed, Failure, Outcome, Request, Silent, Watch, WorkerInfo
from cluster.fleet import PACKAGE_DIGEST, arithmetic_facts, mixed_fleet_message, other_version_message
from cluster.machine import machine_identity
from cluster.progress import LOOK_S, ProgressWatch
from cluster.ray_import import ray
from cluster.reasons import reason
from cluster.room import no_room_message, room_for
from cluster.stopping import kill_process
from cluster.worker import Worker
from distnn.errors import EngineError
from distnn.kernels.jit import load_compiler

logger = logging.getLogger("distnn.cluster")

START_DEADLINE_S = 60.0
"""For worker processes to start; beyond it the training goes on with those that have."""
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
        self._next_number = 0
        self._has_warned = False
        self._problem = ""

    @property
    def workers(self) -> Mapping[int, WorkerInfo]:
        return self._workers

    @property
    def here(self) -> str:
        return self._here

    # Starting and ending

    def recruit(self, count: int) -> None:
        missing = count - len(self._workers)
        if missing <= 0:
            return
        asked = missing
        if self._cpus:
            asked = min(missing, room_for(ray.nodes(), self._cpus) - len(self._workers))
        if asked > 0:
            self._start(asked)
        if len(self._workers) < count:
            message = no_room_message(
                count, len(self._workers), self._cpus, ray.available_resources(), ray.cluster_resources()
            )
            if not self._workers and self._problem:
                raise EngineError(f"none of {count} workers could be started: {self._problem}")
            if not self._workers:
                raise EngineError(message)
            warnings.warn(message, stacklevel=2)

    def _start(self, count: int) -> None:
        remote_class = ray.remote(num_cpus=self._cpus, max_restarts=0, concurrency_groups={"control": 1})(
            Worker
        )
        actors = {self._next_number + i: remote_class.remote() for i in range(count)}
        self._next_number += count
        greetings = {number: actor.hello.remote(this_node) for number, actor in actors.items()}
        load_compiler()  # while they load theirs
        ray.wait(list(greetings.values()), num_returns=count, timeout=self._start_deadline_s)
        for number, actor in actors.items():
            try:
                greeting = ray.get(greetings[number], timeout=0)
            except ray.exceptions.GetTimeoutError:
                ray.kill(actor)
            except ray.exceptions.RayError as error:
                ray.kill(actor)
                self._problem = reason(str(error))
                logger.warning("worker %d could not be started: %s", number, self._problem)
            else:
                self._welcome(number, actor, greeting)
        self._check_fleet()

    def _welcome(self, number: int, actor: Any, greeting: Mapping[str, Any]) -> None:
        self._actors[number] = actor
        self._workers[number] = WorkerInfo(number, **greeting["info"])
        self._greetings[number] = greeting

    def _check_fleet(self) -> None:
        """Refuse workers with another package; warn once of machines with another arithmetic."""
        others = [g["info"] for g in self._greetings.values() if g["package"] != PACKAGE_DIGEST]
        if others:
            is_here = any(info["machine"] == machine_identity() for info in others)
            raise EngineError(other_version_message([info["host"] for info in others], is_here))
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
        except ray.exceptions.RayError:
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

    def aside(self, requests: Mapping[int, Request], timeout_s: float) -> dict[int, Any]:
        calls = {}
        for worker, request in requests.items():
            if worker in self._actors:
                method = getattr(self._actors[worker], request.method)
                calls[method.options(concurrency_group="control").remote(*request.args)] = worker
        ready, _ = ray.wait(list(calls), num_returns=len(calls), timeout=timeout_s) if calls else ([], [])
        outcomes = {calls[call]: _collect(call) for call in ready}
        return {worker: one.value for worker, one in outcomes.items() if isinstance(one, Answer)}


def this_node() -> str:
    """Ray's id of the node that the calling process runs on; several may be on one machine."""
    return str(ray.get_runtime_context().get_node_id())


def _is_small(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.nbytes <= _INLINE_BYTES
    return isinstance(value, bytes) and len(value) <= _INLINE_BYTES


def _collect(call: Any) -> Outcome:
    try:
        return _outcome(ray.get(call))
    except ray.exceptions.RayTaskError as error:
        # Raised outside the worker's own guard: arguments that could not be unpickled, answers that could
        # not be pickled, or a worker on another version of this package.
        return Failed(Failure(reason(str(error)), "", str(error), None))
    except ray.exceptions.RayError as error:
        return Died(reason(str(error)))


def _outcome(value: Any) -> Outcome:
    return Failed(value) if isinstance(value, Failure) else Answer(value)
