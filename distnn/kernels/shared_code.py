"""Compiled functions that kernels call by their address.

Numba compiles what a kernel calls into it, so what takes long to compile would in every kernel that uses it.
Such a function is compiled once here; kernels are given its address, a word of their plan, and call it as
Numba itself would. It returns nothing and raises nothing.
"""

from __future__ import annotations

from typing import Any

from numba.core import types
from numba.extending import intrinsic


def address_of(kernel: Any, kinds: tuple[Any, ...]) -> int:
    """Where the machine code for arguments of these types is, for as long as the kernel lives."""
    kernel.compile(kinds)
    compiled = kernel.overloads[kinds]
    address: int = compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)
    return address


@intrinsic  # type: ignore[untyped-decorator]
def call_at(typing_context: Any, address: Any, arguments: Any) -> Any:
    """Call the function at `address` with a tuple of arguments, of exactly the types it was compiled for."""
    kinds = tuple(types.int64 if isinstance(kind, types.Integer) else kind for kind in arguments)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        given = [builder.extract_value(values[1], i) for i in range(len(kinds))]
        passed = [
            context.cast(builder, value, kind, wanted)
            for value, kind, wanted in zip(given, arguments, kinds, strict=True)
        ]
        call = context.call_conv
        pointer = call.get_function_type(types.none, kinds).as_pointer()
        call.call_function(builder, builder.inttoptr(values[0], pointer), types.none, kinds, passed)
        return context.get_dummy_value()

    return types.void(types.int64, arguments), generate
