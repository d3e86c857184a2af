"""A `ShardRunner` that counts what it has computed: how a slow worker is told from a hung one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

from distnn.batching import Batching
from distnn.data.arrays import ArrayData
from distnn.evaluation import Place, evaluate_shards, predict_shards
from distnn.kernels.tape import Call
from distnn.reduction import Range, ShardSums
from distnn.shard import ShardRunner
from distnn.sources import Sources
from distnn.task import Task
from distnn.tensor import Array
from distnn.tracing import Mode, Traced


class CountingRunner:
    """Wraps a runner of its own.

    Attributes:
        shard: the one begun last, for the place of an error.
    """

    def __init__(self, task: Task, data: Mapping[str, ArrayData]) -> None:
        self._sources = Sources(data)
        self._runner = ShardRunner(task, self._sources)
        self.task = task
        self._calls = 0
        self._evaluating: int | None = None

    @property
    def data(self) -> Mapping[str, ArrayData]:
        return self._sources.data

    def take(self, batching: Batching, data: Mapping[str, ArrayData]) -> None:
        """Go on in these batches, on other data of the same signature."""
        self._take_batching(batching)
        if not self._sources.set_data(data):
            self._runner.let_go_of_data()

    def take_batches(self, name: str, data: ArrayData, batching: Batching | None) -> None:
        """Go on with other batches in the place of the named data; `batching`: of the steps that come."""
        if batching is not None:
            self._take_batching(batching)
        if not self._sources.set_batches(name, data):
            self._runner.let_go_of_data()

    def _take_batching(self, batching: Batching) -> None:
        self.task = replace(self.task, batching=batching)
        self._runner.take_task(self.task)

    @property
    def bindings(self) -> int:
        return self._runner.bindings

    @property
    def shard(self) -> int:
        return self._runner.shard if self._evaluating is None else self._evaluating

    @property
    def progress(self) -> int:
        """Another number after every shard: within a step the shard changes, then the calls."""
        return (self._calls << 32) + self._runner.shard

    @property
    def training(self) -> Traced:
        return self._runner.training

    def compute(self, step: int, shard: int, weights: Array, into: ShardSums) -> bool:
        return self._runner.compute(step, shard, weights, into)

    def compute_range(
        self, step: int, first: int, stop: int, weights: Array
    ) -> list[tuple[Range, ShardSums | None]]:
        self._evaluating = None
        sums = self._runner.compute_range(step, first, stop, weights)
        self._calls += 1
        return sums

    @property
    def control(self) -> Array:
        return self._runner.control

    def begin_step(self, step: int) -> None:
        self._evaluating = None
        self._runner.begin_step(step)

    def compute_subtree(self, step: int, subtree: Range, weights: Array, into: ShardSums) -> bool:
        self._evaluating = None
        return self._runner.compute_subtree(step, subtree, weights, into)

    def bind_subtree(
        self, subtree: Range, weights: Array, into: ShardSums, batch_samples: int
    ) -> list[Call] | None:
        return self._runner.bind_subtree(subtree, weights, into, batch_samples)

    def unbind(self) -> None:
        self._runner.unbind()

    def evaluate(self, name: str, batch_size: int, shards: Range, weights: Array) -> dict[Place, Array]:
        return evaluate_shards(cast(ShardRunner, self), name, batch_size, shards, weights)

    def predict(self, name: str, batch_size: int, shards: Range, weights: Array) -> dict[Place, list[Array]]:
        return predict_shards(cast(ShardRunner, self), name, batch_size, shards, weights)

    # What evaluate_shards and predict_shards call

    def own_weights(self, mode: Mode, weights: Array) -> Array:
        return self._runner.own_weights(mode, weights)

    def evaluation_sums(self, batch_samples: int) -> ShardSums:
        return self._runner.evaluation_sums(batch_samples)

    def evaluate_shard(
        self, name: str, start: int, stop: int, shard: int, weights: Array, into: ShardSums
    ) -> bool:
        self._evaluating = shard
        has_samples = self._runner.evaluate_shard(name, start, stop, shard, weights, into)
        self._calls += 1
        return has_samples

    def predict_shard(self, name: str, start: int, stop: int, shard: int, weights: Array) -> list[Array]:
        self._evaluating = shard
        outputs = self._runner.predict_shard(name, start, stop, shard, weights)
        self._calls += 1
        return outputs
