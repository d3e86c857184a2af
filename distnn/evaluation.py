"""Evaluation and prediction over a data set: batches in the same shards and tree as training.

A worker computes its shards of every batch; the sums are added by the tree within a batch, then batch by
batch. The results depend on `shards` and the batch size, not on who computed what.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from distnn.reduction import Range, ShardSums, SumsLayout, fold
from distnn.tensor import Array

if TYPE_CHECKING:
    from distnn.shard import ShardRunner
    from distnn.task import Task

Place = tuple[int, int]
"""(batch, shard)."""


def batches(samples: int, batch_size: int, cuts: Sequence[int] = ()) -> list[Range]:
    """The batches of `samples` samples in order; the last may be short. `cuts`: where they end, if fixed."""
    if cuts:
        return list(zip((0, *cuts), cuts, strict=False))
    return [(start, min(start + batch_size, samples)) for start in range(0, samples, batch_size)]


def evaluate_shards(
    runner: ShardRunner, name: str, batch_size: int, shards: Range, weights: Array
) -> dict[Place, Array]:
    """Sums of the shards [first, last) of every batch of the named data; empty shards are absent."""
    data = runner.data[name]
    bounds = batches(data.num_samples, batch_size, data.cuts)
    buffer = runner.evaluation_sums(max(stop - start for start, stop in bounds))
    weights = runner.own_weights("evaluate", weights)
    found: dict[Place, Array] = {}
    for batch, (start, stop) in enumerate(bounds):
        for shard in range(*shards):
            if runner.evaluate_shard(name, start, stop, shard, weights, buffer):
                found[batch, shard] = buffer.sums.copy()
    return found


def total_evaluation(
    task: Task, bounds: Sequence[Range], parts: Iterable[Mapping[Place, Array]], before: Array | None = None
) -> Array:
    """Add the shards' sums by the tree within each batch, then the batches in order to those `before`."""
    if task.objective is None:
        raise AssertionError("a task without an objective cannot be evaluated")
    found = {place: sums for part in parts for place, sums in part.items()}
    layout = SumsLayout(0, len(next(iter(found.values()))), ())
    buffers = [ShardSums(layout) for _ in range(2 + task.batching.shards.bit_length())]
    total = np.zeros(layout.sums, np.float64) if before is None else before
    for batch, (start, stop) in enumerate(bounds):
        fold(0, task.batching.shards, buffers, partial(_fetch, found, batch))
        task.objective.fold_step(buffers[0].sums, stop - start)
        total += buffers[0].sums
    return total


def _fetch(found: Mapping[Place, Array], batch: int, shard: int, into: ShardSums) -> bool:
    sums = found.get((batch, shard))
    if sums is None:
        return False
    into.sums[:] = sums
    return True


def predict_shards(
    runner: ShardRunner, name: str, batch_size: int, shards: Range, weights: Array
) -> dict[Place, list[Array]]:
    """Outputs for the shards [first, last) of every batch of the named data."""
    found: dict[Place, list[Array]] = {}
    data = runner.data[name]
    weights = runner.own_weights("predict", weights)
    for batch, (start, stop) in enumerate(batches(data.num_samples, batch_size, data.cuts)):
        for shard in range(*shards):
            outputs = runner.predict_shard(name, start, stop, shard, weights)
            if outputs:
                found[batch, shard] = outputs
    return found


def whole_predictions(parts: Iterable[Mapping[Place, list[Array]]]) -> list[Array]:
    """All outputs in the order of the samples."""
    merged = {place: outputs for part in parts for place, outputs in part.items()}
    columns = zip(*(merged[place] for place in sorted(merged)), strict=True)
    return [np.concatenate(column) for column in columns]
