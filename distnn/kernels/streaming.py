"""Copies that go past the caches, for memory that another core has read and will read again.

A core that writes a line which another core holds must first take it away from there. Between cores without
a common cache that takes some 25 ns a line, however far ahead one asks; written past the caches, 2 ns.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

from distnn.kernels.jit import JIT_OPTIONS, Array, emitting, kernel
from distnn.kernels.vectors import LANES, load

_LINE_BYTES = 64


@intrinsic  # type: ignore[untyped-decorator]
def _address(typing_context: Any, array: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        view = context.make_array(signature.args[0])(context, builder, arguments[0])
        return builder.ptrtoint(view.data, ir.IntType(64))

    return types.int64(array), generate


def _values_before_line(array: Array) -> int:
    """Values from the array's start to the next cache line."""
    return int(-array.ctypes.data % _LINE_BYTES) // array.itemsize


def _stream_line(array: Array, index: int, vector: Array) -> None:
    """Sixteen elements from `index` on, where a line begins, become the lanes, past the caches."""
    array[index : index + LANES] = vector


def _wait_for_streams() -> None:
    """What is written after this is seen after what was streamed before it."""


@overload(_values_before_line, strict=False, jit_options=JIT_OPTIONS)  # type: ignore[untyped-decorator]
def _overload_values_before_line(array: Any) -> Any:
    return lambda array: (-_address(array) % _LINE_BYTES) // 4


@emitting(_stream_line)
def _emit_stream(typing_context: Any, array: Any, index: Any, vector: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        view = context.make_array(signature.args[0])(context, builder, arguments[0])
        pointer = builder.gep(view.data, [arguments[1]])
        place = builder.bitcast(pointer, arguments[2].type.as_pointer())
        stored = builder.store(arguments[2], place, align=_LINE_BYTES)
        one = ir.Constant(ir.IntType(32), 1)
        stored.set_metadata("nontemporal", builder.module.add_metadata([one]))
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), generate


@emitting(_wait_for_streams)
def _emit_fence(typing_context: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), generate


@kernel
def stream(x: Array, out: Array) -> None:
    """out = x, float32, contiguous; written past the caches, and before anything that is written after it."""
    first = min(out.size, _values_before_line(out))
    lines = (out.size - first) // LANES
    for i in range(first):
        out[i] = x[i]
    for line in range(lines):
        _stream_line(out, first + line * LANES, load(x, first + line * LANES))
    for i in range(first + lines * LANES, out.size):
        out[i] = x[i]
    _wait_for_streams()
