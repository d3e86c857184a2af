"""Ops that give values another shape or place: reshape, transpose, broadcast, concatenate."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from distnn.kernels.gather import one_hot as one_hot_kernel
from distnn.kernels.stepping import spread_value
from distnn.ops.arguments import normalized_axes, normalized_axis, operand, operands, shape_of
from distnn.ops.op import Bound, Op, as_tensor, graph_of
from distnn.tensor import Array, Batch, Dim, Shape, Spec, Tensor, broadcast_shapes, keras_shape, size_of

Tensors = tuple[Tensor, ...]
Gradients = tuple[Tensor | None, ...]


def product(dims: Sequence[Dim]) -> Dim:
    """The product of dimensions, of which at most one is the batch's."""
    factor, power = size_of(tuple(dims))
    if power > 1:
        raise ValueError(f"axes {keras_shape(tuple(dims))} cannot become one: the batch axis is there twice")
    return Batch(factor) if power else factor


def _solve(target: Sequence[Any], shape: Shape) -> Shape:
    """`target` with its -1 (or None) replaced so that the size is that of `shape`."""
    factor, power = size_of(shape)
    unknown = [i for i, dim in enumerate(target) if dim is None or (isinstance(dim, int) and dim == -1)]
    known: Shape = tuple(dim for i, dim in enumerate(target) if i not in unknown)
    known_factor, known_power = size_of(known)
    if len(unknown) > 1:
        raise ValueError(f"only one dimension may be -1. Received: newshape={tuple(target)}")
    fits = known_factor and factor % known_factor == 0 and 0 <= power - known_power <= 1
    if not unknown:
        fits = (factor, power) == (known_factor, known_power)
    if not fits:
        raise ValueError(f"a tensor of shape {keras_shape(shape)} cannot be reshaped to {tuple(target)}")
    rest = factor // known_factor if unknown else 1
    missing: Dim = Batch(rest) if power > known_power else rest
    return tuple(missing if i in unknown else dim for i, dim in enumerate(target))


class Reshape(Op):
    """The same values in another shape; no value moves."""

    is_view = True

    def __init__(self, shape: Sequence[Any]) -> None:
        self.shape = tuple(shape)

    def infer(self, *inputs: Spec) -> Spec:
        return Spec(_solve(self.shape, inputs[0].shape), inputs[0].dtype)

    def gradient(self, inputs: Tensors, outputs: Tensors, doutputs: Gradients) -> Gradients:
        return (reshape(doutputs[0], inputs[0].spec.shape),)


class Transpose(Op):
    """Axes in another order, copied."""

    def __init__(self, axes: Sequence[int]) -> None:
        self.axes = tuple(axes)

    def infer(self, *inputs: Spec) -> Spec:
        return Spec(tuple(inputs[0].shape[axis] for axis in self.axes), inputs[0].dtype)

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        return partial(np.copyto, outputs[0], inputs[0].transpose(self.axes))

    def gradient(self, inputs: Tensors, outputs: Tensors, doutputs: Gradients) -> Gradients:
        inverse = [self.axes.index(axis) for axis in range(len(self.axes))]
        return (transpose(doutputs[0], inverse),)


class BroadcastTo(Op):
    """x repeated along new axes and axes of 1."""

    def __init__(self, shape: Shape) -> None:
        self.shape = tuple(shape)

    def infer(self, *inputs: Spec) -> Spec:
        if broadcast_shapes(inputs[0].shape, self.shape) != self.shape:
            raise ValueError(
                f"shape {keras_shape(inputs[0].shape)} cannot be broadcast to {keras_shape(self.shape)}"
            )
        return Spec(self.shape, inputs[0].dtype)

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        if inputs[0].size == 1:
            return partial(spread_value, inputs[0].reshape(-1), outputs[0].reshape(-1))
        return partial(np.copyto, outputs[0], np.broadcast_to(inputs[0], outputs[0].shape))

    def gradient(self, inputs: Tensors, outputs: Tensors, doutputs: Gradients) -> Gradients:
        return (sum_to_shape(doutputs[0], inputs[0].spec.shape),)


class Concatenate(Op):
    """Tensors one after the other along an axis that is not the batch's."""

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def infer(self, *inputs: Spec) -> Spec:
        shapes = [spec.shape for spec in inputs]
        others = {(*shape[: self.axis], *shape[self.axis + 1 :]) for shape in shapes}
        dims = [shape[self.axis] for shape in shapes]
        if len(others) != 1 or any(isinstance(dim, Batch) for dim in dims):
            raise ValueError(
                f"cannot concatenate along axis {self.axis}: shapes {[keras_shape(s) for s in shapes]} must "
                "agree in all others, and the axis must not be the batch's"
            )
        total = sum(dim for dim in dims if isinstance(dim, int))
        first = shapes[0]
        return Spec((*first[: self.axis], total, *first[self.axis + 1 :]), inputs[0].dtype)

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        places = np.split(outputs[0], np.cumsum([array.shape[self.axis] for array in inputs[:-1]]), self.axis)

        def copy_all() -> None:
            for place, array in zip(places, inputs, strict=True):
                np.copyto(place, array)

        return copy_all

    def gradient(self, inputs: Tensors, outputs: Tensors, doutputs: Gradients) -> Gradients:
        parts, start = [], 0
        for tensor in inputs:
            size = tensor.spec.shape[self.axis]
            stop = start + (size if isinstance(size, int) else 0)
            parts.append(Slice(self.axis, start, stop)(doutputs[0]))
            start = stop
        return tuple(parts)


class Slice(Op):
    """Elements [start, stop) of an axis that is not the batch's, copied."""

    def __init__(self, axis: int, start: int, stop: int) -> None:
        self.axis, self.start, self.stop = axis, start, stop

    def infer(self, *inputs: Spec) -> Spec:
        shape = inputs[0].shape
        size = shape[self.axis]
        if not isinstance(size, int) or not 0 <= self.start <= self.stop <= size:
            raise ValueError(
                f"[{self.start}:{self.stop}] is not within axis {self.axis} of {keras_shape(shape)}"
            )
        return Spec((*shape[: self.axis], self.stop - self.start, *shape[self.axis + 1 :]), inputs[0].dtype)

    def _index(self) -> tuple[slice, ...]:
        return (*(slice(None) for _ in range(self.axis)), slice(self.start, self.stop))

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        return partial(np.copyto, outputs[0], inputs[0][self._index()])

    def gradient(self, inputs: Tensors, outputs: Tensors, doutputs: Gradients) -> Gradients:
        return (PadZeros(self.axis, self.start, inputs[0].spec.shape[self.axis])(doutputs[0]),)


class PadZeros(Op):
    """x at `start` of an axis of length `size`, zeros elsewhere."""

    def __init__(self, axis: int, start: int, size: Dim) -> None:
        self.axis, self.start, self.size = axis, start, size

    def infer(self, *inputs: Spec) -> Spec:
        shape = inputs[0].shape
        return Spec((*shape[: self.axis], self.size, *shape[self.axis + 1 :]), inputs[0].dtype)

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        x, out = inputs[0], outputs[0]
        stop = self.start + x.shape[self.axis]
        place = out[(*(slice(None) for _ in range(self.axis)), slice(self.start, stop))]

        def pad() -> None:
            out.fill(0)
            np.copyto(place, x)

        return pad

    def gradient(self, inputs: Tensors, outputs: Tensors, doutputs: Gradients) -> Gradients:
        size = inputs[0].spec.shape[self.axis]
        stop = self.start + (size if isinstance(size, int) else 0)
        return (Slice(self.axis, self.start, stop)(doutputs[0]),)


class OneHot(Op):
    """1 at each index along a new last axis, 0 elsewhere; an index out of range gives zeros."""

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes

    def infer(self, *inputs: Spec) -> Spec:
        if inputs[0].dtype != "int32":
            raise ValueError(f"one_hot takes int32 indices. Received: {inputs[0].dtype}")
        return Spec((*inputs[0].shape, self.num_classes))

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        return partial(one_hot_kernel, inputs[0].reshape(-1), outputs[0].reshape(-1, self.num_classes))


def reshape(x: Any, newshape: Sequence[Any]) -> Any:
    """The same values in shape `newshape`; one dimension may be -1."""
    value = operand(x)
    if shape_of(value) == tuple(newshape):
        return value
    return Reshape(tuple(newshape))(value)


def transpose(x: Any, axes: Sequence[int] | None = None) -> Any:
    """Axes in the order `axes`; reversed by default."""
    value = operand(x)
    rank = len(shape_of(value))
    order = tuple(range(rank))[::-1] if axes is None else tuple(a + rank if a < 0 else a for a in axes)
    if sorted(order) != list(range(rank)):
        raise ValueError(f"`axes` must be a permutation of {rank} axes. Received: axes={axes}")
    return value if order == tuple(range(rank)) else Transpose(order)(value)


def expand_dims(x: Any, axis: int) -> Any:
    """A new axis of 1 at `axis`."""
    shape = shape_of(operand(x))
    place = normalized_axis(axis, len(shape) + 1)
    return reshape(x, (*shape[:place], 1, *shape[place:]))


def squeeze(x: Any, axis: int | Sequence[int] | None = None) -> Any:
    """Without the axes of 1 (all of them, or those named)."""
    shape = shape_of(operand(x))
    ones = tuple(i for i, dim in enumerate(shape) if dim == 1)
    chosen = ones if axis is None else normalized_axes(axis, len(shape))
    if any(i not in ones for i in chosen):
        raise ValueError(f"cannot squeeze axis {axis} of shape {keras_shape(shape)}: it is not 1")
    return reshape(x, tuple(dim for i, dim in enumerate(shape) if i not in chosen))


def broadcast_to(x: Any, shape: Sequence[Any]) -> Any:
    """x repeated to `shape`."""
    value = operand(x)
    return value if shape_of(value) == tuple(shape) else BroadcastTo(tuple(shape))(value)


def concatenate(xs: Sequence[Any], axis: int = 0) -> Any:
    """Tensors one after the other along `axis`."""
    values = operands(*xs)
    return Concatenate(normalized_axis(axis, len(shape_of(values[0]))))(*values)


def stack(x: Sequence[Any], axis: int = 0) -> Any:
    """Tensors of one shape along a new axis."""
    return concatenate([expand_dims(one, axis) for one in x], axis)


def swapaxes(x: Any, axis1: int, axis2: int) -> Any:
    """Two axes exchanged."""
    order = list(range(len(shape_of(operand(x)))))
    first, second = (normalized_axis(axis, len(order)) for axis in (axis1, axis2))
    order[first], order[second] = second, first
    return transpose(x, order)


def get_item(x: Any, key: Any) -> Any:
    """`x[key]` for integers, slices of step 1, `...` and None, along axes other than the batch's."""
    value = operand(x)
    rank = len(shape_of(value))
    entries = key if isinstance(key, tuple) else (key,)
    used = sum(entry is not None and entry is not Ellipsis for entry in entries)
    if used > rank:
        raise IndexError(f"too many indices for shape {keras_shape(shape_of(value))}: {key!r}")
    place = next((i for i, entry in enumerate(entries) if entry is Ellipsis), len(entries))
    filled = (*entries[:place], *(slice(None),) * (rank - used), *entries[place + 1 :])
    dims: list[Dim] = []
    axis = 0
    for entry in filled:
        if entry is None:
            dims.append(1)
            continue
        value = _take(value, axis, entry)
        if isinstance(entry, slice):
            dims.append(shape_of(value)[axis])
        axis += 1
    return reshape(value, dims)


def _take(x: Any, axis: int, entry: Any) -> Any:
    """x with its `axis` cut to the slice, or to the one element, that `entry` names."""
    shape = shape_of(x)
    size = shape[axis]
    if isinstance(entry, slice) and entry == slice(None):
        return x
    if isinstance(size, Batch):
        raise ValueError(
            f"the batch axis of a tensor of shape {keras_shape(shape)} cannot be indexed while it is traced"
        )
    if isinstance(entry, slice):
        start, stop, step = entry.indices(size)
        if step != 1:
            raise ValueError(f"slices of a tensor have step 1. Received: {entry}")
        return Slice(axis, start, max(start, stop))(x)
    if not isinstance(entry, int | np.integer) or isinstance(entry, bool):
        raise TypeError(f"a tensor is indexed by integers, slices, `...` and None. Received: {entry!r}")
    if not -size <= entry < size:
        raise IndexError(f"index {entry} is out of bounds for axis {axis} of shape {keras_shape(shape)}")
    return Slice(axis, int(entry) % size, int(entry) % size + 1)(x)


def shape(x: Any) -> tuple[int, ...]:
    """The shape in numbers; reading the batch's has the model traced for each number of samples."""
    dims = shape_of(x)
    if isinstance(x, Tensor) and any(isinstance(dim, Batch) for dim in dims):
        samples = x.graph.batch_size()
        return tuple(dim.multiple * samples if isinstance(dim, Batch) else dim for dim in dims)
    return tuple(dim for dim in dims if isinstance(dim, int))


def full_like(x: Any, fill_value: float) -> Any:
    """`fill_value` in the shape of x."""
    graph = graph_of([x])
    if graph is None:
        return np.full_like(np.asarray(x), fill_value)
    return broadcast_to(as_tensor(float(fill_value), graph), shape_of(x))


def zeros_like(x: Any) -> Any:
    return full_like(x, 0.0)


def ones_like(x: Any) -> Any:
    return full_like(x, 1.0)


def one_hot(x: Any, num_classes: int) -> Any:
    """1 at each index along a new last axis, 0 elsewhere."""
    from distnn.ops.elementwise import cast

    return OneHot(num_classes)(cast(x, "int32"))


def sum_to_shape(x: Any, target: Shape) -> Tensor:
    """Sum a tensor over the axes along which `target` was broadcast to its shape."""
    from distnn.ops.reductions import sum as sum_over

    assert isinstance(x, Tensor)
    if x.spec.shape == target:
        return x
    lead = x.spec.rank - len(target)
    aligned: Shape = (1,) * lead + target
    axes = [i for i, (dim, wanted) in enumerate(zip(x.spec.shape, aligned, strict=True)) if dim != wanted]
    axes = sorted({*range(lead), *axes})
    result: Tensor = reshape(sum_over(x, axis=axes), target)
    return result


def check_static_axis(shape: Shape, axis: int, what: str) -> int:
    """The size of an axis.

    Raises:
        ValueError: if it is the batch's, whose samples do not all lie in one shard.
    """
    size = shape[axis]
    if isinstance(size, Batch):
        raise ValueError(
            f"{what} along the batch axis of a tensor of shape {keras_shape(shape)} is not possible: its "
            "samples are spread over shards"
        )
    return size
