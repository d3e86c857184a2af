"""Many calls of kernels made as one: machine code and arguments in a row, walked without Python.

A program calls the same kernels with the same arrays at every step. A `Tape` looks up the machine code of
each call once and writes its address and arguments down as integers; running it is one compiled loop, where
a call costs a few nanoseconds instead of a few hundred. What is no kernel (a ufunc, code of the user) stays
a call of Python between two stretches of the loop. The bytes are those of the calls one by one: it is the
same code.

How a compiled function is called is Numba's business: `int32 f(result*, error**, arguments...)`, an array as
seven or more integers, scalars as they are. Integers and floats travel in different registers, in order, and
surplus ones do no harm; so one form of call for each of a few lengths serves every kernel.
"""

from __future__ import annotations

import platform
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.dispatcher import Dispatcher
from numba.extending import intrinsic

from distnn.kernels.compiling_order import in_compiling_order
from distnn.kernels.jit import Array, kernel

Call = Callable[[], object]

LENGTH, FUNCTION, FORM, RESULT, ERROR, FLOATS, INTEGERS = 0, 1, 2, 3, 4, 5, 13
"""Where the words of an entry are: its length in words, the code's address, the form of the call, what the
function returned, where it puts its error, eight floats, the integers."""
_MAX_FLOATS = INTEGERS - FLOATS
_FORMS = (24, 48, 96)
"""A call passes so many integers; one with floats is a form of its own."""
_RETURNED_NONE = -2
"""Numba's status of a function that returned None; 0 is that of any other value."""
_MASK = (1 << 64) - 1
HAS_TAPES = platform.machine() in ("x86_64", "AMD64")
"""Tapes are tried on x86-64 only; elsewhere every call is one of Python."""

_I32, _I64, _DOUBLE = ir.IntType(32), ir.IntType(64), ir.DoubleType()


def _word(builder: Any, entry: Any, place: int, kind: Any = _I64) -> Any:
    pointer = builder.gep(entry, [ir.Constant(_I32, place)])
    return builder.load(builder.bitcast(pointer, kind.as_pointer()))


@intrinsic  # type: ignore[untyped-decorator]
def _call_entry(typing_context: Any, address: Any) -> Any:
    """Call the function of the entry that begins at `address`; its status."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        entry = builder.inttoptr(arguments[0], _I64.as_pointer())
        returned = {builder.block: ir.Constant(_I32, 1)}
        done = builder.append_basic_block("tape.done")
        choice = builder.switch(_word(builder, entry, FORM), done)
        for form in range(2 * len(_FORMS)):
            block = builder.append_basic_block(f"tape.form{form}")
            choice.add_case(ir.Constant(_I64, form), block)
            builder.position_at_end(block)
            size, floats = _FORMS[form // 2], _MAX_FLOATS if form % 2 else 0
            passed = [builder.gep(entry, [ir.Constant(_I32, place)]) for place in (RESULT, ERROR)]
            passed += [_word(builder, entry, INTEGERS + place) for place in range(size)]
            passed += [_word(builder, entry, FLOATS + place, _DOUBLE) for place in range(floats)]
            kind = ir.FunctionType(_I32, [value.type for value in passed])
            function = builder.inttoptr(_word(builder, entry, FUNCTION), kind.as_pointer())
            returned[block] = builder.call(function, passed)
            builder.branch(done)
        builder.position_at_end(done)
        status = builder.phi(_I32)
        for block, value in returned.items():
            status.add_incoming(value, block)
        return builder.sext(status, _I64)

    return types.int64(types.int64), generate


@kernel
def _run_entries(words: Array, address: int, first: int) -> int:
    """Run the entries in turn from `first` on; returns where one that failed begins, or the end."""
    place, end = first, words.size - 1
    while place < end:
        status = _call_entry(address + 8 * place)
        if status != 0 and status != _RETURNED_NONE:
            break
        words[end] += words[place + RESULT]
        place += words[place + LENGTH]
    return place


@kernel
def _run_whole(words: Array, address: int) -> int:
    """A tape within a tape: run it, and return the sum of what its functions return.

    Raises:
        RuntimeError: one failed; the caller runs it again from Python, for its exception.
    """
    words[words.size - 1] = 0
    begin = int(np.int64(0))  # a literal is a type of its own, for which the loop would be compiled again
    if _run_entries(words, address, begin) != words.size - 1:
        raise RuntimeError("a kernel of an inner tape failed")
    total: int = words[words.size - 1]
    return total


class _Unfit(Exception):  # noqa: N818  (an answer: it stays a call of Python)
    pass


@dataclass(frozen=True)
class _Code:
    """The machine code of a kernel for arguments of certain types."""

    address: int
    form: int


_codes: dict[tuple[Any, ...], _Code | None] = {}
"""By the kernel and `_type_key` of its arguments; None for what does not fit a tape."""


def _type_key(value: Any) -> Any:
    """The same for two arguments exactly if Numba gives them one type, but finer."""
    if isinstance(value, np.ndarray):
        flags = value.flags
        layout = (flags.c_contiguous, flags.f_contiguous, flags.writeable, flags.aligned)
        return value.dtype, value.ndim, layout
    return type(value)


def _compiled(function: Dispatcher, arguments: tuple[Any, ...]) -> _Code | None:
    """Compile (or load) the kernel for such arguments."""
    kinds = tuple(function.typeof_pyval(argument) for argument in arguments)
    function.compile(kinds)
    compiled = function.overloads[kinds]
    if not isinstance(compiled.signature.return_type, types.Integer | types.misc.NoneType):
        return None
    if not all(_fits(kind) for kind in kinds):
        return None
    floats = sum(kind == types.float64 for kind in kinds)
    integers = sum(
        5 + 2 * kind.ndim if isinstance(kind, types.Array) else kind != types.float64 for kind in kinds
    )
    size = next((i for i, limit in enumerate(_FORMS) if integers <= limit), None)
    if size is None or floats > _MAX_FLOATS:
        return None
    address = compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)
    return _Code(address, 2 * size + bool(floats))


def _fits(kind: Any) -> bool:
    return isinstance(kind, types.Array | types.Integer | types.Boolean) or kind == types.float64


def _key_of(call: Call) -> tuple[Any, ...] | None:
    """The kernel that is called, and the types of its arguments; None for calls of anything else."""
    if not HAS_TAPES or not isinstance(call, partial) or call.keywords:
        return None
    if not isinstance(call.func, Dispatcher):
        return None
    return (call.func, *map(_type_key, call.args))


def _compile_all(calls: Sequence[Call]) -> None:
    """Compile (or load) each kernel that is called, in the order of `compiling_order`."""
    found: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for call in calls:
        key = _key_of(call)
        if key is not None and key not in _codes:
            assert isinstance(call, partial)
            found.setdefault(key, call.args)
    for key in in_compiling_order(list(found)):
        _codes[key] = _compiled(key[0], found[key])


def _entry(call: Call) -> list[int]:
    """The words of a call of a kernel.

    Raises:
        _Unfit: if it is none, or not of a form that tapes know.
    """
    if isinstance(call, Tape) and call.whole is not None:
        return _entry(partial(_run_whole, *call.whole))
    key = _key_of(call)
    if key is None:
        raise _Unfit
    assert isinstance(call, partial)
    arguments = call.args
    if key not in _codes:
        _codes[key] = _compiled(key[0], arguments)
    code = _codes[key]
    if code is None:
        raise _Unfit
    integers: list[int] = []
    floats: list[int] = []
    for value in arguments:
        if isinstance(value, np.ndarray):
            # Neither the array's memory nor its Python object is counted: the tape keeps both alive.
            integers += (0, 0, value.size, value.itemsize, value.ctypes.data, *value.shape, *value.strides)
        elif isinstance(value, float):
            floats += struct.unpack("<q", struct.pack("<d", value))
        else:
            integers.append(int(value))
    integers += [0] * (_FORMS[code.form // 2] - len(integers))
    floats += [0] * (_MAX_FLOATS - len(floats))
    return [INTEGERS + len(integers), code.address, code.form, 0, 0, *floats, *integers]


class _Stretch:
    """Entries in a row, and a last word for the sum of what their functions returned."""

    def __init__(self) -> None:
        self._calls: dict[int, Call] = {}
        self._list: list[int] = []
        self.words: Array = np.zeros(0, np.int64)
        self.address = 0

    def append(self, call: Call, entry: list[int]) -> None:
        self._calls[len(self._list)] = call
        self._list += entry

    def close(self) -> None:
        self.words = np.array([*self._list, 0], np.int64)
        self.address = int(self.words.ctypes.data)
        self._list = []

    def run(self) -> None:
        end, place = self.words.size - 1, 0
        self.words[end] = 0
        while (place := _run_entries(self.words, self.address, place)) != end:
            # From Python again: for its exception, or to be finished there.
            self._calls[place]()
            place += int(self.words[place + LENGTH])

    @property
    def total(self) -> int:
        return int(self.words[-1])


class Tape:
    """Calls without arguments, made ready to be run in turn, again and again.

    Kernels are called by their machine code. One that raises is called again in the ordinary way; if that
    raises, too, so does the tape, else it goes on behind it. So what is called must come to the same when it
    is called twice, or bring a fallback of its own (`WithFallback`).

    Args:
        calls: `partial`s of kernels, and other tapes, are put on the tape; anything else is called.
    """

    def __init__(self, calls: Sequence[Call]) -> None:
        self.calls: tuple[Call, ...] = tuple(calls)
        self._parts: list[_Stretch | Call] = []
        _compile_all([_native(call) for call in self.calls])
        for call in self.calls:
            fallback = call.fallback if isinstance(call, WithFallback) else call
            try:
                entry = _entry(_native(call))
            except _Unfit:
                self._parts.append(call)
                continue
            if not self._parts or not isinstance(self._parts[-1], _Stretch):
                self._parts.append(_Stretch())
            stretch = self._parts[-1]
            assert isinstance(stretch, _Stretch)
            stretch.append(fallback, entry)
        self._stretches = [part for part in self._parts if isinstance(part, _Stretch)]
        for stretch in self._stretches:
            stretch.close()
        runs: list[Call] = [part.run if isinstance(part, _Stretch) else part for part in self._parts]
        self._runs = tuple(runs)

    def __call__(self) -> None:
        for run in self._runs:
            run()

    @property
    def total(self) -> int:
        """The sum of what kernels returned in the last run, modulo 2**64; calls of Python left out."""
        return sum(stretch.total for stretch in self._stretches) & _MASK

    @property
    def whole(self) -> tuple[Array, int] | None:
        """The words and their address, if there is nothing else on the tape."""
        if len(self._parts) != 1 or not self._stretches:
            return None
        return self._stretches[0].words, self._stretches[0].address


@dataclass(frozen=True)
class WithFallback:
    """A kernel's call, and what finishes it in Python where it raises `RuntimeError`."""

    native: Call
    fallback: Call

    def __call__(self) -> None:
        try:
            self.native()
        except RuntimeError:
            self.fallback()


def _native(call: Call) -> Call:
    return call.native if isinstance(call, WithFallback) else call
