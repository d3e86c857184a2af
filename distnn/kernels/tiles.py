"""Register tiles: the few instructions, in explicit vectors, that every matrix product is made of.

A tile keeps `rows` x `vectors` accumulators in registers and runs down k: load a row of B, splat an element
of each row of A, fuse multiply and add. So an element of C is one chain `c = fma(a[m, k], b[k, n], c)` over
rising k, begun at +0 (or at what C holds), whatever the tile's shape: bits depend on neither it nor the CPU.
Addresses and byte strides are integers. Only `blocking.py` calls it, in compiled code.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from distnn.kernels.instructions import (
    LANES,
    call,
    hidden,
    int64,
    load,
    mask,
    masked_load,
    masked_store,
    prefetch,
    splat_at,
    store,
    vector_type,
)

TILE_ROWS = 8 if LANES == 16 else 6
"""Rows of the largest tile: 8 x 32 fills 16 of AVX-512's 32 registers, 6 x 16 fills 12 of AVX2's 16."""
PANEL = 2 * LANES
"""Columns of a tile, and of a panel of packed B."""
WIDE = PANEL * (4 if LANES == 16 else 2)
"""Columns of tiles of one and two rows, which else had too few chains to keep the units busy."""

_LED_ROWS = 3
"""Rows of A whose addresses are formed from the first one's: adding a stride once or twice costs nothing."""


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
        return [self.builder.add(base, self.builder.mul(stride, int64(row))) for row in range(self.rows)]

    def vectors_at(self, address: Any) -> list[Any]:
        return [self.builder.add(address, int64(4 * self.lanes * v)) for v in range(self.vectors)]

    def emit(self) -> None:
        builder = self.builder
        for row in self.addresses(self.c_ahead, self.c_row):
            for address in self.vectors_at(row):
                prefetch(builder, address, is_write=True)
        targets = self.addresses(self.c, self.c_row)
        masks = [mask(builder, self.columns, self.lanes * v, self.lanes) for v in range(self.vectors)]
        is_whole = builder.icmp_signed(">=", self.columns, int64(self.lanes * self.vectors))
        sums = self.run_down_k(self.first_sums(targets, masks, is_whole))
        with builder.if_else(is_whole) as (whole, partial):
            with whole:
                for address, _, value in self.places(targets, sums):
                    store(builder, address, value)
            with partial:
                for address, vector, value in self.places(targets, sums):
                    masked_store(builder, address, value, masks[vector])

    def places(self, targets: list[Any], sums: list[Any]) -> Any:
        for row, target in enumerate(targets):
            for vector, address in enumerate(self.vectors_at(target)):
                yield address, vector, sums[row * self.vectors + vector]

    def first_sums(self, targets: list[Any], masks: list[Any], is_whole: Any) -> list[Any]:
        """Zeros, or what C holds."""
        builder = self.builder
        size = self.rows * self.vectors
        zero = ir.Constant(vector_type(self.lanes), [0.0] * self.lanes)
        blocks = [builder.append_basic_block(f"tile.{name}") for name in ("go.on", "whole", "part", "run")]
        go_on, whole, part, run = blocks
        start = builder.block
        builder.cbranch(builder.icmp_signed("!=", self.is_begun, int64(0)), go_on, run)
        builder.position_at_end(go_on)
        builder.cbranch(is_whole, whole, part)
        held: dict[Any, list[Any]] = {start: [zero] * size}
        for block in (whole, part):
            builder.position_at_end(block)
            held[block] = [
                load(builder, address, self.lanes)
                if block is whole
                else masked_load(builder, address, masks[vector])
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
        starts = [int64(0), self.b, *leads, *sums]
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
        b = [load(builder, address, self.lanes) for address in self.vectors_at(row_b)]
        if self.keep is not None:
            kept = builder.add(self.keep, builder.mul(index, int64(4 * PANEL)))
            for address, vector in zip(self.vectors_at(kept), b, strict=True):
                store(builder, address, vector)
        leads = [hidden(builder, phi) for phi in phis[2 : 2 + len(leads)]]
        following = [
            builder.add(index, int64(1)),
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
        prefetch(builder, line, is_write=False)
        prefetch(builder, builder.add(line, self.ahead_more), is_write=False)

    def grown(self, totals: list[Any], leads: list[Any], b: list[Any]) -> list[Any]:
        """The sums and one product more each."""
        builder = self.builder
        result: list[Any] = []
        for row in range(self.rows):
            distance = builder.mul(self.a_row, int64(row % _LED_ROWS))
            a = splat_at(builder, builder.add(leads[row // _LED_ROWS], distance), self.lanes)
            for vector in b:
                name = f"llvm.fma.v{self.lanes}f32"
                result.append(call(builder, name, a.type, a, vector, totals[len(result)]))
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
    are enough where `columns` is no more); up to three rows of C may be WIDE. With `is_begun` the chains go
    on from what C holds. Unless `keep` is 0, a whole tile also writes B's rows there, PANEL floats apart.
    Meanwhile lines are fetched that are needed next: those of C's rows at `c_ahead`, and for each k those at
    ahead + (k >> ahead_shift) ahead_step and `ahead_more` further.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        *operands, rows, keep = arguments
        columns = operands[8]

        def emit_by_width() -> None:
            with builder.if_else(builder.icmp_signed(">", columns, int64(LANES))) as (wide, narrow):
                with wide:
                    _emit_rows(builder, 2, rows, operands)
                with narrow:
                    _emit_rows(builder, 1, rows, operands)

        with builder.if_else(builder.icmp_signed("!=", keep, int64(0))) as (keeping, plain):
            with keeping:
                _Tile(builder, TILE_ROWS, 2, operands, keep).emit()
            with plain:
                with builder.if_else(builder.icmp_signed(">", columns, int64(PANEL))) as (few, usual):
                    with few:
                        _emit_sizes(builder, (2, 1), WIDE // LANES, rows, operands)
                    with usual:
                        emit_by_width()
        return context.get_dummy_value()

    return types.void(*[types.int64] * 17), generate


def _emit_rows(builder: Any, vectors: int, rows: Any, operands: Any) -> None:
    """The largest tile, or tiles of 4, 2 and 1 rows for fewer."""
    with builder.if_else(builder.icmp_signed(">=", rows, int64(TILE_ROWS))) as (whole, fewer):
        with whole:
            if vectors == 1 and LANES == 16:
                # Half a vector is a shorter load, and as many chains in half the time.
                is_half = builder.icmp_signed("<=", operands[8], int64(LANES // 2))
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
    """At most one tile of each size, powers of two down to 1, for less than twice the rows of the first."""
    for size in sizes:
        # The rows before these: what the larger sizes took.
        first = builder.and_(rows, int64(2 * sizes[0] - 2 * size))
        with builder.if_then(builder.icmp_signed("!=", builder.and_(rows, int64(size)), int64(0))):
            moved = list(operands)
            for place, stride in ((0, operands[1]), (5, operands[6]), (7, operands[6])):
                moved[place] = builder.add(operands[place], builder.mul(first, stride))
            _Tile(builder, size, vectors, moved).emit()
