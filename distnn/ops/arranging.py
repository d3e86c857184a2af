"""Values repeated, turned round, taken apart: made of the ops of `shapes` and `selection`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from distnn.ops.arguments import normalized_axes, normalized_axis, operand, shape_of
from distnn.ops.elementwise import subtract, where
from distnn.ops.reductions import sum as sum_over
from distnn.ops.selection import Take
from distnn.ops.shapes import (
    Slice,
    broadcast_to,
    check_static_axis,
    concatenate,
    expand_dims,
    product,
    reshape,
    squeeze,
    transpose,
)
from distnn.tensor import Batch, Dim, keras_shape


def _times(dim: Dim, count: int) -> Dim:
    return Batch(dim.multiple * count) if isinstance(dim, Batch) else dim * count


def repeat(x: Any, repeats: int | Sequence[int], axis: int | None = None) -> Any:
    """Each value `repeats` times in turn along `axis`; of all values in their order for None.

    Args:
        x: any shape.
        repeats: a number for all, or one for each place of the axis.
        axis: not the batch's.
    """
    value = operand(x)
    if axis is None:
        value, axis = reshape(value, (-1,)), 0
    shape = shape_of(value)
    (place,) = normalized_axes(axis, len(shape))
    size = check_static_axis(shape, place, "repeat")
    if not isinstance(repeats, int):
        return Take(place)(value, np.repeat(np.arange(size, dtype=np.int32), list(repeats)))
    wide = broadcast_to(expand_dims(value, place + 1), (*shape[: place + 1], repeats, *shape[place + 1 :]))
    return reshape(wide, (*shape[:place], size * repeats, *shape[place + 1 :]))


def tile(x: Any, repeats: int | Sequence[int]) -> Any:
    """x as a whole repeated along each axis; the batch's once only."""
    value = operand(x)
    counts = [repeats] if isinstance(repeats, int) else list(repeats)
    shape = shape_of(value)
    rank = max(len(counts), len(shape))
    counts = [1] * (rank - len(counts)) + counts
    shape = (*(1 for _ in range(rank - len(shape))), *shape)
    if any(isinstance(dim, Batch) and count != 1 for dim, count in zip(shape, counts, strict=True)):
        raise ValueError(f"tile: the batch axis of shape {keras_shape(shape)} cannot be repeated")
    split: list[Dim] = [part for dim in shape for part in (1, dim)]
    wide: list[Dim] = [part for dim, count in zip(shape, counts, strict=True) for part in (count, dim)]
    whole = [_times(dim, count) for dim, count in zip(shape, counts, strict=True)]
    return reshape(broadcast_to(reshape(value, split), wide), whole)


def flip(x: Any, axis: int | Sequence[int] | None = None) -> Any:
    """The values in reverse order along `axis` (None: all axes)."""
    value = operand(x)
    for place in normalized_axes(axis, len(shape_of(value))):
        size = check_static_axis(shape_of(value), place, "flip")
        value = Take(place)(value, np.arange(size - 1, -1, -1, dtype=np.int32))
    return value


def roll(x: Any, shift: int | Sequence[int], axis: int | Sequence[int] | None = None) -> Any:
    """The values moved by `shift` along `axis`, those at the end to the beginning."""
    value = operand(x)
    shape = shape_of(value)
    if axis is None:
        return reshape(roll(reshape(value, (-1,)), shift, 0), shape)
    axes = [axis] if isinstance(axis, int | np.integer) else list(axis)
    shifts = [shift] * len(axes) if isinstance(shift, int | np.integer) else list(shift)
    for one, by in zip(axes, shifts, strict=True):
        (place,) = normalized_axes(one, len(shape))
        size = check_static_axis(shape, place, "roll")
        cut = -int(by) % size if size else 0
        if cut:
            value = concatenate([Slice(place, cut, size)(value), Slice(place, 0, cut)(value)], axis=place)
    return value


def split(x: Any, indices_or_sections: int | Sequence[int], axis: int = 0) -> list[Any]:
    """x cut along `axis` into so many equal parts, or before each of the places given."""
    value = operand(x)
    shape = shape_of(value)
    (place,) = normalized_axes(axis, len(shape))
    size = check_static_axis(shape, place, "split")
    if isinstance(indices_or_sections, int):
        if indices_or_sections <= 0 or size % indices_or_sections:
            raise ValueError(
                f"split: axis {axis} of size {size} has no {indices_or_sections} equal parts "
                f"(shape {keras_shape(shape)})"
            )
        step = size // indices_or_sections
        cuts = list(range(step, size, step)) if step else []
    else:
        cuts = [min(max(cut + size if cut < 0 else cut, 0), size) for cut in indices_or_sections]
    bounds = [0, *cuts, size]
    return [Slice(place, low, max(low, high))(value) for low, high in zip(bounds, bounds[1:], strict=False)]


def unstack(x: Any, num: int | None = None, axis: int = 0) -> list[Any]:
    """The parts of x along `axis`, without that axis."""
    value = operand(x)
    (place,) = normalized_axes(axis, len(shape_of(value)))
    size = check_static_axis(shape_of(value), place, "unstack")
    if num is not None and num != size:
        raise ValueError(f"unstack: axis {axis} has {size} parts. Received: num={num}")
    return [squeeze(Slice(place, i, i + 1)(value), place) for i in range(size)]


def moveaxis(x: Any, source: int | Sequence[int], destination: int | Sequence[int]) -> Any:
    """x with the axes `source` at the places `destination`; the others keep their order."""
    value = operand(x)
    rank = len(shape_of(value))
    sources, places = (
        [normalized_axis(one, rank) for one in ([given] if isinstance(given, int | np.integer) else given)]
        for given in (source, destination)
    )
    order = [axis for axis in range(rank) if axis not in sources]
    for place, axis in sorted(zip(places, sources, strict=True)):
        order.insert(place, axis)
    return transpose(value, order)


def ravel(x: Any) -> Any:
    """All values along one axis."""
    value = operand(x)
    return reshape(value, (product(shape_of(value)),))


def _triangle(x: Any, k: int, is_lower: bool) -> Any:
    value = operand(x)
    rows, columns = shape_of(value)[-2:]
    if not isinstance(rows, int) or not isinstance(columns, int):
        raise ValueError(f"a triangle of shape {keras_shape(shape_of(value))} would depend on the batch size")
    below = np.tri(rows, columns, k if is_lower else k - 1, dtype=bool)
    return where(below, value, 0.0) if is_lower else where(below, 0.0, value)


def tril(x: Any, k: int = 0) -> Any:
    """The lower triangle of the last two axes, 0 above the k-th diagonal."""
    return _triangle(x, k, True)


def triu(x: Any, k: int = 0) -> Any:
    """The upper triangle of the last two axes, 0 below the k-th diagonal."""
    return _triangle(x, k, False)


def meshgrid(*x: Any, indexing: str = "xy") -> list[Any]:
    """Grids of the coordinates along each axis, from one vector each."""
    if indexing not in ("xy", "ij"):
        raise ValueError(f"`indexing` must be 'xy' or 'ij'. Received: indexing={indexing!r}")
    values = [operand(value) for value in x]
    order = list(range(len(values)))
    if indexing == "xy" and len(values) > 1:
        order[:2] = 1, 0
    sizes = [shape_of(values[i])[0] for i in order]
    grids = []
    for i, value in enumerate(values):
        place = order.index(i)
        lying = reshape(value, tuple(size if at == place else 1 for at, size in enumerate(sizes)))
        grids.append(broadcast_to(lying, tuple(sizes)))
    return grids


def append(x1: Any, x2: Any, axis: int | None = None) -> Any:
    """x2 after x1 along `axis`; both as vectors for None."""
    return concatenate([ravel(x1), ravel(x2)], 0) if axis is None else concatenate([x1, x2], axis)


def vstack(xs: Sequence[Any]) -> Any:
    """Tensors one below the other; vectors are rows."""
    values = [operand(x) for x in xs]
    return concatenate([expand_dims(x, 0) if len(shape_of(x)) == 1 else x for x in values], 0)


def hstack(xs: Sequence[Any]) -> Any:
    """Tensors side by side: along the second axis, or the only one."""
    values = [operand(x) for x in xs]
    return concatenate(values, 0 if len(shape_of(values[0])) == 1 else 1)


def diff(a: Any, n: int = 1, axis: int = -1) -> Any:
    """Differences of neighbours along `axis`, taken n times."""
    value = operand(a)
    (place,) = normalized_axes(axis, len(shape_of(value)))
    for _ in range(n):
        size = check_static_axis(shape_of(value), place, "diff")
        value = subtract(Slice(place, 1, size)(value), Slice(place, 0, size - 1)(value))
    return value


def diagonal(x: Any) -> Any:
    """The diagonals of the last two axes, along a new last one."""
    value = operand(x)
    *leading, rows, columns = shape_of(value)
    if not isinstance(rows, int) or not isinstance(columns, int):
        raise ValueError(f"a diagonal of shape {keras_shape(shape_of(value))} would depend on the batch size")
    places = np.arange(min(rows, columns), dtype=np.int32) * np.int32(columns + 1)
    flat = reshape(value, (*leading, rows * columns))
    return Take(len(leading))(flat, places)


def trace(x: Any) -> Any:
    """The sums of the diagonals of the last two axes."""
    return sum_over(diagonal(x), axis=-1)


def slice(inputs: Any, start_indices: Sequence[int], shape: Sequence[int]) -> Any:  # noqa: A001
    """The block of `shape` that begins at `start_indices`; -1 takes an axis to its end."""
    value = operand(inputs)
    for axis, (start, size) in enumerate(zip(start_indices, shape, strict=True)):
        whole = shape_of(value)[axis]
        if isinstance(whole, int):
            value = Slice(axis, start, whole if size == -1 else start + size)(value)
        elif start != 0 or size != -1:
            raise ValueError(
                f"slice: the batch axis of shape {keras_shape(shape_of(value))} must be taken whole "
                "(start 0, size -1)"
            )
    return value
