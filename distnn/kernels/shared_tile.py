"""The register tiles as one compiled function that other kernels call by its address.

Tiles take a second or two to compile, and would in every kernel that holds them. So there is one function,
`multiply_panel`, and kernels that are given its address (a word of their plan) call it as Numba itself would:
`int32 f(result*, error**, arguments...)`.
"""

from __future__ import annotations

import functools
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from distnn.kernels.jit import kernel
from distnn.kernels.tiles import PANEL, TILE_ROWS, multiply_tile

_ARGUMENTS = 10


@kernel
def multiply_panel(
    a: int,
    a_row: int,
    a_k: int,
    panel: int,
    panel_k: int,
    c: int,
    c_row: int,
    rows: int,
    columns: int,
    count: int,
) -> None:
    """C = A @ B for any number of rows and the first PANEL of `columns` columns, as in `multiply_tile`."""
    for row in range(0, rows, TILE_ROWS):
        multiply_tile(
            a + row * a_row,
            a_row,
            a_k,
            panel,
            panel_k,
            c + row * c_row,
            c_row,
            c + row * c_row,
            min(columns, PANEL),
            count,
            0,
            panel,
            0,
            0,
            0,
            min(TILE_ROWS, rows - row),
            0,
        )


@functools.cache
def panel_address() -> int:
    """Where the machine code of `multiply_panel` is, for as long as the process lives."""
    kinds = (types.int64,) * _ARGUMENTS
    dispatcher: Any = multiply_panel
    dispatcher.compile(kinds)
    compiled = dispatcher.overloads[kinds]
    address: int = compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)
    return address


@intrinsic  # type: ignore[untyped-decorator]
def call_panel(
    typing_context: Any,
    address: Any,
    a: Any,
    a_row: Any,
    a_k: Any,
    panel: Any,
    panel_k: Any,
    c: Any,
    c_row: Any,
    rows: Any,
    columns: Any,
    count: Any,
) -> Any:
    """`multiply_panel`, whose code is at `address`; it raises nothing."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = ir.IntType(8).as_pointer()
        places = [cgutils.alloca_once(builder, pointer) for _ in range(2)]
        passed = [*places, *arguments[1:]]
        kind = ir.FunctionType(ir.IntType(32), [value.type for value in passed])
        builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), passed)
        return context.get_dummy_value()

    return types.void(*[types.int64] * (1 + _ARGUMENTS)), generate
