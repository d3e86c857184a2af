"""Computes shards: gathers a shard's samples, runs the program on them, leaves its sums in a buffer.

One runner serves one thread; every engine computes every shard with this code, the same shapes and the same
number of threads, wherever it runs.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np

from distnn.batching import shard_bounds
from distnn.control import (
    CONTROL_WORDS,
    FIRST_WORD,
    ORDER_WORD,
    POSITION_WORD,
    SAMPLES_WORD,
    SEED_WORD,
    SHARD_WORD,
    START_WORD,
    STEP_WORD,
)
from distnn.kernels.gather import gather_rows
from distnn.kernels.stepping import (
    begin_shard,
    clear_sums,
    indices_in_turn,
    set_quotient,
    set_value,
    shuffled_indices,
)
from distnn.kernels.tape import Call, Tape
from distnn.kernels.update import add_into
from distnn.program import BoundProgram, Program
from distnn.reduction import Range, ShardSums, SumsLayout, depth, fold, maximal_subtrees
from distnn.rng import stream_key
from distnn.sources import Sources
from distnn.task import Task
from distnn.tensor import Array
from distnn.tracing import EagerValues, Mode, Traced, input_specs, trace
from distnn.variable import Variable

if TYPE_CHECKING:
    from distnn.data.arrays import ArrayData

_MAX_SPECIAL_PROGRAMS = 8
_MAX_TAPES = 64


class ShardRunner:
    """The programs of one task for one thread.

    Args:
        task: what to compute.
        sources: of the samples, by name; `train` for steps. Runners of one process have them in common.
        dtype: float32 for work, float64 for gradient checks.

    Attributes:
        bindings: another number when what `bind_subtree` gave before is bound to data of the past.
    """

    def __init__(self, task: Task, sources: Sources, dtype: type[np.floating] = np.float32):
        self.task = task
        self.dtype = dtype
        self.bindings = 0
        self._sources = sources
        self._traced: dict[tuple[Mode, int], Traced] = {}
        self._programs: OrderedDict[tuple[Mode, int], Program] = OrderedDict()
        self.control: Array = np.zeros(CONTROL_WORDS, np.int64)
        self.control[SEED_WORD] = stream_key(task.batching.seed, "noise")
        self._tapes: OrderedDict[tuple[Range, int, int, int], tuple[Tape | None, Array, ShardSums]]
        self._tapes = OrderedDict()
        self._feeds: WeakKeyDictionary[BoundProgram, dict[str, Tape]] = WeakKeyDictionary()
        self._indices = np.zeros(0, np.int64)
        self._roots: list[ShardSums] = []
        self._scratch: list[ShardSums] = []
        self._counts: Array = np.zeros(0)
        self._carried: Array = np.zeros(0)
        self._shard_counts = ShardSums(SumsLayout(0, 0, ()))

    @property
    def shard(self) -> int:
        """The shard begun last."""
        return int(self.control[SHARD_WORD])

    # Training

    @property
    def training(self) -> Traced:
        """The training graph for the largest shard."""
        return self._trace("train", self.task.batching.largest_shard)

    def compute(self, step: int, shard: int, weights: Array, into: ShardSums) -> bool:
        """Leave the sums of one shard of `step` in `into`; False if the shard is empty."""
        return self.compute_subtree(step, (shard, shard + 1), weights, into)

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
        start, stop = self.task.batching.batch_bounds(step)
        tape = self._tape_of(subtree, weights, into, stop - start)
        if tape is None:
            return False
        self.begin_step(step)
        tape()
        return True

    def _tape_of(self, subtree: Range, weights: Array, into: ShardSums, batch_samples: int) -> Tape | None:
        """`bind_subtree`, as a tape that is kept."""
        key = (subtree, id(weights), id(into), batch_samples)
        kept = self._tapes.get(key)
        if kept is None:
            calls = self.bind_subtree(subtree, weights, into, batch_samples)
            kept = self._tapes[key] = (None if calls is None else Tape(calls), weights, into)
            if len(self._tapes) > _MAX_TAPES:
                self._tapes.popitem(last=False)
        return kept[0]

    def begin_step(self, step: int) -> None:
        """Write what the shards of a step have in common; then what `bind_subtree` gave may be called."""
        batching, control = self.task.batching, self.control
        control[STEP_WORD] = step
        control[START_WORD] = batching.batch_bounds(step)[0]
        control[FIRST_WORD] = step % batching.steps_per_epoch == 0
        if batching.shuffle:
            control[ORDER_WORD] = batching.order_key(step)

    def bind_subtree(
        self, subtree: Range, weights: Array, into: ShardSums, batch_samples: int
    ) -> list[Call] | None:
        """The calls that compute a whole subtree's shards of a batch of `batch_samples` into `into`.

        They are good for any step with such a batch, after `begin_step`. None if all the shards are empty.
        """
        start, stop = subtree
        while len(self._scratch) < depth(stop - start) - 1:
            self._scratch.append(ShardSums(self.training.sums_layout))
        calls: list[Call] = self._bind_counts(weights, batch_samples)
        bind = partial(self._bind_shard, calls, weights, batch_samples)
        has_samples = fold(start, stop, [into, *self._scratch], bind, partial(_bind_addition, calls))
        return calls if has_samples else None

    def _bind_shard(
        self, calls: list[Call], weights: Array, batch_samples: int, shard: int, into: ShardSums
    ) -> bool:
        batching = self.task.batching
        low, high = shard_bounds(0, batch_samples, batching.shards, shard)
        if low == high:
            return False
        calls.append(partial(begin_shard, self.control, shard, low, high - low))
        if self.task.eager:
            calls.append(partial(self._compute_eagerly, weights, into, high - low, batch_samples))
            return True
        program = self._program("train", high - low, batching.largest_shard)
        bound = program.bind(high - low, weights, into)
        for seed in self.training.seeds:
            word = bound.inputs[seed.input_name].reshape(-1)
            if seed.count is None:
                calls.append(partial(set_value, word, float(seed.value(batch_samples))))
            else:
                calls.append(partial(set_quotient, word, seed.weight, self._counts, 2 * seed.count))
        calls.append(self._fed(bound, "train", batching.shuffle))
        return True

    def _bind_counts(self, weights: Array, batch_samples: int) -> list[Call]:
        """Calls that count, over all shards of a batch, the loss values that masks let count.

        Each worker does so by itself: what counts is a matter of the inputs, and waiting for others costs
        more.
        """
        if self.task.objective is None or not self._has_counts():
            return []
        batching = self.task.batching
        calls: list[Call] = [partial(clear_sums, self._counts)]
        for shard in range(batching.shards):
            low, high = shard_bounds(0, batch_samples, batching.shards, shard)
            if low < high:
                calls.append(partial(begin_shard, self.control, shard, low, high - low))
                bound = self._program("count", high - low, batching.largest_shard).bind(
                    high - low, weights, self._shard_counts
                )
                calls.append(self._fed(bound, "train", batching.shuffle))
                calls.append(partial(add_into, self._counts, self._shard_counts.sums))
        return calls

    def _has_counts(self) -> bool:
        """Whether any loss is divided by a count; makes the room for them."""
        if all(seed.count is None for seed in self.training.seeds):
            return False
        layout = self._trace("count", self.task.batching.largest_shard).sums_layout
        if len(self._counts) != layout.sums:
            self._counts, self._shard_counts = np.zeros(layout.sums), ShardSums(layout)
        return True

    def _compute_eagerly(
        self, weights: Array, into: ShardSums | None, samples: int, batch_samples: int
    ) -> tuple[Traced, Array]:
        indices = self._index_buffer(samples)
        Tape([self._order(indices, self.task.batching.shuffle)])()
        place = (int(self.control[STEP_WORD]), self.shard)
        traced = self._run_eagerly("train", "train", indices, place, weights, into, batch_samples)
        return traced, indices

    def walk(self, step: int, shard: int, weights: Array) -> tuple[Traced, Array] | None:
        """Compute a shard op by op, whatever the task says, to the same bytes; values stay in the graph.

        Returns:
            What was recorded, and the indices of the shard's samples; None if it is empty.
        """
        batching = self.task.batching
        start, stop = batching.batch_bounds(step)
        low, high = shard_bounds(0, stop - start, batching.shards, shard)
        if low == high:
            return None
        self.begin_step(step)
        Tape(
            [
                *self._bind_counts(weights, stop - start),
                partial(begin_shard, self.control, shard, low, high - low),
            ]
        )()
        return self._compute_eagerly(weights, None, high - low, stop - start)

    def unbind(self) -> None:
        """Let go of all weights and sums that programs were bound to."""
        self._tapes.clear()
        self._feeds.clear()
        for program in self._programs.values():
            program.unbind()

    # Evaluation and prediction

    def evaluate_shard(
        self, name: str, start: int, stop: int, shard: int, weights: Array, into: ShardSums
    ) -> bool:
        """Leave the loss and metric sums of one shard of the batch [start, stop) of data `name`."""
        low, high = shard_bounds(start, stop, self.task.batching.shards, shard)
        if low == high:
            return False
        self._begin_part(shard, start, low, high)
        if self.task.eager:
            indices = np.arange(low, high)
            traced = self._run_eagerly("evaluate", name, indices, (0, shard), weights, into, stop - start)
            self._carry(traced.states, [t.numpy() for t in traced.results.outputs], low - start, weights)
            return True
        program = self._program("evaluate", high - low, self._largest(stop - start))
        bound = program.bind(high - low, weights, into)
        for seed in self._trace("evaluate", high - low).seeds:
            bound.inputs[seed.input_name][...] = seed.value(stop - start)
        self._fed(bound, name, False)()
        states = self._trace("evaluate", high - low).states
        self._carry(states, bound.outputs, low - start, weights)
        return True

    def evaluation_sums(self, batch_samples: int) -> ShardSums:
        """A buffer for `evaluate_shard`."""
        return ShardSums(self._trace("evaluate", self._largest(batch_samples)).sums_layout)

    def predict_shard(self, name: str, start: int, stop: int, shard: int, weights: Array) -> list[Array]:
        """The outputs for one shard of the batch [start, stop), copied; empty list for an empty shard."""
        low, high = shard_bounds(start, stop, self.task.batching.shards, shard)
        if low == high:
            return []
        self._begin_part(shard, start, low, high)
        if self.task.eager:
            indices = np.arange(low, high)
            traced = self._run_eagerly("predict", name, indices, (0, shard), weights, None, stop - start)
            outputs = [tensor.numpy().copy() for tensor in traced.results.outputs]
            self._carry(traced.states, outputs, low - start, weights)
            return outputs
        program = self._program("predict", high - low, self._largest(stop - start))
        bound = program.bind(high - low, weights, None)
        self._fed(bound, name, False)()
        self._carry(self._trace("predict", high - low).states, bound.outputs, low - start, weights)
        return [output.copy() for output in bound.outputs]

    def own_weights(self, mode: Mode, weights: Array) -> Array:
        """The weights for a pass over data: a copy where layers' states change from batch to batch."""
        if not self._trace(mode, self.task.batching.largest_shard).states:
            return weights
        if len(self._carried) != len(weights):
            self._carried = np.zeros_like(weights)
        np.copyto(self._carried, weights)
        return self._carried

    def _carry(
        self, states: Sequence[Variable], outputs: Sequence[Array], offset: int, weights: Array
    ) -> None:
        """Let the next batch find the states that the shard left: the last outputs."""
        layout = self.task.layout() if states else None
        for variable, rows in zip(states, outputs[len(outputs) - len(states) :], strict=True):
            assert layout is not None
            layout.view(weights, variable)[offset : offset + len(rows)] = rows

    def _begin_part(self, shard: int, start: int, low: int, high: int) -> None:
        """Write the words of a shard that is no part of a training step."""
        control = self.control
        control[STEP_WORD], control[START_WORD] = 0, start
        control[SHARD_WORD], control[SAMPLES_WORD], control[POSITION_WORD] = shard, high - low, low

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
        size = samples if special else largest
        program = Program(traced.graph, traced.layout, traced.results, size, self.control)
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
        samples = len(indices)
        inputs: dict[str, Array] = {}
        for key, spec in input_specs(self.task, mode).items():
            inputs[key] = np.empty(spec.concrete(samples), self.dtype if spec.is_float else spec.dtype)
            gather_rows(self._sources.rows(name, key), indices, inputs[key].reshape(samples, -1))
        control = self.control
        control[STEP_WORD], control[SHARD_WORD], control[SAMPLES_WORD] = *place, samples
        layout = self.task.layout()

        def weight_of(variable: Variable) -> Array:
            return layout.view(weights, variable)

        eager = EagerValues(inputs, weight_of, control, batch_samples, self._counts)
        traced = trace(self.task, mode, samples, dtype=self.dtype, eager=eager)
        if into is not None:
            for tensor, destination in traced.results.destinations(layout, into):
                np.copyto(destination, tensor.numpy().reshape(-1))
        return traced

    # Data

    def take_task(self, task: Task) -> None:
        """Go on with a task of the same key; the programs stay."""
        self.task = task
        self.control[SEED_WORD] = stream_key(task.batching.seed, "noise")

    @property
    def data(self) -> Mapping[str, ArrayData]:
        """By name."""
        return self._sources.data

    def let_go_of_data(self) -> None:
        """Bind anew: the sources' data lie elsewhere now. The programs stay."""
        self.bindings += 1
        self._tapes.clear()
        self._feeds.clear()

    def _index_buffer(self, samples: int) -> Array:
        if len(self._indices) < samples:
            self._indices = np.zeros(samples, np.int64)
        return self._indices[:samples]

    def _fed(self, bound: BoundProgram, name: str, shuffle: bool) -> Tape:
        """A tape that picks the shard's samples out of the named data and runs the program on them."""
        tapes = self._feeds.setdefault(bound, {})
        if name not in tapes:
            samples = next(len(x) for key, x in bound.inputs.items() if not key.startswith("seed"))
            indices = self._index_buffer(samples)
            calls: list[Call] = [self._order(indices, shuffle)]
            for key, target in bound.inputs.items():
                if key in bound.reads and not key.startswith("seed"):
                    rows = target.reshape(samples, -1)
                    calls.append(partial(gather_rows, self._sources.rows(name, key), indices, rows))
            tapes[name] = Tape([*calls, *bound.calls])
        return tapes[name]

    def _order(self, indices: Array, shuffle: bool) -> Call:
        if shuffle:
            return partial(shuffled_indices, self.control, self.task.batching.samples, indices)
        return partial(indices_in_turn, self.control, indices)


def _bind_addition(calls: list[Call], left: ShardSums, right: ShardSums) -> None:
    calls += left.bind_add(right)
