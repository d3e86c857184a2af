"""The Ray engine: the coordinator in this process, the workers as Ray actors.

Found by name from `distnn.engine`. It stays warm between the tasks of a model; `close`, the end of the
program, or forgetting the engine end its workers.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cluster.connect import Connection, connect
from cluster.coordinator import Coordinator
from cluster.crew import Crew
from cluster.exchange.choice import make_exchange
from cluster.mapping import Mapper
from cluster.patience import Patience
from cluster.ray_crew import RayCrew
from distnn.batching import Batching
from distnn.data.arrays import ArrayData
from distnn.engine import Engine, EngineOptions, SegmentReport
from distnn.incidents import Observer
from distnn.recording import TrainingState
from distnn.task import Task
from distnn.tensor import Array

if TYPE_CHECKING:
    from distnn.models.model import Model


class RayEngine(Engine):
    """Shards computed by Ray actors.

    Raises:
        ClusterUnreachableError: `options.address` does not answer, or belongs to another cluster's machines.
        EngineError: Ray cannot be started.
    """

    def __init__(self, options: EngineOptions) -> None:
        self.options = options
        connection = connect(options.address, options.workers)
        crew = RayCrew(connection, options.threads)
        self._end = weakref.finalize(self, _end, crew, connection)
        try:
            crew.summon(options.workers)  # they start while the data is looked at
        except BaseException:
            self._end()
            raise
        self._crew = crew
        patience = Patience(options.deadline_s)
        exchange = make_exchange(options.exchange, crew, patience)
        self._coordinator = Coordinator(crew, exchange, options, patience)
        self._mapper = Mapper(crew, options)

    @property
    def observer(self) -> Observer | None:
        return self._coordinator.observer

    @observer.setter
    def observer(self, observer: Observer | None) -> None:
        self._coordinator.observer = observer

    @property
    def should_stop(self) -> Callable[[], bool] | None:
        return self._coordinator.should_stop

    @should_stop.setter
    def should_stop(self, should_stop: Callable[[], bool] | None) -> None:
        self._coordinator.should_stop = should_stop

    @property
    def worker_pids(self) -> list[int]:
        """Process ids of the workers, for those who watch them (or test what happens when one dies)."""
        return [info.pid for info in self._crew.workers.values()]

    def load(self, task: Task, data: Mapping[str, ArrayData], state: TrainingState) -> None:
        self._check_open()
        self._coordinator.load(task, data, state)

    def take_batches(self, name: str, data: ArrayData, batching: Batching | None = None) -> None:
        self._check_open()
        self._coordinator.take_batches(name, data, batching)

    def run_segment(self, num_steps: int) -> SegmentReport:
        self._check_open()
        return self._coordinator.run_segment(num_steps)

    def state(self) -> TrainingState:
        return self._coordinator.updater.state

    def set_state(self, state: TrainingState) -> None:
        self._coordinator.updater.begin(state)

    def evaluate(self, data_name: str, batch_size: int, before: Array | None = None) -> Array:
        self._check_open()
        return self._coordinator.evaluate(data_name, batch_size, before)

    def add_penalty(self, sums: Array, samples: int) -> None:
        self._coordinator.updater.add_penalty(sums, samples)

    def predict(self, data_name: str, batch_size: int) -> list[Array]:
        self._check_open()
        return self._coordinator.predict(data_name, batch_size)

    def map(self, model: Model, function: Callable[[Any, Any], Any], items: Sequence[Any]) -> list[Any]:
        self._check_open()
        return self._mapper.run(model, function, items)

    def scale(self, workers: int) -> bool:
        self._check_open()
        self._coordinator.scale(workers)
        return True

    def facts(self) -> dict[str, Any]:
        options = self.options
        return {
            "workers": len(self._coordinator.assignment),
            "min_workers": options.min_workers,
            "max_workers": options.workers,
        }

    def close(self) -> None:
        self._coordinator.close()
        self._end()

    def _check_open(self) -> None:
        assert self._end.alive, "the engine has been closed"


def _end(crew: Crew, connection: Connection) -> None:
    crew.close()
    connection.close()
