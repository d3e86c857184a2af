"""Words in shared memory: written by one process, awaited by others, in a fixed order with other memory.

A store publishes everything written before it; a load that sees it sees all that too. Waiting spins for
some microseconds, then lets others run, then sleeps; it comes back within 50 ms at most, so that Python can
look at signals and deadlines. A plain load would be hoisted out of the loop by the compiler. Under
`NUMBA_DISABLE_JIT=1` plain reads and writes take the place of atomic ones, which on x86-64 are as good.
"""

from __future__ import annotations

import platform
import time
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import overload

from distnn.kernels.jit import JIT_OPTIONS, Array, emitting, kernel

LINE = 8
"""Words of 8 bytes in a cache line: each worker's word has a line of its own."""
ARRIVED, WAITING, ABORTED = 1, 0, -1

_SPINS = 2_000
_SPINS_AT_FIRST = 20_000
_YIELDS = 400
"""Together some 40 us of spinning, some 200 us of yielding (if nobody else wants the core)."""
_SHORTEST_SLEEP_US = 50
_LONGEST_SLEEP_US = 1_000
_SLEEPING_US = 30_000
"""Sleeps grow with what has been slept: none makes the wait more than a sixteenth longer, and whoever waits
for long hardly computes."""

_sched_yield = types.ExternalFunction("sched_yield", types.int32())
_usleep = types.ExternalFunction("usleep", types.int32(types.uint32))


def _pointer(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    view = context.make_array(signature.args[0])(context, builder, arguments[0])
    return builder.gep(view.data, [arguments[1]])


def load_word(words: Array, index: int) -> int:
    """The word at `index` of an int64 array, and with it all that was written before it was stored."""
    return int(words[index])


def store_word(words: Array, index: int, value: int) -> None:
    """Write the word after all that was written before."""
    words[index] = value


def relax() -> None:
    """A few nanoseconds' rest for the core."""


def let_others_run() -> None:
    time.sleep(0)


def sleep_us(microseconds: int) -> None:
    time.sleep(microseconds * 1e-6)


@emitting(load_word)
def _emit_load_acquire(typing_context: Any, words: Any, index: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load_atomic(_pointer(context, builder, signature, arguments), "acquire", 8)

    return types.int64(words, types.intp), generate


@emitting(store_word)
def _emit_store_release(typing_context: Any, words: Any, index: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, signature, arguments)
        builder.store_atomic(arguments[2], pointer, "release", 8)
        return context.get_dummy_value()

    return types.void(words, types.intp, types.int64), generate


@emitting(relax)
def _emit_pause(typing_context: Any) -> Any:
    """Tell the core that it spins."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if platform.machine() in ("x86_64", "AMD64"):
            function_type = ir.FunctionType(ir.VoidType(), [])
            name = "llvm.x86.sse2.pause"
            builder.call(cgutils.get_or_insert_function(builder.module, function_type, name), [])
        return context.get_dummy_value()

    return types.void(), generate


@overload(let_others_run, strict=False, jit_options=JIT_OPTIONS)  # type: ignore[untyped-decorator]
def _overload_let_others_run() -> Any:
    return lambda: _sched_yield()


@overload(sleep_us, strict=False, jit_options=JIT_OPTIONS)  # type: ignore[untyped-decorator]
def _overload_sleep_us(microseconds: Any) -> Any:
    return lambda microseconds: _usleep(types.uint32(microseconds))


@kernel
def read_word(words: Array, index: int) -> Any:
    """`load_word`, for Python."""
    return load_word(words, index)


@kernel
def write_word(words: Array, index: int, value: int) -> None:
    """`store_word`, for Python."""
    store_word(words, index, value)


@kernel
def await_words(words: Array, count: int, target: int, abort: int) -> int:
    """Wait until `count` words, a line apart from the array's start on, have reached `target`.

    Args:
        words: int64, in memory that others write.
        count: of words.
        target: a word is there when it is at least this.
        abort: index of a word that ends the waiting as soon as it is not 0, even if all have arrived: after
            it was written nobody gets past another barrier.

    Returns:
        ARRIVED; ABORTED; or WAITING after some 30 ms.
    """
    rounds = 0
    slept_us = 0
    first = 0
    while True:
        if load_word(words, abort) != 0:
            return ABORTED
        while first < count and load_word(words, first * LINE) >= target:
            first += 1
        if first == count:
            return ARRIVED
        if rounds < _SPINS:
            relax()
        elif rounds < _SPINS + _YIELDS:
            let_others_run()
        else:
            if slept_us >= _SLEEPING_US:
                return WAITING
            next_us = min(max(slept_us // 16, _SHORTEST_SLEEP_US), _LONGEST_SLEEP_US)
            sleep_us(next_us)
            slept_us += next_us
        rounds += 1


@kernel
def arrive_and_await(words: Array, mine: int, count: int, target: int, abort: int) -> int:
    """Let word number `mine` be `target`, then `await_words`: a barrier of `count` workers."""
    store_word(words, mine * LINE, target)
    return await_words(words, count, target, abort)


@kernel
def pass_barrier(words: Array, mine: int, count: int, abort: int) -> None:
    """Let word number `mine` be one more, and wait until the other workers' words are as far.

    Raises:
        RuntimeError: they were not within some 30 ms, or the abort word was written. The own word stays.
    """
    target = load_word(words, mine * LINE) + 1
    if arrive_and_await(words, mine, count, target, abort) != ARRIVED:
        raise RuntimeError("not everybody has reached the barrier")


@kernel
def meet_often(words: Array, mine: int, count: int, times: int) -> int:
    """Meet the workers of `count` words so many times in a row without giving the core away.

    How long a meeting takes tells how far the cores are from each other. Whoever waits in vain for longer
    than some 40 us (400 us at first) leaves, and leaves its word at the end, where nobody waits for it.

    Returns:
        How many times everybody was there.
    """
    begun = load_word(words, mine * LINE)
    for met in range(times):
        target = begun + met + 1
        store_word(words, mine * LINE, target)
        patience = _SPINS_AT_FIRST if met == 0 else _SPINS
        for other in range(count):
            word = load_word(words, other * LINE)
            while word < target and patience > 0:
                relax()
                patience -= 1
                word = load_word(words, other * LINE)
            if word < target or word > target + 1:  # it does not come, or it has left
                store_word(words, mine * LINE, begun + times)
                return met
    return times
