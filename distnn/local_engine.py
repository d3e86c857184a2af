"""The engines of one process: shards computed in turn, or in threads.

Both commit a step by turning from one buffer of weights and slots to the other, so whatever is raised in the
middle of a step (Ctrl-C included), the last committed state is whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from distnn.engine import Engine, EngineOptions, SegmentReport
from distnn.errors import FaultPlace
from distnn.evaluation import evaluate_shards, predict_shards, total_evaluation, whole_predictions
from distnn.recording import TrainingState
from distnn.reduction import Range, ShardSums, combine, worker_ranges
from distnn.shard import ShardRunner
from distnn.tensor import Array
from distnn.threads import product_threads
from distnn.updater import Updater

if TYPE_CHECKING:
    from distnn.data.arrays import ArrayData
    from distnn.task import Task

T = TypeVar("T")


class LocalEngine(Engine):
    """One process: the shards of a step in turn."""

    def __init__(self, options: EngineOptions) -> None:
        self.options = options
        self._runners: list[ShardRunner] = []
        self._ranges: list[Range] = []
        self._updater: Updater | None = None

    @property
    def _num_runners(self) -> int:
        return 1

    def _map(self, function: Callable[[int], T]) -> list[T]:
        """`function` of every worker that has shards, in order."""
        return [function(worker) for worker, (first, last) in enumerate(self._ranges) if last > first]

    @property
    def _running(self) -> Updater:
        if self._updater is None:
            raise AssertionError("load a task first")
        return self._updater

    def load(self, task: Task, data: Mapping[str, ArrayData], state: TrainingState) -> None:
        if self._updater is not None and self._updater.task is task:
            for runner in self._runners:
                runner.set_data(data)
            self._updater.begin(state)
            return
        self._runners = [ShardRunner(task, data) for _ in range(self._num_runners)]
        self._ranges = worker_ranges(task.batching.shards, self._num_runners)
        self._updater = Updater(task, self._runners[0].training if task.objective else None)
        self._updater.begin(state)

    def run_segment(self, num_steps: int) -> SegmentReport:
        updater = self._running
        task = updater.task
        first_step = updater.state.step
        fingerprints = np.zeros(num_steps, np.uint64)
        with product_threads(task.threads):
            for i in range(num_steps):
                parts: dict[Range, ShardSums | None] = {}
                for part in self._map(self._compute_step):
                    parts.update(part)
                fingerprints[i] = updater.update(combine(task.batching.shards, parts))
        return SegmentReport(first_step, fingerprints, updater.state.sums.copy())

    def _compute_step(self, worker: int) -> list[tuple[Range, ShardSums | None]]:
        state = self._running.state
        first, last = self._ranges[worker]
        runner = self._runners[worker]
        try:
            return runner.compute_range(state.step, first, last, state.weights)
        except Exception as error:
            error.add_note(f"distnn: in {FaultPlace(worker, state.step, runner.shard)}")
            raise

    def state(self) -> TrainingState:
        return self._running.state

    def set_state(self, state: TrainingState) -> None:
        self._running.begin(state)

    def evaluate(self, data_name: str, batch_size: int) -> Array:
        updater = self._running
        weights = updater.state.weights

        def work(worker: int) -> dict[tuple[int, int], Array]:
            runner, shards = self._runners[worker], self._ranges[worker]
            return evaluate_shards(runner, data_name, batch_size, shards, weights)

        with product_threads(updater.task.threads):
            parts = self._map(work)
        samples = self._runners[0].data[data_name].num_samples
        sums = total_evaluation(updater.task, samples, batch_size, parts)
        updater.add_penalty(sums, samples)
        return sums

    def predict(self, data_name: str, batch_size: int) -> list[Array]:
        updater = self._running
        weights = updater.state.weights

        def work(worker: int) -> dict[tuple[int, int], list[Array]]:
            runner, shards = self._runners[worker], self._ranges[worker]
            return predict_shards(runner, data_name, batch_size, shards, weights)

        with product_threads(updater.task.threads):
            return whole_predictions(self._map(work))

    def close(self) -> None:
        self._runners = []
        self._updater = None


class ThreadsEngine(LocalEngine):
    """One process: the shards of a step divided over threads, each with buffers of its own."""

    def __init__(self, options: EngineOptions) -> None:
        super().__init__(options)
        self._pool = ThreadPoolExecutor(self._num_runners, thread_name_prefix="distnn-worker")

    @property
    def _num_runners(self) -> int:
        return max(1, self.options.workers)

    def _map(self, function: Callable[[int], T]) -> list[T]:
        busy = [worker for worker, (first, last) in enumerate(self._ranges) if last > first]
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
