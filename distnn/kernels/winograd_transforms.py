"""The transforms of Winograd's convolution F(4x4, 3x3), for a register of channels at a time.

With the points p = 0, 5/8, -5/8, 3/2, -3/2 and infinity, an output tile of 4 x 4 is `A^T [U * V] A`, where
`V = B^T d B` of its 6 x 6 inputs and `U = G g G^T` of the 3 x 3 kernel:

    A^T[j, i] = p_i^j        G[i, k] = p_i^k / prod_{j != i} (p_i - p_j)
    B^T[i, :] = coefficients of prod_{j != i} (x - p_j)

and infinity has the highest powers. These points keep float32's error at 3 to 5 times that of the direct sum;
the textbook's (1 and 2) double it. Gradients need the transposes of all three. Even and odd powers are shared
by a point and its negative. Only `winograd.py` calls these; all take addresses and strides in bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from distnn.kernels.instructions import I64, LANES, call, hidden, int64, load, store, vector_type
from distnn.kernels.masked_lanes import finished, floor_of
from distnn.kernels.pooled_lanes import pooled, store_numbers

TILE, TAPS, SIDE = 4, 3, 6
"""Outputs, kernel and inputs of a tile along an axis."""
_P, _Q = 0.625, 1.5
_P2, _Q2 = _P * _P, _Q * _Q
_SUM, _PRODUCT = _P2 + _Q2, _P2 * _Q2
_NORM_0, _NORM_P, _NORM_Q = 1 / _PRODUCT, 1 / (2 * _P2 * (_P2 - _Q2)), 1 / (2 * _Q2 * (_Q2 - _P2))

Line = list[Any]
Transform = Callable[[Any, Line], Line]


def _splat(value: float) -> Any:
    return ir.Constant(vector_type(LANES), [value] * LANES)


def _fma(builder: Any, a: Any, factor: float, c: Any) -> Any:
    return call(builder, f"llvm.fma.v{LANES}f32", a.type, a, _splat(factor), c)


def _times(builder: Any, a: Any, factor: float) -> Any:
    return builder.fmul(a, _splat(factor))


def _pair(builder: Any, even: Any, odd: Any) -> Line:
    """The values at a point and at its negative."""
    return [builder.fadd(even, odd), builder.fsub(even, odd)]


def _inputs(builder: Any, d: Line) -> Line:
    """B^T d."""
    found = [_fma(builder, d[0], _PRODUCT, _fma(builder, d[2], -_SUM, d[4]))]
    for point, other in ((_P, _Q2), (_Q, _P2)):
        even, odd = _fma(builder, d[2], -other, d[4]), _fma(builder, d[1], -other, d[3])
        found += [_fma(builder, odd, point, even), _fma(builder, odd, -point, even)]
    return [*found, _fma(builder, d[1], _PRODUCT, _fma(builder, d[3], -_SUM, d[5]))]


def _input_gradients(builder: Any, v: Line) -> Line:
    """B v."""
    sum_p, difference_p = builder.fadd(v[1], v[2]), _times(builder, builder.fsub(v[1], v[2]), _P)
    sum_q, difference_q = builder.fadd(v[3], v[4]), _times(builder, builder.fsub(v[3], v[4]), _Q)
    even = _fma(builder, sum_q, -_P2, _times(builder, sum_p, -_Q2))
    odd = _fma(builder, difference_q, -_P2, _times(builder, difference_p, -_Q2))
    return [
        _times(builder, v[0], _PRODUCT),
        _fma(builder, v[5], _PRODUCT, odd),
        _fma(builder, v[0], -_SUM, even),
        _fma(builder, v[5], -_SUM, builder.fadd(difference_p, difference_q)),
        builder.fadd(builder.fadd(v[0], sum_p), sum_q),
        v[5],
    ]


def _outputs(builder: Any, m: Line) -> Line:
    """A^T m."""
    sum_p, difference_p = builder.fadd(m[1], m[2]), builder.fsub(m[1], m[2])
    sum_q, difference_q = builder.fadd(m[3], m[4]), builder.fsub(m[3], m[4])
    return [
        builder.fadd(builder.fadd(m[0], sum_p), sum_q),
        _fma(builder, difference_q, _Q, _times(builder, difference_p, _P)),
        _fma(builder, sum_q, _Q2, _times(builder, sum_p, _P2)),
        _fma(builder, difference_q, _Q * _Q2, _fma(builder, difference_p, _P * _P2, m[5])),
    ]


def _output_gradients(builder: Any, y: Line) -> Line:
    """A y."""
    found = [y[0]]
    for point, square in ((_P, _P2), (_Q, _Q2)):
        even = _fma(builder, y[2], square, y[0])
        odd = _fma(builder, y[3], point * square, _times(builder, y[1], point))
        found += _pair(builder, even, odd)
    return [*found, y[3]]


def _kernels(builder: Any, g: Line) -> Line:
    """G g."""
    found = [_times(builder, g[0], _NORM_0)]
    for point, square, norm in ((_P, _P2, _NORM_P), (_Q, _Q2, _NORM_Q)):
        even = _fma(builder, g[2], square * norm, _times(builder, g[0], norm))
        found += _pair(builder, even, _times(builder, g[1], point * norm))
    return [*found, g[2]]


def _kernel_gradients(builder: Any, u: Line) -> Line:
    """G^T u."""
    sum_p, difference_p = builder.fadd(u[1], u[2]), builder.fsub(u[1], u[2])
    sum_q, difference_q = builder.fadd(u[3], u[4]), builder.fsub(u[3], u[4])
    both = _fma(builder, sum_q, _NORM_Q, _times(builder, sum_p, _NORM_P))
    return [
        _fma(builder, u[0], _NORM_0, both),
        _fma(builder, difference_q, _Q * _NORM_Q, _times(builder, difference_p, _P * _NORM_P)),
        _fma(builder, sum_q, _Q2 * _NORM_Q, _fma(builder, sum_p, _P2 * _NORM_P, u[5])),
    ]


@contextmanager
def _repeated(builder: Any, count: int) -> Iterator[Any]:
    """A loop that the compiler does not unroll: that takes it long, and a transform is no quicker for it."""
    with cgutils.for_range(builder, hidden(builder, int64(count))) as loop:
        yield loop.index


def _transform(
    builder: Any, source: Line, size: int, transform: Transform, finish: Callable[[Any, Line], None]
) -> None:
    """The transform along both axes of size x size vectors at (base, row stride, column stride).

    `finish` is given each column of the result, and its number.
    """
    base, row, column = source
    made = len(transform(builder, [ir.Constant(vector_type(LANES), None)] * size))
    vector_bytes = 4 * LANES
    with builder.goto_entry_block():
        memory = builder.alloca(ir.ArrayType(vector_type(LANES), size * made))
        memory.align = vector_bytes
    between = builder.ptrtoint(memory, I64)
    with _repeated(builder, size) as i:
        start = builder.add(base, builder.mul(row, i))
        places = [builder.add(start, builder.mul(column, int64(j))) for j in range(size)]
        line = builder.add(between, builder.mul(i, int64(vector_bytes * made)))
        done = transform(builder, [load(builder, place, LANES) for place in places])
        for j, vector in enumerate(done):
            store(builder, builder.add(line, int64(vector_bytes * j)), vector)
    with _repeated(builder, made) as j:
        top = builder.add(between, builder.mul(j, int64(vector_bytes)))
        places = [builder.add(top, int64(vector_bytes * made * i)) for i in range(size)]
        finish(j, transform(builder, [load(builder, place, LANES) for place in places]))


def _column(builder: Any, place: Line, size: int, number: Any) -> Line:
    """The addresses of a column of vectors, from (base, row stride, column stride)."""
    base, row, column = place
    top = builder.add(base, builder.mul(column, number))
    return [builder.add(top, builder.mul(row, int64(i))) for i in range(size)]


def _transform_intrinsic(transform: Transform, size: int, is_added: bool = False) -> Any:
    """target[i, j] = the transform, along both axes, of source[i, j] with i, j < size; or added to it."""

    @intrinsic  # type: ignore[untyped-decorator]
    def operation(
        typing_context: Any,
        source: Any,
        source_row: Any,
        source_column: Any,
        target: Any,
        target_row: Any,
        target_column: Any,
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            def finish(number: Any, line: Line) -> None:
                for vector, address in zip(
                    line, _column(builder, arguments[3:], len(line), number), strict=True
                ):
                    if is_added:
                        vector = builder.fadd(load(builder, address, LANES), vector)
                    store(builder, address, vector)

            _transform(builder, arguments[:3], size, transform, finish)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 6), generate

    return operation


@intrinsic  # type: ignore[untyped-decorator]
def transform_outputs(
    typing_context: Any,
    source: Any,
    source_row: Any,
    source_column: Any,
    target: Any,
    target_row: Any,
    target_column: Any,
    bias: Any,
    floor: Any,
) -> Any:
    """y = A^T M A: 6 x 6 to 4 x 4; plus the bias at an address, and at least `floor`, the bits of a float.

    A bias of -0 and a floor of minus infinity change nothing.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        added, lowest = load(builder, arguments[6], LANES), floor_of(builder, arguments[7])

        def finish(number: Any, line: Line) -> None:
            for vector, address in zip(line, _column(builder, arguments[3:6], TILE, number), strict=True):
                store(builder, address, finished(builder, vector, added, lowest))

        _transform(builder, arguments[:3], SIDE, _outputs, finish)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 8), generate


@intrinsic  # type: ignore[untyped-decorator]
def pool_outputs(
    typing_context: Any,
    source: Any,
    source_row: Any,
    source_column: Any,
    target: Any,
    target_row: Any,
    target_column: Any,
    bias: Any,
    floor: Any,
    chosen: Any,
    rows: Any,
    columns: Any,
) -> Any:
    """The same pooled 2 x 2, and the numbers of the taps to `chosen`, a byte for each float of the target.

    Only the first `rows` and `columns` of the 2 x 2 results are written.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        added, lowest = load(builder, arguments[6], LANES), floor_of(builder, arguments[7])
        chosen, rows, columns = arguments[8:]
        quarter = [builder.ashr(stride, int64(2)) for stride in arguments[4:6]]
        with builder.goto_entry_block():
            memory = builder.alloca(ir.ArrayType(vector_type(LANES), TILE * TILE))
            memory.align = 4 * LANES
        made = [builder.ptrtoint(memory, I64), int64(4 * LANES), int64(4 * LANES * TILE)]

        def keep(number: Any, line: Line) -> None:
            for vector, address in zip(line, _column(builder, made, TILE, number), strict=True):
                store(builder, address, vector)

        _transform(builder, arguments[:3], SIDE, _outputs, keep)
        with _repeated(builder, TILE // 2) as j:
            left = builder.mul(j, int64(2))
            lines = [_column(builder, made, TILE, builder.add(left, int64(x))) for x in (0, 1)]
            targets = _column(builder, arguments[3:6], TILE // 2, j)
            numbers_at = _column(builder, [chosen, *quarter], TILE // 2, j)
            is_column = builder.icmp_signed(">", columns, j)
            for i in range(TILE // 2):
                window = [load(builder, lines[x][2 * i + y], LANES) for y in (0, 1) for x in (0, 1)]
                best, numbers = pooled(builder, window, added, lowest)
                is_inside = builder.and_(is_column, builder.icmp_signed(">", rows, int64(i)))
                with builder.if_then(is_inside):
                    store(builder, targets[i], best)
                    store_numbers(builder, numbers_at[i], numbers)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 11), generate


transform_inputs = _transform_intrinsic(_inputs, SIDE)
"""V = B^T d B: 6 x 6 to 6 x 6."""
transform_output_gradients = _transform_intrinsic(_output_gradients, TILE)
"""dM = A dy A^T: 4 x 4 to 6 x 6."""
add_input_gradients = _transform_intrinsic(_input_gradients, SIDE, is_added=True)
"""dd += B dV B^T: 6 x 6 to 6 x 6."""
transform_kernels = _transform_intrinsic(_kernels, TAPS)
"""U = G g G^T: 3 x 3 to 6 x 6."""
transform_kernel_gradients = _transform_intrinsic(_kernel_gradients, SIDE)
"""dg = G^T dU G: 6 x 6 to 3 x 3."""
