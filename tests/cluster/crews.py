"""Crews for tests: without processes, with more cores than there are, with faults that read as sentences."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cluster.coordinator import Coordinator
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
from cluster.exchange.choice import make_exchange
from cluster.mapping import Mapper
from cluster.patience import Patience
from cluster.worker import Worker
from distnn.batching import Batching
from distnn.data.arrays import ArrayData
from distnn.engine import Engine, EngineOptions, SegmentReport
from distnn.incidents import Incident
from distnn.models import Model
from distnn.recording import TrainingState
from distnn.task import Task
from distnn.tensor import Array

if TYPE_CHECKING:
    from cluster.ray_crew import RayCrew

HERE = "the coordinator's node"


class Done(Call):
    """A call that ended as it was made."""

    def __init__(self, outcome: Outcome) -> None:
        self._outcome = outcome

    def outcome(self) -> Outcome | None:
        return self._outcome


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
        self._coming = 0
        self._failed_starts = 0
        self.room, self.most = 0, 1000
        self.failing = 0
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

    # Starting. `most`: workers that `recruit` finds at most; `room`: those that there is room for later,
    # so that nobody is replaced unless a test says so. `failing`: so many more cannot be started.

    def summon(self, count: int) -> None:
        self._coming += count

    @property
    def coming(self) -> int:
        return self._coming

    @property
    def failed_starts(self) -> int:
        return self._failed_starts

    def arrivals(self, timeout_s: float = 0.0) -> list[int]:
        came = []
        if self._coming and self.failing:
            failed = min(self.failing, self._coming)
            self.failing, self._coming = self.failing - failed, self._coming - failed
            self._failed_starts += 1
        while self._coming and len(self._infos) < self.room:
            number, self._next_number = self._next_number, self._next_number + 1
            self._workers[number] = Worker()
            node = self._nodes(number)
            self._infos[number] = WorkerInfo(number, 0, 0.0, node, node, "here", self._cores)
            self._coming -= 1
            self._failed_starts = 0
            came.append(number)
        return came

    def recall(self, count: int) -> None:
        self._coming -= count

    def recruit(self, count: int) -> None:
        self.summon(max(0, count - len(self._infos) - self._coming))
        room, self.room = self.room, min(count, self.most)
        self.arrivals()
        self.room = room

    def shortage(self, wanted: int) -> str:
        return f"the test has room for {len(self._infos)} of {wanted} workers"

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
        has_come = threading.Event()

        def work(worker: int, request: Request) -> None:
            outcome = self._ask(worker, request, deadline_s)
            if not isinstance(outcomes.setdefault(worker, outcome), Answer):
                watch.release()
            has_come.set()

        for item in requests.items():
            threading.Thread(target=work, args=item, daemon=True).start()
        while pending := [worker for worker in requests if worker not in outcomes]:
            has_come.wait(0.001)
            has_come.clear()
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

    def call(self, worker: int, request: Request) -> Call:
        return Done(self._ask(worker, request, 0.0))

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


class Wrapped(Crew):
    """Does all that another crew does."""

    def __init__(self, crew: Crew) -> None:
        self.crew = crew

    @property
    def workers(self) -> Mapping[int, WorkerInfo]:
        return self.crew.workers

    @property
    def here(self) -> str:
        return self.crew.here

    def summon(self, count: int) -> None:
        self.crew.summon(count)

    @property
    def coming(self) -> int:
        return self.crew.coming

    @property
    def failed_starts(self) -> int:
        return self.crew.failed_starts

    def arrivals(self, timeout_s: float = 0.0) -> list[int]:
        return self.crew.arrivals(timeout_s)

    def recall(self, count: int) -> None:
        self.crew.recall(count)

    def recruit(self, count: int) -> None:
        self.crew.recruit(count)

    def shortage(self, wanted: int) -> str:
        return self.crew.shortage(wanted)

    def call(self, worker: int, request: Request) -> Call:
        return self.crew.call(worker, request)

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


class ManyCores(Wrapped):
    """Lets every worker of a crew compute, even on a machine with two cores."""

    @property
    def workers(self) -> Mapping[int, WorkerInfo]:
        return {number: replace(info, cores=64) for number, info in self.crew.workers.items()}


class Merciful(Wrapped):
    """Wakes a stopped worker that is given up, and lets it do what it likes until the end.

    Attributes:
        woken: asked, after all they were asked before, how they are.
    """

    def __init__(self, crew: RayCrew) -> None:
        super().__init__(crew)
        self.ray_crew = crew
        self.woken: dict[int, Call] = {}
        self._kept: list[Any] = []

    def dismiss(self, worker: int) -> None:
        os.kill(self.workers[worker].pid, signal.SIGCONT)
        self.woken[worker] = self.call(worker, Request("progress"))
        self._kept.append(self.ray_crew._actors.pop(worker))
        self.ray_crew._workers.pop(worker)
        self.ray_crew._greetings.pop(worker)


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


class FaultyCrew(Wrapped):
    """Lets workers fail: `FaultyCrew(crew).fail_at(worker=1, step=3)`. `assert_all_fired` at the end."""

    def __init__(self, crew: Crew) -> None:
        super().__init__(crew)
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

    def call(self, worker: int, request: Request) -> Call:
        for fault in self._faults:
            if fault.matches(worker, request):
                fault.has_fired = True
                fault.strike(worker)
        return self.crew.call(worker, request)


def _computes(request: Request, step: int, shard: int) -> bool:
    asked_step, first, stop, _ = request.args
    return bool(asked_step == step and first <= shard < stop)


class CrewEngine(Engine):
    """The coordinator over any crew, as an engine."""

    def __init__(
        self,
        crew: Crew,
        workers: int,
        deadline_s: float = 60.0,
        exchange: str = "object_store",
        wait_s: float = 0.0,
        **options: Any,
    ) -> None:
        self.options = EngineOptions(
            workers=workers, deadline_s=deadline_s, exchange=exchange, wait_s=wait_s, **options
        )
        self.crew = crew
        patience = Patience(deadline_s)
        self.exchange = make_exchange(exchange, crew, patience)
        self.coordinator = Coordinator(crew, self.exchange, self.options, patience)
        self.mapper = Mapper(crew, self.options)
        self.incidents: list[Incident] = []
        self.coordinator.observer = self.incidents.append

    def told(self, kind: str) -> list[dict[str, Any]]:
        """The facts of all incidents of a kind."""
        return [{"step": one.step, **one.facts} for one in self.incidents if one.kind == kind]

    def scale(self, workers: int) -> bool:
        self.coordinator.scale(workers)
        return True

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

    def map(self, model: Model, function: Callable[[Any, Any], Any], items: Sequence[Any]) -> list[Any]:
        return self.mapper.run(model, function, items)

    def close(self) -> None:
        self.crew.close()
