"""The record of what a model's layers and loss did: the one description that everything else reads.

A `Graph` is a list of nodes in the order they were recorded, which is an order they can be run in. An eager
graph also runs each node as it is recorded. `distnn.autodiff` appends the backward pass to the same list, so
a training step is one list.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from distnn.control import CONTROL_WORDS
from distnn.tensor import Array, Batch, Shape, Spec, Tensor

if TYPE_CHECKING:
    from distnn.ops.op import Op
    from distnn.variable import Variable


@dataclass(eq=False)
class Node:
    """One recorded operation."""

    op: Op
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    name: str

    def __repr__(self) -> str:
        return f"<Node {self.name}: {[t.shape for t in self.inputs]} -> {[t.shape for t in self.outputs]}>"


@dataclass(eq=False)
class Moments:
    """Batch statistics of one layer, to be merged over the shards: count, mean[C], M2[C] in float64."""

    tensor: Tensor
    mean: Variable
    variance: Variable
    momentum: float


@dataclass(eq=False)
class Assignment:
    """A variable that `call` assigned; merged over the shards by the variable's aggregation.

    `value`: what reading the variable gives from now on in this call. `added`: what the shard adds, if that
    is to be summed; None if the value itself is merged.
    """

    variable: Variable
    value: Tensor
    added: Tensor | None = None

    @property
    def merged(self) -> Tensor:
        """What the shards' sums are taken of."""
        return self.value if self.added is None else self.added


class ReadsBatchSizeError(BaseException):
    """Code being traced asked for the batch size; it is traced again for each number of samples.

    Not an `Exception`, so that no handler in user code swallows it; never seen outside `distnn`.
    """


@dataclass(eq=False)
class Graph:
    """Nodes, leaves and side results of one trace.

    Args:
        samples: the number of samples this trace stands for (the largest shard's, or the eager shard's).
        concrete: the batch axis is a number; the graph holds for `samples` samples only. Eager graphs are.
        batch_samples: of the whole batch; known in an eager graph only.
        batch_counts: of the whole batch's values that masks let count; known in an eager graph only.
        eager: run each node when it is recorded.
        dtype: what `float32` stands for: float32 for work, float64 for gradient checks.
        training: whether layers behave as in training.
        added_losses: one number each, and whether it is a sum over samples (else a mean).
        sections: where in the nodes the `loss` begins (after the model's outputs), and the `gradient`.
    """

    samples: int = 1
    batch_samples: int = 1
    batch_counts: Array = field(default_factory=lambda: np.zeros(0))
    eager: bool = False
    concrete: bool = False
    dtype: Any = np.float32
    training: bool = False
    nodes: list[Node] = field(default_factory=list)
    inputs: dict[str, Tensor] = field(default_factory=dict)
    variables: dict[Variable, Tensor] = field(default_factory=dict)
    constants: dict[Tensor, Array] = field(default_factory=dict)
    moments: list[Moments] = field(default_factory=list)
    assignments: dict[Variable, Assignment] = field(default_factory=dict)
    states: dict[Variable, Tensor] = field(default_factory=dict)
    added_losses: list[tuple[Tensor, bool]] = field(default_factory=list)
    sections: dict[str, int] = field(default_factory=dict)
    control: Array = field(default_factory=lambda: np.zeros(CONTROL_WORDS, np.int64))
    variable_value: Callable[[Variable], Array] = field(default=lambda variable: variable.array)
    _replaced: dict[Variable, Tensor] = field(default_factory=dict)
    _scopes: list[str] = field(default_factory=list)
    _occurrences: dict[str, int] = field(default_factory=dict)

    def array_dtype(self, spec: Spec) -> np.dtype[Any]:
        """The NumPy dtype that stands for `spec.dtype` in this graph."""
        return np.dtype(self.dtype if spec.dtype == "float32" else spec.dtype)

    # Leaves

    def add_input(self, name: str, spec: Spec, value: Array | None = None) -> Tensor:
        """A tensor whose value is written before each run."""
        tensor = Tensor(self, spec, name=name)
        tensor.value = value
        self.inputs[name] = tensor
        return tensor

    def variable(self, variable: Variable) -> Tensor:
        """The leaf that reads `variable`; what was assigned earlier in this trace is read back."""
        if variable in self._replaced:
            return self._replaced[variable]
        if variable in self.assignments:
            return self.assignments[variable].value
        if variable not in self.variables:
            tensor = Tensor(self, Spec(variable.shape, variable.dtype), name=variable.path)
            if self.eager:
                tensor.value = self.variable_value(variable)
            self.variables[variable] = tensor
        return self.variables[variable]

    @contextmanager
    def reading(self, variable: Variable, value: Tensor) -> Iterator[None]:
        """Layers called inside read `value` where they would read `variable`."""
        before = dict(self._replaced)
        self._replaced[variable] = value
        try:
            yield
        finally:
            self._replaced = before

    def constant(self, value: Any, dtype: str | None = None) -> Tensor:
        """A leaf with a fixed value. Python and NumPy floats become `float32`, integers `int32`."""
        array = np.asarray(value)
        if dtype is None:
            kinds = {"f": "float32", "i": "int32", "u": "int32", "b": "bool"}
            if array.dtype.kind not in kinds:
                raise ValueError(f"a tensor cannot be made from {array.dtype} values: {value!r}")
            dtype = kinds[array.dtype.kind]
        tensor = Tensor(self, Spec(array.shape, dtype), name="constant")
        held = np.ascontiguousarray(array, dtype=self.array_dtype(tensor.spec)).reshape(array.shape)
        self.constants[tensor] = held
        if self.eager:
            tensor.value = held
        return tensor

    # Recording

    def record(self, op: Op, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Append `op`; run it at once in an eager graph."""
        specs = op.output_specs(*(tensor.spec for tensor in inputs))
        name = self.unique_name(op.name)
        node = Node(op, tuple(inputs), (), name)
        node.outputs = tuple(Tensor(self, spec, node, i, name) for i, spec in enumerate(specs))
        self.nodes.append(node)
        if self.eager:
            self._run(node)
        return node.outputs

    def _run(self, node: Node) -> None:
        values = tuple(tensor.numpy() for tensor in node.inputs)
        if node.op.is_view:
            shape = node.outputs[0].spec.concrete(self.samples)
            node.outputs[0].value = node.op.view(values[0], shape)
            return
        arrays = []
        for tensor in node.outputs:
            tensor.value = np.empty(tensor.spec.concrete(self.samples), self.array_dtype(tensor.spec))
            arrays.append(tensor.value)
        node.op.bind(values, tuple(arrays), self.control)()

    @contextmanager
    def in_training(self, training: bool) -> Iterator[None]:
        """Layers called inside behave as in training, or not."""
        before, self.training = self.training, training
        try:
            yield
        finally:
            self.training = before

    # Names

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Names recorded inside begin with `name/`."""
        self._scopes.append(name)
        try:
            yield
        finally:
            self._scopes.pop()

    def unique_name(self, name: str) -> str:
        """`name` under the current scopes, numbered by its occurrence there."""
        path = "/".join([*self._scopes, name])
        count = self._occurrences.get(path, 0)
        self._occurrences[path] = count + 1
        return path if count == 0 else f"{path}_{count}"

    # Side results

    def add_moments(self, tensor: Tensor, mean: Variable, variance: Variable, momentum: float) -> None:
        """Batch statistics that move `mean` and `variance` after the step."""
        self.moments.append(Moments(tensor, mean, variance, momentum))

    def assign(self, variable: Variable, value: Tensor, added: Tensor | None = None) -> None:
        """Let `variable` hold `value` (merged over the shards) once the step is committed.

        Args:
            variable: of any layer.
            value: of its shape.
            added: what was added in all to give `value`, where the shards' parts are to be summed.
        """
        if value.spec.shape != variable.shape:
            raise ValueError(
                f"variable '{variable.path}' of shape {variable.shape} cannot be assigned a tensor of "
                f"shape {value.shape}"
            )
        self.assignments[variable] = Assignment(variable, value, added)

    def keep_state(self, variable: Variable, rows: Tensor, placed: Tensor) -> None:
        """Let `variable` (batch size, ...) hold the shard's `rows` from the next batch on.

        Args:
            placed: the rows in their places among those of the batch, zeros elsewhere.
        """
        self.assign(variable, placed)
        self.states[variable] = rows

    def batch_size(self) -> int:
        """The number of samples as a number.

        Raises:
            ReadsBatchSizeError: in a graph with a symbolic batch axis; the trace then begins anew.
        """
        if not (self.concrete or self.eager):
            raise ReadsBatchSizeError
        return self.samples

    def input_spec(self, spec: Spec) -> Spec:
        """`spec` as it enters this graph: with a number for the batch axis if the graph is concrete."""
        if self.concrete or self.eager:
            return Spec(spec.concrete(self.samples), spec.dtype)
        return spec

    def values_per_sample(self, tensor: Tensor) -> int | None:
        """How many values of `tensor` belong to a sample; None if its first axis is not the batch."""
        if tensor.spec.rank == 0:
            return None
        if self.concrete or self.eager:
            size = tensor.spec.size(1)
            return size // self.samples if tensor.spec.shape[0] == self.samples else None
        return tensor.spec.size(1) if isinstance(tensor.spec.shape[0], Batch) else None


_CURRENT: contextvars.ContextVar[Graph | None] = contextvars.ContextVar("distnn_graph", default=None)


def current_graph() -> Graph | None:
    """The graph being recorded in this thread, if any."""
    return _CURRENT.get()


@contextmanager
def recording(graph: Graph) -> Iterator[Graph]:
    """Ops called inside on variables and arrays record themselves in `graph`."""
    token = _CURRENT.set(graph)
    try:
        yield graph
    finally:
        _CURRENT.reset(token)


def batch_shape(sample_shape: Sequence[int]) -> Shape:
    """The shape of a batch of samples of `sample_shape`."""
    return (Batch(), *sample_shape)
