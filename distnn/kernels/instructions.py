"""Vector instructions for products, one function each, written into the code that Numba compiles.

Each takes LLVM's builder and its values; addresses are integers. Only `tiles.py` and `panels.py` use them.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, config
from numba.core.codegen import get_host_cpu_features

FLOAT = ir.FloatType()
I32, I64 = ir.IntType(32), ir.IntType(64)
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


def int32(value: int) -> Any:
    return ir.Constant(I32, value)


def int64(value: int) -> Any:
    return ir.Constant(I64, value)


def vector_type(lanes: int) -> Any:
    return ir.VectorType(FLOAT, lanes)


def call(builder: Any, name: str, result: Any, *arguments: Any) -> Any:
    function_type = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, function_type, name), arguments)


def at(builder: Any, address: Any, pointed: Any) -> Any:
    return builder.inttoptr(address, pointed.as_pointer())


def load(builder: Any, address: Any, lanes: int) -> Any:
    return builder.load(at(builder, address, vector_type(lanes)), align=4)


def store(builder: Any, address: Any, vector: Any) -> None:
    builder.store(vector, at(builder, address, vector.type), align=4)


def mask(builder: Any, count: Any, first: int, lanes: int) -> Any:
    """Which of the lanes `first` ... stand for one of the first `count` elements."""
    wide = ir.VectorType(I64, lanes)
    undefined = ir.Constant(wide, ir.Undefined)
    one = builder.insert_element(undefined, count, int32(0))
    zeros = ir.Constant(ir.VectorType(I32, lanes), [0] * lanes)
    splat = builder.shuffle_vector(one, undefined, zeros)
    return builder.icmp_signed(">", splat, ir.Constant(wide, list(range(first, first + lanes))))


def masked_load(builder: Any, address: Any, mask: Any) -> Any:
    lanes = mask.type.count
    vector = vector_type(lanes)
    zero = ir.Constant(vector, [0.0] * lanes)
    pointer = at(builder, address, vector)
    return call(builder, f"llvm.masked.load.v{lanes}f32.p0", vector, pointer, int32(4), mask, zero)


def masked_store(builder: Any, address: Any, vector: Any, mask: Any) -> None:
    pointer = at(builder, address, vector.type)
    name = f"llvm.masked.store.v{vector.type.count}f32.p0"
    call(builder, name, ir.VoidType(), vector, pointer, int32(4), mask)


def splat_at(builder: Any, address: Any, lanes: int) -> Any:
    return splat(builder, builder.load(at(builder, address, FLOAT), align=4), lanes)


def splat(builder: Any, scalar: Any, lanes: int) -> Any:
    undefined = ir.Constant(vector_type(lanes), ir.Undefined)
    zeros = ir.Constant(ir.VectorType(I32, lanes), [0] * lanes)
    return builder.shuffle_vector(builder.insert_element(undefined, scalar, int32(0)), undefined, zeros)


def prefetch(builder: Any, address: Any, is_write: bool) -> None:
    pointer = at(builder, address, ir.IntType(8))
    level = 3 if is_write else 2  # into L1; into L2, which holds more than one panel
    call(builder, "llvm.prefetch.p0", ir.VoidType(), pointer, int32(int(is_write)), int32(level), int32(1))


def hidden(builder: Any, value: Any) -> Any:
    """The same value; the compiler does not learn where it comes from.

    Else it forms the addresses of a tile's rows in a way that needs more registers than there are.
    """
    return builder.asm(ir.FunctionType(I64, [I64]), "", "=r,0", [value], False)
