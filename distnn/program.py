"""A graph made ready to run: buffers planned and allocated once, every node bound to a plain call.

The batch axis stays symbolic: buffers are sized for the largest shard, and a `BoundProgram` for a number of
samples uses views of them. Running one calls a list of functions and allocates nothing. One program serves
one thread.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial

import numpy as np

from distnn.control import CONTROL_WORDS
from distnn.fusion import fuse
from distnn.graph import Graph, Node
from distnn.kernels.stepping import copy_values
from distnn.kernels.tape import Tape
from distnn.reduction import ShardSums
from distnn.tensor import Array, Tensor
from distnn.weights import WeightLayout, aligned_zeros

_LINE = 64
_MAX_BOUND = 64


@dataclass(frozen=True)
class Results:
    """Which tensors of a graph are its results, and where they go.

    `gradients`: one per trainable variable of the layout (None: zero). `sums` and `moments` lie one after
    the other in the shard's sums. `outputs` stay readable in the bound program.
    """

    gradients: tuple[Tensor | None, ...] = ()
    sums: tuple[Tensor, ...] = ()
    moments: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()

    def all(self) -> list[Tensor]:
        return [*(t for t in self.gradients if t is not None), *self.sums, *self.moments, *self.outputs]

    def destinations(self, layout: WeightLayout, into: ShardSums) -> list[tuple[Tensor, Array]]:
        """Each result that goes to the shard's sums, with its flat place there."""
        places: list[tuple[Tensor, Array]] = []
        for variable, tensor in zip(layout.trainable, self.gradients, strict=bool(self.gradients)):
            if tensor is not None:
                start, stop = layout.bounds(variable)
                places.append((tensor, into.gradient[start:stop]))
        for tensors, flat in ((self.sums, into.sums), (self.moments, into.moments)):
            start = 0
            for tensor in tensors:
                stop = start + tensor.spec.size(1)
                places.append((tensor, flat[start:stop]))
                start = stop
        return places


@dataclass(frozen=True, eq=False)
class BoundProgram:
    """A program for one number of samples, one set of weights and one place for the sums.

    `reads`: names of the inputs that are read at all.
    """

    inputs: Mapping[str, Array]
    reads: frozenset[str]
    outputs: tuple[Array, ...]
    calls: tuple[Callable[[], object], ...]

    @cached_property
    def run(self) -> Tape:
        """All of the calls in turn."""
        return Tape(self.calls)


@dataclass
class _Storage:
    """Where the tensors of a program lie: byte offsets in the arena by root tensor."""

    offsets: dict[Tensor, int] = field(default_factory=dict)
    size: int = 0


class Program:
    """A graph compiled for shards of at most `max_samples` samples.

    Args:
        graph: what was traced; read only, so several programs may share it.
        layout: of the weights vector that `bind` is given.
        results: the tensors wanted.
        max_samples: of the largest shard.
        control: the words that kernels read; programs that one thread runs in turn may share them.
    """

    def __init__(
        self,
        graph: Graph,
        layout: WeightLayout,
        results: Results,
        max_samples: int,
        control: Array | None = None,
    ) -> None:
        self.graph = graph
        self.layout = layout
        self.results = results
        self.max_samples = max_samples
        self.control: Array = np.zeros(CONTROL_WORDS, np.int64) if control is None else control
        self.nodes: list[Node] = fuse(graph.nodes, results.all())
        self._roots = _view_roots(self.nodes)
        self._fixed = {self._root(tensor) for tensor in results.all()}
        self._storage = self._plan_storage()
        self._arena = aligned_zeros(self._storage.size, np.uint8)
        self._inputs = {
            name: np.zeros(tensor.spec.size(max_samples), graph.array_dtype(tensor.spec))
            for name, tensor in graph.inputs.items()
        }
        self._bound: OrderedDict[tuple[int, int, int], tuple[BoundProgram, Array, ShardSums | None]]
        self._bound = OrderedDict()

    @property
    def buffer_bytes(self) -> int:
        """Size of the planned buffers, inputs included."""
        return self._storage.size + sum(array.nbytes for array in self._inputs.values())

    def bind(self, samples: int, weights: Array, into: ShardSums | None) -> BoundProgram:
        """The program for `samples` samples; made once, then kept (the least recently used goes first)."""
        key = (samples, id(weights), id(into))
        entry = self._bound.get(key)
        if entry is None:
            entry = (self._bind(samples, weights, into), weights, into)
            self._bound[key] = entry
            if len(self._bound) > _MAX_BOUND:
                self._bound.popitem(last=False)
        else:
            self._bound.move_to_end(key)
        return entry[0]

    def unbind(self) -> None:
        """Let go of all weights and sums."""
        self._bound.clear()

    # Planning

    def _root(self, tensor: Tensor) -> Tensor:
        return self._roots.get(tensor, tensor)

    def _bytes(self, tensor: Tensor) -> int:
        nbytes = tensor.spec.size(self.max_samples) * self.graph.array_dtype(tensor.spec).itemsize
        return -(-max(nbytes, 1) // _LINE) * _LINE

    def _plan_storage(self) -> _Storage:
        """Give each tensor a place in one arena; places of tensors no longer needed are used again."""
        last_use: dict[Tensor, int] = {}
        for position, node in enumerate(self.nodes):
            for tensor in (*node.inputs, *node.outputs):
                last_use[self._root(tensor)] = position
        for tensor in self._fixed:
            last_use[tensor] = len(self.nodes)
        dying: dict[int, list[Tensor]] = {}
        for tensor, position in last_use.items():
            dying.setdefault(position, []).append(tensor)
        storage, free = _Storage(), _FreeList()
        for position, node in enumerate(self.nodes):
            if not node.op.is_view:
                for tensor in node.outputs:
                    storage.offsets[tensor] = free.take(self._bytes(tensor))
            for tensor in dying.get(position, ()):
                if tensor in storage.offsets:
                    free.give(storage.offsets[tensor], self._bytes(tensor))
        storage.size = free.end
        return storage

    # Binding

    def _bind(self, samples: int, weights: Array, into: ShardSums | None) -> BoundProgram:
        arrays: dict[Tensor, Array] = dict(self.graph.constants)
        for variable, tensor in self.graph.variables.items():
            arrays[tensor] = self.layout.view(weights, variable)
        inputs = {}
        for name, tensor in self.graph.inputs.items():
            shape = tensor.spec.concrete(samples)
            arrays[tensor] = self._inputs[name][: tensor.spec.size(samples)].reshape(shape)
            inputs[name] = arrays[tensor]
        places = self.results.destinations(self.layout, into) if into is not None else []
        direct, copies = self._choose_direct(places)
        calls: list[Callable[[], object]] = []
        for node in self.nodes:
            self._allocate(node, samples, arrays, direct)
            if not node.op.is_view:
                operands = tuple(arrays[tensor] for tensor in node.inputs)
                calls.append(node.op.bind(operands, tuple(arrays[t] for t in node.outputs), self.control))
        calls += [partial(copy_values, arrays[tensor].reshape(-1), place) for tensor, place in copies]
        outputs = tuple(arrays[tensor] for tensor in self.results.outputs)
        read = {tensor for node in self.nodes for tensor in node.inputs} | set(self.results.all())
        reads = frozenset(name for name, tensor in self.graph.inputs.items() if tensor in read)
        return BoundProgram(inputs, reads, outputs, tuple(calls))

    def _choose_direct(
        self, places: Sequence[tuple[Tensor, Array]]
    ) -> tuple[dict[Tensor, Array], list[tuple[Tensor, Array]]]:
        """Results that can be computed where they are wanted, and those that must be copied there."""
        direct: dict[Tensor, Array] = {}
        copies: list[tuple[Tensor, Array]] = []
        for tensor, place in places:
            root = self._root(tensor)
            if root in direct or root not in self._storage.offsets:
                copies.append((tensor, place))
            else:
                direct[root] = place
        return direct, copies

    def _allocate(
        self, node: Node, samples: int, arrays: dict[Tensor, Array], direct: Mapping[Tensor, Array]
    ) -> None:
        for tensor in node.outputs:
            shape = tensor.spec.concrete(samples)
            if node.op.is_view:
                arrays[tensor] = node.op.view(arrays[node.inputs[0]], shape)
            elif tensor in direct:
                arrays[tensor] = direct[tensor].reshape(shape)
            else:
                dtype = self.graph.array_dtype(tensor.spec)
                start = self._storage.offsets[tensor]
                stop = start + tensor.spec.size(samples) * dtype.itemsize
                arrays[tensor] = self._arena[start:stop].view(dtype).reshape(shape)


def _view_roots(nodes: Sequence[Node]) -> dict[Tensor, Tensor]:
    """For each view, the tensor whose memory it is."""
    roots: dict[Tensor, Tensor] = {}
    for node in nodes:
        if node.op.is_view:
            source = node.inputs[0]
            roots[node.outputs[0]] = roots.get(source, source)
    return roots


class _FreeList:
    """Byte ranges of an arena that are free, first fit; the arena grows where none is large enough."""

    def __init__(self) -> None:
        self.end = 0
        self._free: list[tuple[int, int]] = []

    def take(self, nbytes: int) -> int:
        for i, (start, size) in enumerate(self._free):
            if size >= nbytes:
                if size == nbytes:
                    del self._free[i]
                else:
                    self._free[i] = (start + nbytes, size - nbytes)
                return start
        if self._free and sum(self._free[-1]) == self.end:
            start = self._free.pop()[0]
        else:
            start = self.end
        self.end = start + nbytes
        return start

    def give(self, start: int, nbytes: int) -> None:
        merged: list[tuple[int, int]] = []
        for begin, size in sorted([*self._free, (start, nbytes)]):
            if merged and sum(merged[-1]) == begin:
                merged[-1] = (merged[-1][0], merged[-1][1] + size)
            else:
                merged.append((begin, size))
        self._free = merged
