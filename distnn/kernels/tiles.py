"""Register tiles: the few instructions, in explicit vectors, that every matrix product is made of.

A tile keeps `rows` x `vectors` accumulators in registers and runs down k: load a row of B, splat an element
of each row of A, fuse multiply and add. So an element of C is one chain `c = fma(a[m, k], b[k, n], c)` over
rising k, begun at +0 (or at what C holds), whatever the tile's shape: bits depend on neither it nor the CPU.
Beside it: copies and transposes of small blocks into panels and back, and memory on the stack to hold them.
All take addresses and byte strides as integers. Only `blocking.py` calls them, in compiled code.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, config, types
from numba.core.codegen import get_host_cpu_features
from numba.extending import intrinsic

_FLOAT = ir.FloatType()
_BYTE_POINTER = ir.IntType(8).as_pointer()
_I32, _I64 = ir.IntType(32), ir.IntType(64)
_AVX2_CPUS = ("haswell", "broadwell", "skylake", "znver1", "znver2", "znver3")


def _target_features() -> set[str]:
    """Vector features of the CPU that Numba compiles for: this one, or the one forced by its environment."""
    features = config.CPU_FEATURES
    if features is None:
        features = get_host_cpu_features()
    elif not features and config.CPU_NAME in _AVX2_CPUS:
        features = "+avx2,+fma"
    return {name.strip()[1:] for name in features.split(",") if name.strip().startswith("+")}


_FEATURES = _target_features()
HAS_TILES = {"avx2", "fma"} <= _FEATURES and not config.DISABLE_JIT
"""Whether tiles can be compiled: without hardware FMA each would call a library function per lane."""
LANES = 16 if "avx512f" in _FEATURES else 8
"""Floats in a register."""
TILE_ROWS = 8 if LANES == 16 else 6
"""Rows of the largest tile: 8 x 32 fills 16 of AVX-512's 32 registers, 6 x 16 fills 12 of AVX2's 16."""
PANEL = 2 * LANES
"""Columns of a tile, and of a panel of packed B."""
WIDE = PANEL * (4 if LANES == 16 else 2)
"""Columns of the tiles of one and two rows, which else had too few chains to keep the units busy."""
SCRATCH_FLOATS = 112 * 1024
"""Size of the stack memory that `scratch_memory` gives."""


def _int32(value: int) -> Any:
    return ir.Constant(_I32, value)


def _int64(value: int) -> Any:
    return ir.Constant(_I64, value)


def _vector_type(lanes: int) -> Any:
    return ir.VectorType(_FLOAT, lanes)


def _call(builder: Any, name: str, result: Any, *arguments: Any) -> Any:
    function_type = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, function_type, name), arguments)


def _at(builder: Any, address: Any, pointed: Any) -> Any:
    return builder.inttoptr(address, pointed.as_pointer())


def _load(builder: Any, address: Any, lanes: int) -> Any:
    return builder.load(_at(builder, address, _vector_type(lanes)), align=4)


def _store(builder: Any, address: Any, vector: Any) -> None:
    builder.store(vector, _at(builder, address, vector.type), align=4)


def _mask(builder: Any, count: Any, first: int, lanes: int) -> Any:
    """Which of the lanes `first` ... stand for one of the first `count` elements."""
    wide = ir.VectorType(_I64, lanes)
    undefined = ir.Constant(wide, ir.Undefined)
    one = builder.insert_element(undefined, count, _int32(0))
    zeros = ir.Constant(ir.VectorType(_I32, lanes), [0] * lanes)
    splat = builder.shuffle_vector(one, undefined, zeros)
    return builder.icmp_signed(">", splat, ir.Constant(wide, list(range(first, first + lanes))))


def _masked_load(builder: Any, address: Any, mask: Any) -> Any:
    lanes = mask.type.count
    vector = _vector_type(lanes)
    zero = ir.Constant(vector, [0.0] * lanes)
    pointer = _at(builder, address, vector)
    return _call(builder, f"llvm.masked.load.v{lanes}f32.p0", vector, pointer, _int32(4), mask, zero)


def _masked_store(builder: Any, address: Any, vector: Any, mask: Any) -> None:
    pointer = _at(builder, address, vector.type)
    name = f"llvm.masked.store.v{vector.type.count}f32.p0"
    _call(builder, name, ir.VoidType(), vector, pointer, _int32(4), mask)


def _splat_at(builder: Any, address: Any, lanes: int) -> Any:
    vector = _vector_type(lanes)
    undefined = ir.Constant(vector, ir.Undefined)
    scalar = builder.load(_at(builder, address, _FLOAT), align=4)
    zeros = ir.Constant(ir.VectorType(_I32, lanes), [0] * lanes)
    return builder.shuffle_vector(builder.insert_element(undefined, scalar, _int32(0)), undefined, zeros)


def _prefetch(builder: Any, address: Any, is_write: bool) -> None:
    pointer = _at(builder, address, ir.IntType(8))
    level = 3 if is_write else 2  # into L1; into L2, which holds more than one panel
    _call(
        builder, "llvm.prefetch.p0", ir.VoidType(), pointer, _int32(int(is_write)), _int32(level), _int32(1)
    )


def _hidden(builder: Any, value: Any) -> Any:
    """The same value, of which the compiler does not know where it comes from."""
    return builder.asm(ir.FunctionType(_I64, [_I64]), "", "=r,0", [value], False)


_LED_ROWS = 3
"""Rows of A whose addresses are formed from the first one's: a processor adds once or twice a stride for nothing."""


class _Tile:
    """Emits one tile; `rows` x `vectors` accumulators of `lanes` floats."""

    def __init__(
        self, builder: Any, rows: int, vectors: int, operands: Any, keep: Any = None, lanes: int = LANES
    ) -> None:
        self.builder, self.rows, self.vectors, self.lanes, self.keep = builder, rows, vectors, lanes, keep
        self.a, self.a_row, self.a_k, self.b, self.b_k = operands[:5]
        self.c, self.c_row, self.c_ahead, self.columns, self.count, self.is_begun = operands[5:11]
        self.ahead, self.ahead_shift, self.ahead_step, self.ahead_more = operands[11:]

    def addresses(self, base: Any, stride: Any) -> list[Any]:
        return [self.builder.add(base, self.builder.mul(stride, _int64(row))) for row in range(self.rows)]

    def vectors_at(self, address: Any) -> list[Any]:
        return [self.builder.add(address, _int64(4 * self.lanes * v)) for v in range(self.vectors)]

    def emit(self) -> None:
        builder = self.builder
        for row in self.addresses(self.c_ahead, self.c_row):
            for address in self.vectors_at(row):
                _prefetch(builder, address, is_write=True)
        targets = self.addresses(self.c, self.c_row)
        masks = [_mask(builder, self.columns, self.lanes * v, self.lanes) for v in range(self.vectors)]
        is_whole = builder.icmp_signed(">=", self.columns, _int64(self.lanes * self.vectors))
        sums = self.run_down_k(self.first_sums(targets, masks, is_whole))
        with builder.if_else(is_whole) as (whole, partial):
            with whole:
                for address, _, value in self.places(targets, sums):
                    _store(builder, address, value)
            with partial:
                for address, vector, value in self.places(targets, sums):
                    _masked_store(builder, address, value, masks[vector])

    def places(self, targets: list[Any], sums: list[Any]) -> Any:
        for row, target in enumerate(targets):
            for vector, address in enumerate(self.vectors_at(target)):
                yield address, vector, sums[row * self.vectors + vector]

    def first_sums(self, targets: list[Any], masks: list[Any], is_whole: Any) -> list[Any]:
        """Zeros, or what C holds."""
        builder = self.builder
        size = self.rows * self.vectors
        zero = ir.Constant(_vector_type(self.lanes), [0.0] * self.lanes)
        blocks = [builder.append_basic_block(f"tile.{name}") for name in ("go.on", "whole", "part", "run")]
        go_on, whole, part, run = blocks
        start = builder.block
        builder.cbranch(builder.icmp_signed("!=", self.is_begun, _int64(0)), go_on, run)
        builder.position_at_end(go_on)
        builder.cbranch(is_whole, whole, part)
        held: dict[Any, list[Any]] = {start: [zero] * size}
        for block in (whole, part):
            builder.position_at_end(block)
            held[block] = [
                _load(builder, address, self.lanes)
                if block is whole
                else _masked_load(builder, address, masks[vector])
                for address, vector, _ in self.places(targets, [zero] * size)
            ]
            builder.branch(run)
        builder.position_at_end(run)
        sums = [builder.phi(zero.type) for _ in range(size)]
        for block, values in held.items():
            for phi, value in zip(sums, values, strict=True):
                phi.add_incoming(value, block)
        return sums

    def run_down_k(self, sums: list[Any]) -> list[Any]:
        builder = self.builder
        leads = self.addresses(self.a, self.a_row)[::_LED_ROWS]
        starts = [_int64(0), self.b, *leads, *sums]
        before = builder.block
        head, body, done = (builder.append_basic_block(f"tile.{name}") for name in ("head", "body", "done"))
        builder.branch(head)
        builder.position_at_end(head)
        phis = [builder.phi(value.type) for value in starts]
        index, row_b, totals = phis[0], phis[1], phis[2 + len(leads) :]
        builder.cbranch(builder.icmp_signed("<", index, self.count), body, done)
        builder.position_at_end(body)
        if self.vectors > 1:
            self.prefetch(index)
        b = [_load(builder, address, self.lanes) for address in self.vectors_at(row_b)]
        if self.keep is not None:
            kept = builder.add(self.keep, builder.mul(index, _int64(4 * PANEL)))
            for address, vector in zip(self.vectors_at(kept), b, strict=True):
                _store(builder, address, vector)
        leads = [_hidden(builder, phi) for phi in phis[2 : 2 + len(leads)]]
        following = [
            builder.add(index, _int64(1)),
            builder.add(row_b, self.b_k),
            *(builder.add(lead, self.a_k) for lead in leads),
            *self.grown(totals, leads, b),
        ]
        for phi, start, value in zip(phis, starts, following, strict=True):
            phi.add_incoming(start, before)
            phi.add_incoming(value, body)
        builder.branch(head)
        builder.position_at_end(done)
        return totals

    def prefetch(self, index: Any) -> None:
        builder = self.builder
        step = builder.mul(builder.ashr(index, self.ahead_shift), self.ahead_step)
        line = builder.add(self.ahead, step)
        _prefetch(builder, line, is_write=False)
        _prefetch(builder, builder.add(line, self.ahead_more), is_write=False)

    def grown(self, totals: list[Any], leads: list[Any], b: list[Any]) -> list[Any]:
        """The sums and one product more each."""
        builder = self.builder
        result: list[Any] = []
        for row in range(self.rows):
            distance = builder.mul(self.a_row, _int64(row % _LED_ROWS))
            a = _splat_at(builder, builder.add(leads[row // _LED_ROWS], distance), self.lanes)
            for vector in b:
                name = f"llvm.fma.v{self.lanes}f32"
                result.append(_call(builder, name, a.type, a, vector, totals[len(result)]))
        return result


@intrinsic  # type: ignore[untyped-decorator]
def multiply_tile(
    typing_context: Any,
    a: Any,
    a_row: Any,
    a_k: Any,
    b: Any,
    b_k: Any,
    c: Any,
    c_row: Any,
    c_ahead: Any,
    columns: Any,
    count: Any,
    is_begun: Any,
    ahead: Any,
    ahead_shift: Any,
    ahead_step: Any,
    ahead_more: Any,
    rows: Any,
    keep: Any,
) -> Any:
    """C (+)= A @ B for the first TILE_ROWS of `rows` rows and the first PANEL of `columns` columns.

    A has `count` columns, element (m, k) at a + m a_row + k a_k. B's rows are b_k apart and PANEL long (LANES
    are enough where `columns` is no more). One to three rows may have WIDE columns. With `is_begun` the chains
    go on from what C holds. Unless `keep` is 0, the rows of B, of which C must have as many as a tile, are
    also written there, packed. Meanwhile memory is fetched: for writing C's rows at `c_ahead`, and for each k
    the lines at ahead + (k >> ahead_shift) ahead_step and `ahead_more` further.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        *operands, rows, keep = arguments
        columns = operands[8]

        def emit_by_width() -> None:
            with builder.if_else(builder.icmp_signed(">", columns, _int64(LANES))) as (wide, narrow):
                with wide:
                    _emit_rows(builder, 2, rows, operands)
                with narrow:
                    _emit_rows(builder, 1, rows, operands)

        with builder.if_else(builder.icmp_signed("!=", keep, _int64(0))) as (keeping, plain):
            with keeping:
                _Tile(builder, TILE_ROWS, 2, operands, keep).emit()
            with plain:
                with builder.if_else(builder.icmp_signed(">", columns, _int64(PANEL))) as (few, usual):
                    with few:
                        _emit_sizes(builder, (2, 1), WIDE // LANES, rows, operands)
                    with usual:
                        emit_by_width()
        return context.get_dummy_value()

    return types.void(*[types.int64] * 17), generate


def _emit_rows(builder: Any, vectors: int, rows: Any, operands: Any) -> None:
    """The largest tile, or tiles of 4, 2 and 1 rows for fewer."""
    with builder.if_else(builder.icmp_signed(">=", rows, _int64(TILE_ROWS))) as (whole, fewer):
        with whole:
            if vectors == 1 and LANES == 16:
                # Half a vector is a shorter load, and as many chains in half the time.
                is_half = builder.icmp_signed("<=", operands[8], _int64(LANES // 2))
                with builder.if_else(is_half) as (half, full):
                    with half:
                        _Tile(builder, TILE_ROWS, 1, operands, lanes=LANES // 2).emit()
                    with full:
                        _Tile(builder, TILE_ROWS, 1, operands).emit()
            else:
                _Tile(builder, TILE_ROWS, vectors, operands).emit()
        with fewer:
            _emit_sizes(builder, (4, 2, 1), vectors, rows, operands)


def _emit_sizes(builder: Any, sizes: tuple[int, ...], vectors: int, rows: Any, operands: Any) -> None:
    """Tiles of these sizes, powers of two falling to 1, one of each at most, for fewer rows than twice the largest."""
    for size in sizes:
        # The rows before these: what the larger sizes took.
        first = builder.and_(rows, _int64(2 * sizes[0] - 2 * size))
        with builder.if_then(builder.icmp_signed("!=", builder.and_(rows, _int64(size)), _int64(0))):
            moved = list(operands)
            for place, stride in ((0, operands[1]), (5, operands[6]), (7, operands[6])):
                moved[place] = builder.add(operands[place], builder.mul(first, stride))
            _Tile(builder, size, vectors, moved).emit()


@intrinsic  # type: ignore[untyped-decorator]
def scratch_memory(typing_context: Any) -> Any:
    """Address of SCRATCH_FLOATS floats on the stack of the calling function, at a multiple of 64 bytes."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        with builder.goto_entry_block():
            memory = builder.alloca(ir.ArrayType(_FLOAT, SCRATCH_FLOATS))
            memory.align = 64
        return builder.ptrtoint(memory, _I64)

    return types.int64(), generate


@intrinsic  # type: ignore[untyped-decorator]
def copy_lanes(typing_context: Any, source: Any, count: Any, target: Any) -> Any:
    """LANES floats from `source` to `target`; zeros where `count` ends before."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, count, target = arguments
        with builder.if_else(builder.icmp_signed(">=", count, _int64(LANES))) as (whole, partial):
            with whole:
                _store(builder, target, _load(builder, source, LANES))
            with partial:
                mask = _mask(builder, count, 0, LANES)
                _store(builder, target, _masked_load(builder, source, mask))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


def _exchange(builder: Any, rows: list[Any], distance: int) -> list[Any]:
    """One stage of a transpose: swap the off-diagonal squares of side `distance`."""
    lanes = len(rows)
    swapped = list(rows)
    upper = [lane + (lanes - distance if lane & distance else 0) for lane in range(lanes)]
    lower = [lane + (lanes if lane & distance else distance) for lane in range(lanes)]
    for row in range(lanes):
        if not row & distance:
            pair = rows[row], rows[row + distance]
            for place, lanes_taken in ((row, upper), (row + distance, lower)):
                indices = ir.Constant(ir.VectorType(_I32, lanes), lanes_taken)
                swapped[place] = builder.shuffle_vector(*pair, indices)
    return swapped


def _transposed(builder: Any, rows: list[Any]) -> list[Any]:
    distance = 1
    while distance < LANES:
        rows = _exchange(builder, rows, distance)
        distance *= 2
    return rows


def _rows_from(builder: Any, address: Any, stride: Any) -> list[Any]:
    return [builder.add(address, builder.mul(stride, _int64(row))) for row in range(LANES)]


def _row_masks(builder: Any, rows: Any, columns: Any) -> list[Any]:
    """For each of LANES rows, which lanes are inside a block of `rows` x `columns`."""
    counts = [
        builder.select(builder.icmp_signed(">", rows, _int64(row)), columns, _int64(0))
        for row in range(LANES)
    ]
    return [_mask(builder, count, 0, LANES) for count in counts]


@intrinsic  # type: ignore[untyped-decorator]
def transpose_in(
    typing_context: Any, source: Any, source_row: Any, rows: Any, columns: Any, target: Any, target_row: Any
) -> Any:
    """LANES x LANES floats, transposed from `source` to `target`; zeros beyond `rows` and `columns`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, source_row, rows, columns, target, target_row = arguments
        full = _int64(LANES)
        is_whole = builder.and_(
            builder.icmp_signed(">=", rows, full), builder.icmp_signed(">=", columns, full)
        )
        whole, part, run = (builder.append_basic_block(f"block.{name}") for name in ("whole", "part", "run"))
        addresses = _rows_from(builder, source, source_row)
        builder.cbranch(is_whole, whole, part)
        builder.position_at_end(whole)
        lines = [_load(builder, address, LANES) for address in addresses]
        builder.branch(run)
        builder.position_at_end(part)
        masks = _row_masks(builder, rows, columns)
        partial = [_masked_load(builder, *pair) for pair in zip(addresses, masks, strict=True)]
        builder.branch(run)
        builder.position_at_end(run)
        merged = [builder.phi(line.type) for line in lines]
        for phi, line, other in zip(merged, lines, partial, strict=True):
            phi.add_incoming(line, whole)
            phi.add_incoming(other, part)
        targets = _rows_from(builder, target, target_row)
        for address, vector in zip(targets, _transposed(builder, merged), strict=True):
            _store(builder, address, vector)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 6), generate


@intrinsic  # type: ignore[untyped-decorator]
def transpose_out(
    typing_context: Any, source: Any, source_row: Any, rows: Any, columns: Any, target: Any, target_row: Any
) -> Any:
    """The first `rows` x `columns` of LANES x LANES floats at `source`, transposed to `target`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, source_row, rows, columns, target, target_row = arguments
        lines = [_load(builder, address, LANES) for address in _rows_from(builder, source, source_row)]
        targets = _rows_from(builder, target, target_row)
        masks = _row_masks(builder, columns, rows)
        for address, vector, mask in zip(targets, _transposed(builder, lines), masks, strict=True):
            _masked_store(builder, address, vector, mask)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 6), generate
