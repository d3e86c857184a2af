"""Sums of products over named axes, lengths, and logarithms of sums."""

from __future__ import annotations

import math
import string
from collections.abc import Sequence
from typing import Any

from distnn.ops.arguments import normalized_axes, normalized_axis, operand, operands, shape_of
from distnn.ops.arithmetic import isfinite
from distnn.ops.arranging import roll
from distnn.ops.comparison import cast
from distnn.ops.elementwise import abs as magnitude
from distnn.ops.elementwise import (
    add,
    divide,
    exp,
    log,
    maximum,
    multiply,
    power,
    rsqrt,
    sqrt,
    square,
    stop_gradient,
    subtract,
    where,
)
from distnn.ops.products import matmul
from distnn.ops.reductions import max as max_over
from distnn.ops.reductions import mean, var
from distnn.ops.reductions import sum as sum_over
from distnn.ops.selection import sort
from distnn.ops.shapes import Slice, check_static_axis, product, reshape, transpose
from distnn.tensor import keras_shape


def einsum(subscripts: str, *values: Any) -> Any:
    """Products summed over axes named by letters, as NumPy's `einsum`; by matrix products.

    Args:
        subscripts: letters of each operand's axes, `->`, those of the result; `...` for leading axes. No
            letter twice in one operand.
        values: the operands.
    """
    terms, result = _parsed(subscripts, values)
    left, value = terms[0], operand(values[0])
    for place, (right, other) in enumerate(zip(terms[1:], values[1:], strict=True)):
        kept = set(result).union(*terms[place + 2 :])
        left, value = _contracted(left, value, right, other, kept)
    return _arranged(left, value, result)


def _parsed(subscripts: str, values: Sequence[Any]) -> tuple[list[str], str]:
    """The letters of each operand and of the result, `...` written out."""
    given, arrow, result = subscripts.replace(" ", "").partition("->")
    terms = given.split(",")
    if len(terms) != len(values):
        raise ValueError(f"einsum: '{subscripts}' names {len(terms)} operands. Received: {len(values)}")
    ranks = [len(shape_of(value)) for value in values]
    hidden = [
        rank - len(term.replace("...", "")) if "..." in term else 0
        for term, rank in zip(terms, ranks, strict=True)
    ]
    free = [letter for letter in string.ascii_letters if letter not in subscripts]
    dots = "".join(free[: max(hidden)])
    terms = [
        term.replace("...", dots[len(dots) - count :]) for term, count in zip(terms, hidden, strict=True)
    ]
    if not arrow:
        joined = "".join(terms)
        once = sorted(letter for letter in set(joined) if joined.count(letter) == 1 and letter not in dots)
        result = dots + "".join(once)
    result = result.replace("...", dots)
    for term, rank in zip(terms, ranks, strict=True):
        if len(term) != rank or len(set(term)) != rank or not term.isalpha() and term:
            raise ValueError(
                f"einsum: '{subscripts}' does not fit operands with {ranks} axes; a letter may stand once in "
                "each operand"
            )
    if not set(result) <= set("".join(terms)) or len(set(result)) != len(result):
        raise ValueError(f"einsum: the result of '{subscripts}' must name axes of the operands, each once")
    return terms, result


def _contracted(left: str, x: Any, right: str, y: Any, kept: set[str]) -> tuple[str, Any]:
    """The product of two operands, summed over the letters that nothing else needs."""
    x, y = operands(x, y)
    left, x = _without(left, x, set(left) - kept - set(right))
    right, y = _without(right, y, set(right) - kept - set(left))
    shared = [letter for letter in left if letter in right and letter in kept]
    summed = [letter for letter in left if letter in right and letter not in kept]
    rows = [letter for letter in left if letter not in right]
    columns = [letter for letter in right if letter not in left]
    x = _arranged(left, x, "".join([*shared, *rows, *summed]))
    y = _arranged(right, y, "".join([*shared, *summed, *columns]))
    shape_x, shape_y = shape_of(x), shape_of(y)
    stack, middle = shape_x[: len(shared)], shape_x[len(shared) + len(rows) :]
    other_stack, other_middle = shape_y[: len(shared)], shape_y[len(shared) : len(shared) + len(summed)]
    if stack != other_stack or middle != other_middle:
        raise ValueError(
            f"einsum: axes of one letter differ in size: '{left}' of shape {keras_shape(shape_x)}, "
            f"'{right}' of shape {keras_shape(shape_y)} (reordered)"
        )
    row_dims, column_dims = (
        shape_x[len(shared) : len(shared) + len(rows)],
        shape_y[len(shared) + len(summed) :],
    )
    matrix_x = reshape(x, (*_one(stack), product(row_dims), product(middle)))
    matrix_y = reshape(y, (*_one(stack), product(middle), product(column_dims)))
    result = reshape(matmul(matrix_x, matrix_y), (*stack, *row_dims, *column_dims))
    return "".join([*shared, *rows, *columns]), result


def _one(stack: Any) -> tuple[Any, ...]:
    return (product(stack),) if stack else ()


def _without(letters: str, value: Any, summed: set[str]) -> tuple[str, Any]:
    axes = [i for i, letter in enumerate(letters) if letter in summed]
    if not axes:
        return letters, value
    return "".join(letter for letter in letters if letter not in summed), sum_over(value, axis=axes)


def _arranged(letters: str, value: Any, wanted: str) -> Any:
    """The value with its axes in the order `wanted`, others summed."""
    letters, value = _without(letters, value, set(letters) - set(wanted))
    return transpose(value, [letters.index(letter) for letter in wanted])


def tensordot(x1: Any, x2: Any, axes: int | Sequence[Any] = 2) -> Any:
    """Products summed over the last `axes` axes of x1 and the first of x2, or over pairs of axes."""
    rank_x, rank_y = len(shape_of(operand(x1))), len(shape_of(operand(x2)))
    if isinstance(axes, int):
        pairs = [(rank_x - axes + i, i) for i in range(axes)]
    else:
        first, second = ([one] if isinstance(one, int) else list(one) for one in axes)
        pairs = [
            (normalized_axis(a, rank_x), normalized_axis(b, rank_y))
            for a, b in zip(first, second, strict=True)
        ]
    left = list(string.ascii_lowercase[:rank_x])
    right = list(string.ascii_uppercase[:rank_y])
    for a, b in pairs:
        right[b] = left[a]
    kept = [letter for letter in left if letter not in right] + [one for one in right if one not in left]
    return einsum(f"{''.join(left)},{''.join(right)}->{''.join(kept)}", x1, x2)


def outer(x1: Any, x2: Any) -> Any:
    """Every product of a value of x1 and one of x2; both taken as vectors."""
    x, y = operands(x1, x2)
    return multiply(reshape(x, (-1, 1)), reshape(y, (1, -1)))


def inner(x1: Any, x2: Any) -> Any:
    """Products summed over the last axis of both."""
    return tensordot(x1, x2, axes=[[-1], [-1]])


def vdot(x1: Any, x2: Any) -> Any:
    """The sum of the products of all values; both taken as vectors."""
    x, y = operands(x1, x2)
    return sum_over(multiply(reshape(x, (-1,)), reshape(y, (-1,))))


def cross(x1: Any, x2: Any) -> Any:
    """The vector product of vectors of three along the last axis."""
    x, y = operands(x1, x2)
    if shape_of(x)[-1] != 3 or shape_of(y)[-1] != 3:
        raise ValueError(
            "cross takes vectors of three along the last axis. Received: shapes "
            f"{keras_shape(shape_of(x))}, {keras_shape(shape_of(y))}"
        )
    first = multiply(roll(x, -1, -1), roll(y, -2, -1))
    return subtract(first, multiply(roll(x, -2, -1), roll(y, -1, -1)))


def moments(x: Any, axes: int | Sequence[int], keepdims: bool = False) -> tuple[Any, Any]:
    """Mean and variance over `axes`."""
    return mean(x, axes, keepdims), var(x, axes, keepdims)


def median(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """The middle value along `axis` (None: of all), or the mean of the two in the middle."""
    value = cast(x, "float32")
    shape = shape_of(value)
    if axis is None:
        found = median(reshape(value, (-1,)), 0)
        return reshape(found, (1,) * len(shape)) if keepdims else found
    (place,) = normalized_axes(axis, len(shape))
    size = check_static_axis(shape, place, "median")
    ordered = sort(value, place)
    middle = Slice(place, (size - 1) // 2, size // 2 + 1)(ordered)
    return mean(middle, place, keepdims)


def rms_normalization(x: Any, scale: Any = 1.0, axis: int = -1, epsilon: float = 1e-7) -> Any:
    """x divided by the root of its mean square along `axis`, times `scale`."""
    value = cast(x, "float32")
    size = rsqrt(add(mean(square(value), axis, keepdims=True), epsilon))
    return multiply(multiply(value, size), scale)


def logsumexp(x: Any, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Any:
    """The logarithm of the sum of e^x over `axis` (None: all), without overflow."""
    value = cast(x, "float32")
    largest = stop_gradient(max_over(value, axis, keepdims=True))
    shift = where(isfinite(largest), largest, 0.0)
    total = add(log(sum_over(exp(subtract(value, shift)), axis, keepdims=True)), shift)
    if keepdims:
        return total
    axes = normalized_axes(axis, len(shape_of(value)))
    return reshape(total, tuple(dim for i, dim in enumerate(shape_of(value)) if i not in axes))


def std(x: Any, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Any:
    """The square root of the mean of squared deviations."""
    return sqrt(var(x, axis, keepdims))


def average(x: Any, axis: int | Sequence[int] | None = None, weights: Any = None) -> Any:
    """The mean over `axis`, weighted by `weights` of the same shape."""
    if weights is None:
        return mean(x, axis)
    weight = cast(weights, "float32")
    return divide(sum_over(multiply(cast(x, "float32"), weight), axis), sum_over(weight, axis))


def count_nonzero(x: Any, axis: int | Sequence[int] | None = None) -> Any:
    """How many values are not 0, int32."""
    return sum_over(cast(cast(x, "bool"), "int32"), axis)


def norm(
    x: Any,
    ord: Any = None,
    axis: int | Sequence[int] | None = None,
    keepdims: bool = False,  # noqa: A002
) -> Any:
    """Length of vectors along `axis`: Euclidean by default, or of order `ord` (1, 2, inf, any number).

    For two or more axes (None: all), or `ord="fro"`, the root of the sum of all squares.
    """
    value = cast(x, "float32")
    axes = normalized_axes(axis, len(shape_of(value)))
    if ord in (None, "fro", 2) and (ord != 2 or len(axes) == 1):
        return sqrt(sum_over(square(value), axes, keepdims))
    if len(axes) != 1 or isinstance(ord, str):
        raise ValueError(
            f"norm: order {ord!r} over {len(axes)} axes is not supported; use one axis, or ord=None"
        )
    size = magnitude(value)
    if ord == 1:
        return sum_over(size, axes, keepdims)
    if ord == math.inf:
        return max_over(size, axes, keepdims)
    return power(sum_over(power(size, ord), axes, keepdims), 1.0 / ord)


def normalize(x: Any, axis: int | Sequence[int] = -1, order: float = 2, epsilon: float = 1e-12) -> Any:
    """x divided by its length along `axis`; lengths below about `epsilon` count as that."""
    value = cast(x, "float32")
    if order == 2:
        squares = sum_over(square(value), axis, keepdims=True)
        return multiply(value, rsqrt(maximum(squares, epsilon)))
    if not isinstance(axis, int):
        raise ValueError(f"normalize: order {order} needs a single axis. Received: axis={axis}")
    return divide(value, maximum(norm(value, order, axis, keepdims=True), epsilon))
