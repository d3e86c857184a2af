"""The interface of a differentiable operation, and how calling one records or computes it.

An op instance holds static attributes only (axis, rate, ...), never an array of a step. Everything about the
operation stands in its class: shape rule, forward binding, gradient, cost. Families of ops live beside.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from distnn.graph import Graph, current_graph
from distnn.kernels.windows import Windows
from distnn.naming import snake_case
from distnn.tensor import Array, Spec, Tensor
from distnn.variable import Variable

Bound = Callable[[], object]
FIRST_OUTPUT, ELSEWHERE = -1, -2
"""Where an input of a consumer may come from, beside the inputs of the op it follows (their places)."""


class Op(ABC):
    """One differentiable operation.

    `is_view`: the output is the first input's memory under another shape; then `view` is used, not `bind`.
    """

    is_view: ClassVar[bool] = False

    @property
    def name(self) -> str:
        return snake_case(type(self).__name__)

    @abstractmethod
    def infer(self, *inputs: Spec) -> Spec | tuple[Spec, ...]:
        """Specs of the outputs.

        Raises:
            ValueError: if the inputs do not fit, naming their shapes.
        """

    def output_specs(self, *inputs: Spec) -> tuple[Spec, ...]:
        """`infer`, always as a tuple."""
        specs = self.infer(*inputs)
        return specs if isinstance(specs, tuple) else (specs,)

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        """A call without arguments that computes `outputs` from `inputs`; it must not allocate.

        Args:
            inputs: C-contiguous arrays, never written.
            outputs: C-contiguous arrays that overlap no input.
            control: int64 words of the step (see `distnn.graph`), read when the call runs.
        """
        raise NotImplementedError(f"{type(self).__name__} is a view")

    def view(self, x: Array, shape: tuple[int, ...]) -> Array:
        """For view ops: the input's memory in its new shape."""
        return x.reshape(shape)

    def gradient(
        self,
        inputs: tuple[Tensor, ...],
        outputs: tuple[Tensor, ...],
        doutputs: tuple[Tensor | None, ...],
    ) -> tuple[Tensor | None, ...]:
        """Record the gradient with respect to each input; None where there is none (or it is zero).

        `doutputs` has a gradient, or None for zero, per output; at least one is given.
        """
        return (None,) * len(inputs)

    def fused_with(self, consumer: Op, sources: tuple[int, ...]) -> Op | None:
        """One op for this one and `consumer`, the only reader of its first output, with the same bytes.

        It takes this op's inputs, then those of the consumer that come from elsewhere, and gives the
        consumer's outputs, then this op's others. None where there is no such op.

        Args:
            consumer: the op that follows.
            sources: for each of its inputs FIRST_OUTPUT, the place among this op's inputs, or ELSEWHERE.
        """
        return None

    def joined_with(self, other: Op, sources: tuple[int, ...]) -> Op | None:
        """One op for this one and `other`, which reads this op's first input too, with the same bytes.

        It takes this op's inputs, then those of the other that are not among them, and gives this op's
        outputs, then those of the other that are read. None where there is no such op.

        Args:
            other: an op that needs nothing that this one makes.
            sources: for each of its inputs the place among this op's inputs, or ELSEWHERE.
        """
        return None

    def same_sums(self, inputs: tuple[Tensor, ...]) -> Tensor | None:
        """An input whose sums over all axes but the last are those of the first output, if there is one."""
        return None

    def after_relu_gradient(self, place: int) -> Op | None:
        """This op with the gradient of relu before its input `place`, if it knows how: for `fused_with`.

        It takes relu's output and the gradient of that, then this op's other inputs.
        """
        return None

    def after_pooling(self, pool: Windows, place: int) -> Op | None:
        """This op with the gradient of max pooling before its input `place`, if it knows how.

        For `fused_with`. It takes the gradient and the numbers of the taps that were chosen, then this op's
        other inputs.
        """
        return None

    def byproducts(self) -> tuple[tuple[Op, int, int], ...]:
        """(op, i, o): output `o` holds the same bytes as `op` applied to input `i` would."""
        return ()

    def flops(self, inputs: Sequence[Spec], outputs: Sequence[Spec], samples: int) -> int:
        """Floating-point operations for a shard of `samples` samples; one per output element by default."""
        return 0 if self.is_view else sum(spec.size(samples) for spec in outputs)

    def bytes_moved(self, inputs: Sequence[Spec], outputs: Sequence[Spec], samples: int) -> int:
        """Bytes read and written at least once, in float32."""
        return 0 if self.is_view else 4 * sum(spec.size(samples) for spec in (*inputs, *outputs))

    def __call__(self, *args: Any) -> Any:
        """Record on tensors and variables; compute at once on plain arrays.

        Returns:
            One result, or a tuple for several: tensors if any argument is a tensor or a graph is being
            recorded, else arrays.
        """
        graph = graph_of(args)
        results: tuple[Any, ...]
        if graph is not None:
            results = graph.record(self, [as_tensor(arg, graph) for arg in args])
        else:
            scratch = Graph(eager=True, dtype=_array_precision(args))
            results = tuple(t.numpy() for t in scratch.record(self, [as_tensor(a, scratch) for a in args]))
        return results[0] if len(results) == 1 else results

    def __repr__(self) -> str:
        attributes = ", ".join(f"{key}={value!r}" for key, value in vars(self).items())
        return f"{type(self).__name__}({attributes})"


def graph_of(args: Sequence[Any]) -> Graph | None:
    """The graph of the first tensor among `args`, else the one being recorded."""
    for arg in args:
        if isinstance(arg, Tensor):
            return arg.graph
    return current_graph()


def as_tensor(value: Any, graph: Graph, dtype: str | None = None) -> Tensor:
    """`value` (tensor, variable, number, array) as a tensor of `graph`."""
    if isinstance(value, Tensor):
        if value.graph is not graph:
            raise ValueError(
                f"{value!r} was recorded in another call of the model; keep no tensor between calls"
            )
        return value
    if isinstance(value, Variable):
        return graph.variable(value)
    return graph.constant(value, dtype)


def _array_precision(args: Sequence[Any]) -> Any:
    """float64 if any array argument is, so that calls on float64 arrays keep their precision."""
    is_double = any(isinstance(arg, np.ndarray) and arg.dtype == np.float64 for arg in args)
    return np.float64 if is_double else np.float32
