"""Computes shards: gathers a shard's samples, runs the program on them, leaves its sums in a buffer.

One runner serves one thread; every engine computes every shard with this code, the same shapes and the same
number of threads, wherever it runs.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np

from distnn.batching import shard_bounds
from distnn.graph import CONTROL_WORDS, SAMPLES_WORD, SEED_WORD, SHARD_WORD, STEP_WORD
from distnn.program import BoundProgram, Program
from distnn.reduction import Range, ShardSums, depth, fold, maximal_subtrees
from distnn.rng import stream_key
from distnn.task import Task
from distnn.tensor import Array
from distnn.tracing import EagerValues, Mode, Traced, input_specs, trace

if TYPE_CHECKING:
    from distnn.data.arrays import ArrayData

_MAX_SPECIAL_PROGRAMS = 8


class ShardRunner:
    """The programs of one task for one thread.

    Args:
        task: what to compute.
        data: by name; `train` for steps.
        dtype: float32 for work, float64 for gradient checks.
    """

    def __init__(self, task: Task, data: Mapping[str, ArrayData], dtype: type[np.floating] = np.float32):
        self.task = task
        self.data = dict(data)
        self.dtype = dtype
        self._sources: dict[str, dict[str, Array]] = {}
        self._traced: dict[tuple[Mode, int], Traced] = {}
        self._programs: OrderedDict[tuple[Mode, int], Program] = OrderedDict()
        self.shard = 0
        self._feeds: WeakKeyDictionary[BoundProgram, dict[str, list[tuple[Array, Array]]]]
        self._feeds = WeakKeyDictionary()
        self._indices = np.zeros(0, np.int64)
        self._roots: list[ShardSums] = []
        self._scratch: list[ShardSums] = []
        self._seed_key = stream_key(task.batching.seed, "noise")

    # Training

    @property
    def training(self) -> Traced:
        """The training graph for the largest shard."""
        return self._trace("train", self.task.batching.largest_shard)

    def compute(self, step: int, shard: int, weights: Array, into: ShardSums) -> bool:
        """Leave the sums of one shard of `step` in `into`; False if the shard is empty."""
        self.shard = shard
        batching = self.task.batching
        low, high = batching.shard_positions(step, shard)
        samples = high - low
        if samples == 0:
            return False
        indices = self._index_buffer(samples)
        batching.fill_indices(step, low, high, indices)
        start, stop = batching.batch_bounds(step)
        if self.task.eager:
            self._run_eagerly("train", "train", indices, (step, shard), weights, into, stop - start)
            return True
        program = self._program("train", samples, batching.largest_shard)
        bound = program.bind(samples, weights, into)
        _set_control(program.control, self._seed_key, step, shard, samples)
        for seed in self.training.seeds:
            bound.inputs[seed.input_name][0] = seed.value(stop - start)
        self._gather(bound, "train", indices)
        bound.run()
        return True

    def compute_range(
        self, step: int, first: int, last: int, weights: Array
    ) -> list[tuple[Range, ShardSums | None]]:
        """Sums of the shards [first, last) of `step` as the fewest whole subtrees; buffers are used again."""
        results: list[tuple[Range, ShardSums | None]] = []
        for i, subtree in enumerate(maximal_subtrees(first, last, self.task.batching.shards)):
            while len(self._roots) <= i:
                self._roots.append(ShardSums(self.training.sums_layout))
            has_samples = self.compute_subtree(step, subtree, weights, self._roots[i])
            results.append((subtree, self._roots[i] if has_samples else None))
        return results

    def compute_subtree(self, step: int, subtree: Range, weights: Array, into: ShardSums) -> bool:
        """Leave the sums of a whole subtree's shards in `into`; False if they are all empty.

        `into` and `weights` must be the same objects at every step: programs are bound to them.
        """
        start, stop = subtree
        if stop - start == 1:
            return self.compute(step, start, weights, into)
        while len(self._scratch) < depth(stop - start) - 1:
            self._scratch.append(ShardSums(self.training.sums_layout))
        return fold(start, stop, [into, *self._scratch], partial(self._compute_into, step, weights))

    def unbind(self) -> None:
        """Let go of all weights and sums that programs were bound to."""
        self._feeds.clear()
        for program in self._programs.values():
            program.unbind()

    def _compute_into(self, step: int, weights: Array, shard: int, into: ShardSums) -> bool:
        return self.compute(step, shard, weights, into)

    # Evaluation and prediction

    def evaluate_shard(
        self, name: str, start: int, stop: int, shard: int, weights: Array, into: ShardSums
    ) -> bool:
        """Leave the loss and metric sums of one shard of the batch [start, stop) of data `name`."""
        low, high = shard_bounds(start, stop, self.task.batching.shards, shard)
        if low == high:
            return False
        indices = self._index_buffer(high - low)
        indices[:] = np.arange(low, high)
        if self.task.eager:
            self._run_eagerly("evaluate", name, indices, (0, shard), weights, into, stop - start)
            return True
        program = self._program("evaluate", high - low, self._largest(stop - start))
        bound = program.bind(high - low, weights, into)
        _set_control(program.control, self._seed_key, 0, shard, high - low)
        self._gather(bound, name, indices)
        bound.run()
        return True

    def evaluation_sums(self, batch_samples: int) -> ShardSums:
        """A buffer for `evaluate_shard`."""
        return ShardSums(self._trace("evaluate", self._largest(batch_samples)).sums_layout)

    def predict_shard(self, name: str, start: int, stop: int, shard: int, weights: Array) -> list[Array]:
        """The outputs for one shard of the batch [start, stop), copied; empty list for an empty shard."""
        low, high = shard_bounds(start, stop, self.task.batching.shards, shard)
        if low == high:
            return []
        indices = self._index_buffer(high - low)
        indices[:] = np.arange(low, high)
        if self.task.eager:
            traced = self._run_eagerly("predict", name, indices, (0, shard), weights, None, stop - start)
            return [tensor.numpy().copy() for tensor in traced.results.outputs]
        program = self._program("predict", high - low, self._largest(stop - start))
        bound = program.bind(high - low, weights, None)
        _set_control(program.control, self._seed_key, 0, shard, high - low)
        self._gather(bound, name, indices)
        bound.run()
        return [output.copy() for output in bound.outputs]

    def _largest(self, batch_samples: int) -> int:
        return -(-batch_samples // self.task.batching.shards)

    # Programs

    def _trace(self, mode: Mode, samples: int) -> Traced:
        """The recorded task; one for all sizes unless the user's code reads the batch size."""
        for key in ((mode, 0), (mode, samples)):
            if key in self._traced:
                return self._traced[key]
        traced = trace(self.task, mode, samples, dtype=self.dtype)
        self._traced[mode, samples if traced.graph.concrete else 0] = traced
        return traced

    def _program(self, mode: Mode, samples: int, largest: int) -> Program:
        program = self._programs.get((mode, 0))
        if program is not None and samples <= program.max_samples:
            return program
        program = self._programs.get((mode, samples))
        if program is not None:
            return program
        traced = self._trace(mode, samples)
        special = traced.graph.concrete
        if not special:
            largest = max(largest, samples)
        program = Program(traced.graph, traced.layout, traced.results, samples if special else largest)
        self._programs[mode, samples if special else 0] = program
        if len(self._programs) > _MAX_SPECIAL_PROGRAMS:
            self._programs.popitem(last=False)
        return program

    def _run_eagerly(
        self,
        mode: Mode,
        name: str,
        indices: Array,
        place: tuple[int, int],
        weights: Array,
        into: ShardSums | None,
        batch_samples: int,
    ) -> Traced:
        """Run the model's own `call` on the shard's values, op by op; the kernels are the program's."""
        from distnn.kernels.gather import gather_rows

        samples = len(indices)
        inputs: dict[str, Array] = {}
        for key, spec in input_specs(self.task, mode).items():
            inputs[key] = np.empty(spec.concrete(samples), self.dtype if spec.is_float else spec.dtype)
            gather_rows(self._source(name, key), indices, inputs[key].reshape(samples, -1))
        control = np.zeros(CONTROL_WORDS, np.int64)
        _set_control(control, self._seed_key, *place, samples)
        layout = self.task.layout()
        eager = EagerValues(inputs, lambda variable: layout.view(weights, variable), control, batch_samples)
        traced = trace(self.task, mode, samples, dtype=self.dtype, eager=eager)
        if into is not None:
            for tensor, destination in traced.results.destinations(layout, into):
                np.copyto(destination, tensor.numpy().reshape(-1))
        return traced

    # Data

    def set_data(self, data: Mapping[str, ArrayData]) -> None:
        """Compute on other data of the same signature; the programs stay."""
        self.data = dict(data)
        self._sources.clear()
        self._feeds.clear()

    def _index_buffer(self, samples: int) -> Array:
        if len(self._indices) < samples:
            self._indices = np.zeros(samples, np.int64)
        return self._indices[:samples]

    def _source(self, name: str, key: str) -> Array:
        """The named data's array for a graph input, as rows."""
        if name not in self._sources:
            data = self.data[name]
            arrays = {f"x{i}": array for i, array in enumerate(data.x)}
            arrays |= {f"y{i}": array for i, array in enumerate(data.y)}
            if data.sample_weight is not None:
                arrays["sample_weight"] = data.sample_weight
            self._sources[name] = {
                key: np.ascontiguousarray(array).reshape(len(array), -1) for key, array in arrays.items()
            }
        return self._sources[name][key]

    def _gather(self, bound: BoundProgram, name: str, indices: Array) -> None:
        from distnn.kernels.gather import gather_rows

        feeds = self._feeds.setdefault(bound, {})
        if name not in feeds:
            feeds[name] = [
                (self._source(name, key), target.reshape(len(indices), -1))
                for key, target in bound.inputs.items()
                if not key.startswith("seed")
            ]
        for source, rows in feeds[name]:
            gather_rows(source, indices, rows)


def _set_control(control: Array, seed_key: int, step: int, shard: int, samples: int) -> None:
    control[SEED_WORD] = seed_key
    control[STEP_WORD] = step
    control[SHARD_WORD] = shard
    control[SAMPLES_WORD] = samples
