"""The engines of one process: shards computed in turn, or in threads.

Both commit a step by turning from one buffer of weights and slots to the other, so whatever is raised in the
middle of a step (Ctrl-C included), the last committed state is whole.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from distnn.engine import Engine, EngineOptions, SegmentReport
from distnn.errors import FaultPlace
from distnn.evaluation import batches, evaluate_shards, predict_shards, total_evaluation, whole_predictions
from distnn.recording import TrainingState
from distnn.reduction import Range, ShardSums, combine, worker_ranges
from distnn.shard import ShardRunner
from distnn.sources import Sources
from distnn.tensor import Array
from distnn.threads import product_threads
from distnn.updater import Updater

if TYPE_CHECKING:
    from distnn.batching import Batching
    from distnn.data.arrays import ArrayData
    from distnn.models.model import Model
    from distnn.task import Task

T = TypeVar("T")

_MAX_HELD = 4
"""Tasks that stay ready: games predict and train in turn."""


class _Loaded:
    """A task made ready: a runner for each worker, and who commits its steps."""

    def __init__(self, task: Task, data: Mapping[str, ArrayData], num_runners: int) -> None:
        self.sources = Sources(data)
        self.runners = [ShardRunner(task, self.sources) for _ in range(num_runners)]
        self.ranges: list[Range] = worker_ranges(task.batching.shards, num_runners)
        self.updater = Updater(task, self.runners[0].training if task.objective else None)

    def take(self, task: Task, data: Mapping[str, ArrayData]) -> None:
        """Go on with a task of the same key, on other data of the same signature."""
        self.take_task(task)
        if not self.sources.set_data(data):
            self._bind_anew()

    def take_batches(self, name: str, data: ArrayData) -> None:
        """Go on with other batches in the place of the named data."""
        if not self.sources.set_batches(name, data):
            self._bind_anew()

    def _bind_anew(self) -> None:
        for runner in self.runners:
            runner.let_go_of_data()

    def take_task(self, task: Task) -> None:
        for runner in self.runners:
            runner.take_task(task)
        self.updater.take_task(task)


class LocalEngine(Engine):
    """One process: the shards of a step in turn."""

    def __init__(self, options: EngineOptions) -> None:
        self.options = options
        self._held: OrderedDict[Hashable, _Loaded] = OrderedDict()
        self._loaded: _Loaded | None = None

    @property
    def _num_runners(self) -> int:
        return 1

    def _map(self, function: Callable[[int], T]) -> list[T]:
        """`function` of every worker that has shards, in order."""
        return [function(worker) for worker, (first, last) in enumerate(self._now.ranges) if last > first]

    @property
    def _now(self) -> _Loaded:
        if self._loaded is None:
            raise AssertionError("load a task first")
        return self._loaded

    def load(self, task: Task, data: Mapping[str, ArrayData], state: TrainingState) -> None:
        loaded = self._held.get(task.key)
        if loaded is None:
            loaded = self._held[task.key] = _Loaded(task, data, self._num_runners)
            if len(self._held) > _MAX_HELD:
                self._held.popitem(last=False)
        else:
            self._held.move_to_end(task.key)
            loaded.take(task, data)
        self._loaded = loaded
        loaded.updater.begin(state)

    def take_batches(self, name: str, data: ArrayData, batching: Batching | None = None) -> None:
        loaded = self._now
        if batching is not None:
            loaded.take_task(replace(loaded.updater.task, batching=batching))
        loaded.take_batches(name, data)

    def run_segment(self, num_steps: int) -> SegmentReport:
        updater = self._now.updater
        task = updater.task
        first_step = updater.state.step
        fingerprints = np.zeros(num_steps, np.uint64)
        committed = 0
        with product_threads(task.threads), np.errstate(all="ignore"):  # the report tells what matters
            while committed < num_steps:
                parts: dict[Range, ShardSums | None] = {}
                for part in self._map(self._compute_step):
                    parts.update(part)
                fingerprint = updater.update(combine(task.batching.shards, parts))
                if fingerprint is None:
                    break
                fingerprints[committed] = fingerprint
                committed += 1
        sums = updater.state.sums.copy()
        return SegmentReport(first_step, fingerprints[:committed], sums, committed < num_steps)

    def _compute_step(self, worker: int) -> list[tuple[Range, ShardSums | None]]:
        state = self._now.updater.state
        first, last = self._now.ranges[worker]
        runner = self._now.runners[worker]
        try:
            return runner.compute_range(state.step, first, last, state.weights)
        except Exception as error:
            error.add_note(f"distnn: in {FaultPlace(worker, state.step, runner.shard)}")
            raise

    def state(self) -> TrainingState:
        return self._now.updater.state

    def set_state(self, state: TrainingState) -> None:
        self._now.updater.begin(state)

    def evaluate(self, data_name: str, batch_size: int, before: Array | None = None) -> Array:
        loaded, updater = self._now, self._now.updater
        weights = updater.state.weights

        def work(worker: int) -> dict[tuple[int, int], Array]:
            runner, shards = loaded.runners[worker], loaded.ranges[worker]
            return evaluate_shards(runner, data_name, batch_size, shards, weights)

        with product_threads(updater.task.threads):
            parts = self._map(work)
        data = loaded.sources.data[data_name]
        return total_evaluation(updater.task, batches(data.num_samples, batch_size, data.cuts), parts, before)

    def add_penalty(self, sums: Array, samples: int) -> None:
        self._now.updater.add_penalty(sums, samples)

    def predict(self, data_name: str, batch_size: int) -> list[Array]:
        loaded, updater = self._now, self._now.updater
        weights = updater.state.weights

        def work(worker: int) -> dict[tuple[int, int], list[Array]]:
            runner, shards = loaded.runners[worker], loaded.ranges[worker]
            return predict_shards(runner, data_name, batch_size, shards, weights)

        with product_threads(updater.task.threads):
            return whole_predictions(self._map(work))

    def map(self, model: Model, function: Callable[[Any, Any], Any], items: Sequence[Any]) -> list[Any]:
        """In turn, also where shards are computed in threads: a model is used by one thread at a time."""
        return [function(model, item) for item in items]

    def close(self) -> None:
        self._held.clear()
        self._loaded = None


class ThreadsEngine(LocalEngine):
    """One process: the shards of a step divided over threads, each with buffers of its own."""

    def __init__(self, options: EngineOptions) -> None:
        super().__init__(options)
        self._pool = ThreadPoolExecutor(
            self._num_runners, "distnn-worker", initializer=partial(np.seterr, all="ignore")
        )

    @property
    def _num_runners(self) -> int:
        return max(1, self.options.workers)

    def _map(self, function: Callable[[int], T]) -> list[T]:
        busy = [worker for worker, (first, last) in enumerate(self._now.ranges) if last > first]
        futures = [self._pool.submit(function, worker) for worker in busy]
        try:
            wait(futures)
        except BaseException:  # Ctrl-C: no shard may still be running when the runners are used again
            wait(futures)
            raise
        return [future.result() for future in futures]

    def close(self) -> None:
        super().close()
        self._pool.shutdown(wait=True)
