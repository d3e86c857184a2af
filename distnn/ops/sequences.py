"""Rows taken from a table, and time steps taken apart, put together and turned round."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from distnn.kernels import sequences as kernels
from distnn.kernels.tape import Tape, WithFallback
from distnn.ops.elementwise import cast
from distnn.ops.op import Bound, Op
from distnn.tensor import Array, Dim, Spec, Tensor, keras_shape

Tensors = tuple[Tensor, ...]
Gradients = tuple[Tensor | None, ...]


class TakeRows(Op):
    """Rows of a table (N, F) by int32 indices of any shape."""

    def infer(self, *inputs: Spec) -> Spec:
        table, index = inputs
        if len(table.shape) != 2 or index.dtype != "int32":
            raise ValueError(
                f"rows are taken from a table with two axes by int32 indices. Received: a table of shape "
                f"{keras_shape(table.shape)}, {index.dtype} indices"
            )
        return Spec((*index.shape, table.shape[1]), table.dtype)

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        table, index = inputs[0], inputs[1].reshape(-1)
        rows = outputs[0].reshape(-1, table.shape[1])
        return WithFallback(partial(kernels.take_rows, table, index, rows), partial(_refuse, table, index))

    def gradient(self, inputs: Tensors, outputs: Tensors, doutputs: Gradients) -> Gradients:
        rows = inputs[0].spec.shape[0]
        assert isinstance(rows, int)
        return TakeRowsGradient(rows)(inputs[1], doutputs[0]), None


def _refuse(table: Array, index: Array) -> None:
    outside = (index < 0) | (index >= len(table))
    value = int(index[int(np.argmax(outside))])
    raise ValueError(
        f"an index must be between 0 and {len(table) - 1}, for a table of {len(table)} rows. "
        f"Received: {value} ({int(outside.sum())} such indices)"
    )


class TakeRowsGradient(Op):
    """The table's gradient from (indices, dy): rows added in the order of the indices."""

    def __init__(self, rows: int) -> None:
        self.rows = int(rows)

    def infer(self, *inputs: Spec) -> Spec:
        return Spec((self.rows, inputs[1].shape[-1]), inputs[1].dtype)

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        index, dtable = inputs[0].reshape(-1), outputs[0]
        return partial(kernels.add_rows, index, inputs[1].reshape(-1, dtable.shape[1]), dtable)


class Unstack(Op):
    """The steps of x (B, T, ...) as T tensors (B, ...)."""

    def infer(self, *inputs: Spec) -> tuple[Spec, ...]:
        shape = inputs[0].shape
        if len(shape) < 2 or not isinstance(shape[1], int):
            raise ValueError(f"steps are taken from (batch, steps, ...). Received: {keras_shape(shape)}")
        return (Spec((shape[0], *shape[2:]), inputs[0].dtype),) * shape[1]

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        x = inputs[0].reshape(*inputs[0].shape[:2], -1) if inputs[0].size else inputs[0]
        rows = [out.reshape(len(out), -1) for out in outputs]
        return Tape([partial(kernels.copy_step, x, t, out) for t, out in enumerate(rows)])

    def gradient(self, inputs: Tensors, outputs: Tensors, doutputs: Gradients) -> Gradients:
        given = [t for t, d in enumerate(doutputs) if d is not None]
        return (Stack(len(doutputs), given)(*(d for d in doutputs if d is not None)),)


class Stack(Op):
    """Tensors (B, ...) as some of the T steps of one (B, T, ...), zeros elsewhere.

    Args:
        steps: T.
        places: the step of each input.
    """

    def __init__(self, steps: int, places: Sequence[int]) -> None:
        self.steps, self.places = int(steps), [int(place) for place in places]

    def infer(self, *inputs: Spec) -> Spec:
        shape = inputs[0].shape
        if any(spec.shape != shape for spec in inputs):
            shapes = sorted({str(keras_shape(spec.shape)) for spec in inputs})
            raise ValueError(f"steps of one sequence must have one shape. Received: {', '.join(shapes)}")
        return Spec((shape[0], self.steps, *shape[1:]), inputs[0].dtype)

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        out = outputs[0].reshape(*outputs[0].shape[:2], -1) if outputs[0].size else outputs[0]
        calls = [partial(kernels.clear_step, t, out) for t in range(self.steps) if t not in self.places]
        for place, x in zip(self.places, inputs, strict=True):
            calls.append(partial(kernels.put_step, x.reshape(len(x), -1), place, out))
        return Tape(calls)

    def gradient(self, inputs: Tensors, outputs: Tensors, doutputs: Gradients) -> Gradients:
        steps = Unstack()(doutputs[0])
        steps = steps if isinstance(steps, tuple) else (steps,)
        return tuple(steps[place] for place in self.places)


class ReverseSteps(Op):
    """The steps of x (B, T, ...) from the last to the first."""

    def infer(self, *inputs: Spec) -> Spec:
        return inputs[0]

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        x, out = (array.reshape(*array.shape[:2], -1) for array in (inputs[0], outputs[0]))
        return partial(kernels.reverse_steps, x, out)

    def gradient(self, inputs: Tensors, outputs: Tensors, doutputs: Gradients) -> Gradients:
        return (ReverseSteps()(doutputs[0]),)


class ShardRows(Op):
    """The shard's rows of a value (N, ...) for a whole batch.

    Args:
        batch: the batch dimension.
    """

    def __init__(self, batch: Dim) -> None:
        self.batch = batch

    def infer(self, *inputs: Spec) -> Spec:
        return Spec((self.batch, *inputs[0].shape[1:]), inputs[0].dtype)

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        x, out = (array.reshape(len(array), -1) for array in (inputs[0], outputs[0]))
        if len(out) > len(x):
            raise ValueError(
                f"a stateful layer keeps states of {len(x)} samples, its batch size. Received: a batch of "
                f"{len(out)} samples or more"
            )
        return partial(kernels.take_shard_rows, x, control, out)


class PlaceRows(Op):
    """The shard's rows (B, ...) in their places in (N, ...), zeros elsewhere."""

    def __init__(self, rows: int) -> None:
        self.rows = int(rows)

    def infer(self, *inputs: Spec) -> Spec:
        return Spec((self.rows, *inputs[0].shape[1:]), inputs[0].dtype)

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        x, out = (array.reshape(len(array), -1) for array in (inputs[0], outputs[0]))
        return partial(kernels.place_shard_rows, x, control, out)


def take_rows(table: Any, indices: Any) -> Any:
    """Rows of a table of two axes by index; one out of range is an error that names it."""
    return TakeRows()(table, cast(indices, "int32"))


def unstack_steps(x: Any) -> tuple[Any, ...]:
    """The steps of (B, T, ...), each (B, ...)."""
    found = Unstack()(x)
    return found if isinstance(found, tuple) else (found,)


def stack_steps(steps: Sequence[Any]) -> Any:
    """The other way."""
    return Stack(len(steps), range(len(steps)))(*steps)
