"""Crews for tests: without processes, with more cores than there are, with faults that read as sentences."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cluster.coordinator import Coordinator
from cluster.crew import Answer, Crew, Died, Failed, Failure, Outcome, Request, Silent, Watch, WorkerInfo
from cluster.exchange.choice import make_exchange
from cluster.worker import Worker
from distnn.batching import Batching
from distnn.data.arrays import ArrayData
from distnn.engine import Engine, EngineOptions, SegmentReport
from distnn.recording import TrainingState
from distnn.task import Task
from distnn.tensor import Array

HERE = "the coordinator's node"


class Killed(BaseException):
    """What a worker of this process dies of: it can do nothing more, not even tell the others."""


class InProcessCrew(Crew):
    """Workers that are objects of this process. What is shared arrives read-only, as from Ray's store."""

    def __init__(self, nodes: Callable[[int], str] = lambda number: HERE, cores: int = 64) -> None:
        self._nodes = nodes
        self._cores = cores
        self._workers: dict[int, Worker] = {}
        self._infos: dict[int, WorkerInfo] = {}
        self._next_number = 0
        self.dead: set[int] = set()
        self.hung: set[int] = set()
        self.shared: list[Any] = []
        self.asked: list[tuple[int, str]] = []

    @property
    def workers(self) -> Mapping[int, WorkerInfo]:
        return self._infos

    @property
    def here(self) -> str:
        return HERE

    def recruit(self, count: int) -> None:
        while len(self._infos) < count:
            number, self._next_number = self._next_number, self._next_number + 1
            self._workers[number] = Worker()
            node = self._nodes(number)
            self._infos[number] = WorkerInfo(number, 0, 0.0, node, node, "here", self._cores)

    def share(self, value: Any) -> Any:
        self.shared.append(value)
        if isinstance(value, ArrayData):
            weight = None if value.sample_weight is None else _read_only(value.sample_weight)
            x, y = (tuple(map(_read_only, arrays)) for arrays in (value.x, value.y))
            return ArrayData(x, y, weight, value.cuts)
        return _read_only(value) if isinstance(value, np.ndarray) else value

    def ask(
        self, requests: Mapping[int, Request], deadline_s: float, watch: Watch | None = None
    ) -> dict[int, Outcome]:
        """In turn; in threads where workers wait for each other."""
        if watch is None:
            return {worker: self._ask(worker, request, deadline_s) for worker, request in requests.items()}
        outcomes: dict[int, Outcome] = {}

        def work(worker: int, request: Request) -> None:
            outcome = self._ask(worker, request, deadline_s)
            if not isinstance(outcomes.setdefault(worker, outcome), Answer):
                watch.release()

        for item in requests.items():
            threading.Thread(target=work, args=item, daemon=True).start()
        while pending := [worker for worker in requests if worker not in outcomes]:
            time.sleep(0.001)
            if late := watch.late(pending, deadline_s):
                outcomes |= {worker: Silent(seconds) for worker, seconds in late.items()}
                watch.release()
        return {worker: outcomes[worker] for worker in requests}

    def _ask(self, worker: int, request: Request, deadline_s: float) -> Outcome:
        self.asked.append((worker, request.method))
        if worker in self.dead:
            return Died("killed by the test")
        if worker in self.hung:
            return Silent(deadline_s)
        try:
            value = getattr(self._workers[worker], request.method)(*request.args)
        except Killed:
            self.dead.add(worker)
            return Died("killed by the test")
        return Failed(value) if isinstance(value, Failure) else Answer(value)

    def aside(self, requests: Mapping[int, Request], timeout_s: float) -> dict[int, Any]:
        living = set(requests) & set(self._workers) - self.dead - self.hung
        return {w: getattr(self._workers[w], requests[w].method)(*requests[w].args) for w in living}

    def dismiss(self, worker: int) -> None:
        self._workers.pop(worker, None)
        self._infos.pop(worker, None)

    def close(self) -> None:
        self._workers, self._infos = {}, {}


def _read_only(array: Array) -> Array:
    copy = array.copy()
    copy.flags.writeable = False
    return copy


class ManyCores(Crew):
    """Lets every worker of a crew compute, even on a machine with two cores."""

    def __init__(self, crew: Crew) -> None:
        self.crew = crew

    @property
    def workers(self) -> Mapping[int, WorkerInfo]:
        return {number: replace(info, cores=64) for number, info in self.crew.workers.items()}

    @property
    def here(self) -> str:
        return self.crew.here

    def recruit(self, count: int) -> None:
        self.crew.recruit(count)

    def share(self, value: Any) -> Any:
        return self.crew.share(value)

    def ask(
        self, requests: Mapping[int, Request], deadline_s: float, watch: Watch | None = None
    ) -> dict[int, Outcome]:
        return self.crew.ask(requests, deadline_s, watch)

    def aside(self, requests: Mapping[int, Request], timeout_s: float) -> dict[int, Any]:
        return self.crew.aside(requests, timeout_s)

    def dismiss(self, worker: int) -> None:
        self.crew.dismiss(worker)

    def close(self) -> None:
        self.crew.close()


@dataclass
class _Fault:
    method: str
    worker: int
    step: int | None
    strike: Callable[[int], None]
    has_fired: bool = False

    def matches(self, worker: int, request: Request) -> bool:
        if self.has_fired or worker != self.worker or request.method != self.method:
            return False
        return self.step is None or request.args[0] == self.step


class FaultyCrew(Crew):
    """Lets workers fail: `FaultyCrew(crew).fail_at(worker=1, step=3)`. `assert_all_fired` at the end."""

    def __init__(self, crew: Crew) -> None:
        self.crew = crew
        self._faults: list[_Fault] = []
        self._deadly: list[tuple[int, int]] = []

    def fail_at(self, *, worker: int, step: int, method: str = "compute") -> FaultyCrew:
        """The worker's process dies as it is asked to compute the step."""
        self._faults.append(_Fault(method, worker, step, self._kill))
        return self

    def hang_at(self, *, worker: int, step: int, method: str = "compute") -> FaultyCrew:
        """The worker's process stops, as under SIGSTOP."""
        self._faults.append(_Fault(method, worker, step, self._hang))
        return self

    def fail_when(self, method: str, *, worker: int) -> FaultyCrew:
        """The worker's process dies at the first call of `method`."""
        self._faults.append(_Fault(method, worker, None, self._kill))
        return self

    def fail_whoever_computes(self, *, shard: int, step: int) -> FaultyCrew:
        """Every worker dies that is asked to compute this shard of the step."""
        self._deadly.append((step, shard))
        return self

    def assert_all_fired(self) -> None:
        assert self._faults and all(fault.has_fired for fault in self._faults), self._faults

    def _kill(self, worker: int) -> None:
        if isinstance(self.crew, InProcessCrew):
            self.crew.dead.add(worker)
        else:
            os.kill(self.crew.workers[worker].pid, signal.SIGKILL)

    def _hang(self, worker: int) -> None:
        if isinstance(self.crew, InProcessCrew):
            self.crew.hung.add(worker)
        else:
            os.kill(self.crew.workers[worker].pid, signal.SIGSTOP)

    @property
    def workers(self) -> Mapping[int, WorkerInfo]:
        return self.crew.workers

    @property
    def here(self) -> str:
        return self.crew.here

    def recruit(self, count: int) -> None:
        self.crew.recruit(count)

    def share(self, value: Any) -> Any:
        return self.crew.share(value)

    def ask(
        self, requests: Mapping[int, Request], deadline_s: float, watch: Watch | None = None
    ) -> dict[int, Outcome]:
        for worker, request in requests.items():
            for fault in self._faults:
                if fault.matches(worker, request):
                    fault.has_fired = True
                    fault.strike(worker)
            for step, shard in self._deadly:
                if request.method == "compute" and _computes(request, step, shard):
                    self._kill(worker)
        return self.crew.ask(requests, deadline_s, watch)

    def aside(self, requests: Mapping[int, Request], timeout_s: float) -> dict[int, Any]:
        return self.crew.aside(requests, timeout_s)

    def dismiss(self, worker: int) -> None:
        self.crew.dismiss(worker)

    def close(self) -> None:
        self.crew.close()


def _computes(request: Request, step: int, shard: int) -> bool:
    asked_step, first, stop, _ = request.args
    return bool(asked_step == step and first <= shard < stop)


class CrewEngine(Engine):
    """The coordinator over any crew, as an engine."""

    def __init__(
        self, crew: Crew, workers: int, deadline_s: float = 60.0, exchange: str = "object_store"
    ) -> None:
        self.options = EngineOptions(workers=workers, deadline_s=deadline_s, exchange=exchange)
        self.crew = crew
        self.exchange = make_exchange(exchange, crew, deadline_s)
        self.coordinator = Coordinator(crew, self.exchange, self.options)

    def load(self, task: Task, data: Mapping[str, ArrayData], state: TrainingState) -> None:
        self.coordinator.load(task, data, state)

    def run_segment(self, num_steps: int) -> SegmentReport:
        return self.coordinator.run_segment(num_steps)

    def state(self) -> TrainingState:
        return self.coordinator.updater.state

    def set_state(self, state: TrainingState) -> None:
        self.coordinator.updater.begin(state)

    def take_batches(self, name: str, data: ArrayData, batching: Batching | None = None) -> None:
        self.coordinator.take_batches(name, data, batching)

    def evaluate(self, data_name: str, batch_size: int, before: Array | None = None) -> Array:
        return self.coordinator.evaluate(data_name, batch_size, before)

    def add_penalty(self, sums: Array, samples: int) -> None:
        self.coordinator.updater.add_penalty(sums, samples)

    def predict(self, data_name: str, batch_size: int) -> list[Array]:
        return self.coordinator.predict(data_name, batch_size)

    def close(self) -> None:
        self.crew.close()
