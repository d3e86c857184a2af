"""A tape does what its calls do, in their order, with their bytes and their exceptions."""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from numba import config

from distnn.kernels import tape as tapes
from distnn.kernels.activations import leaky_relu, relu, relu_gradient
from distnn.kernels.compiling_order import compiling_as_second
from distnn.kernels.fingerprints import fingerprint
from distnn.kernels.jit import kernel
from distnn.kernels.stepping import begin_shard, copy_values, set_value
from distnn.kernels.tape import Tape, WithFallback
from distnn.kernels.update import NUM_SCALARS, adam

Array = np.ndarray[Any, np.dtype[Any]]
compiled_only = pytest.mark.skipif(not tapes.HAS_TAPES, reason="tapes are for x86-64")


@kernel
def refuse_negative(x: Array) -> None:
    """Raises for a negative first value; else adds one to it."""
    if x[0] < 0:
        raise ValueError("negative")
    x[0] += 1


@kernel
def many(
    a: Array, b: Array, c: Array, d: Array, e: Array, f: Array, x: float, y: float, n: int, out: Array
) -> int:
    """Something that depends on every argument."""
    total = a[0] + 2 * b[0] + 3 * c[0] + 5 * d[0] + 7 * e[0] + 11 * f[0]
    out[0] = total * x - y + n
    return n + 1


def is_native(made: Tape) -> bool:
    return made.whole is not None


def arrays(count: int, size: int = 37) -> list[Array]:
    rng = np.random.default_rng(5)
    return [rng.normal(size=size).astype(np.float32) for _ in range(count)]


def both_ways(make: Callable[[list[Array]], list[Any]], count: int) -> tuple[list[bytes], list[bytes]]:
    """The arrays after the calls one by one, and after two runs of a tape of them."""
    one, other = arrays(count), arrays(count)
    for _ in range(2):
        for call in make(one):
            call()
    made = Tape(make(other))
    made()
    made()
    return [a.tobytes() for a in one], [a.tobytes() for a in other]


def test_tape_gives_the_bytes_of_its_calls() -> None:
    def calls(a: list[Array]) -> list[Any]:
        return [partial(leaky_relu, a[0], 0.3, a[1]), partial(relu_gradient, a[1], a[2], a[3])] * 3

    assert len(set(map(tuple, both_ways(calls, 4)))) == 1


def test_calls_of_python_between_kernels_keep_their_place() -> None:
    def calls(a: list[Array]) -> list[Any]:
        return [
            partial(relu, a[0], a[1]),
            partial(np.subtract, a[1], np.float32(0.5), out=a[1]),
            partial(leaky_relu, a[1], 0.1, a[2]),
            partial(np.negative, a[2], out=a[0]),
        ]

    assert len(set(map(tuple, both_ways(calls, 3)))) == 1


@pytest.mark.parametrize("size", [1, 5, 64])
def test_optimizers_with_many_arguments_fit_and_their_returns_add_up(size: int) -> None:
    w, g, w_out = arrays(3, size)
    slots, slots_out = np.abs(np.array(arrays(2, size))), np.zeros((2, size), np.float32)
    scalars = np.linspace(0.1, 1.0, NUM_SCALARS)
    call = partial(adam, w, g, slots, w_out, slots_out, scalars, 0, size)
    expected = int(call()), w_out.tobytes(), slots_out.tobytes()
    w_out[:], slots_out[:] = 0, 0
    made = Tape([call, call])
    made()
    total = 2 * expected[0] % 2**64 if is_native(made) else 0
    assert (made.total, w_out.tobytes(), slots_out.tobytes()) == (total, *expected[1:])


def test_integers_and_floats_arrive_in_their_order() -> None:
    operands = [np.array([float(i)]) for i in (1, 10, 100, 1000, 10000, 100000)]
    out = np.zeros(1)
    Tape([partial(many, *operands, 0.5, 0.25, 3, out)])()
    assert out[0] == (1 + 20 + 300 + 5000 + 70000 + 1100000) * 0.5 - 0.25 + 3


@compiled_only
def test_what_is_taken_by_machine_code_and_what_is_not() -> None:
    x, y = arrays(2)
    native = partial(relu, x, y)
    if not hasattr(relu, "overloads"):
        pytest.skip("kernels are not compiled")
    assert is_native(Tape([native, Tape([native])]))
    for call in (partial(np.add, x, y, out=y), lambda: None, partial(relu, x=x, y=y)):
        assert not is_native(Tape([call])) and not is_native(Tape([native, call]))


def test_a_tape_in_a_tape_is_run_and_counted() -> None:
    x, y, z = arrays(3)
    inner = Tape([partial(relu, x, y), partial(fingerprint, y, 3)])
    outer = Tape([inner, partial(leaky_relu, y, 0.5, z), inner])
    outer()
    expected = np.maximum(x, 0)
    assert y.tobytes() == expected.tobytes() and z.tobytes() == expected.tobytes()
    if is_native(outer):
        assert outer.total == 2 * int(fingerprint(expected, 3)) % 2**64
        outer()
        assert outer.total == 2 * int(fingerprint(expected, 3)) % 2**64


@pytest.mark.parametrize("is_nested", [False, True])
def test_a_kernel_that_raises_ends_the_tape_with_its_exception(is_nested: bool) -> None:
    x, after = np.array([-1.0]), np.zeros(1)
    calls: list[Any] = [partial(refuse_negative, x), partial(set_value, after, 1.0)]
    made = Tape([Tape(calls)] if is_nested else calls)
    with pytest.raises(ValueError, match="negative"):
        made()
    assert after[0] == 0
    x[0] = 1.0
    made()
    assert (x[0], after[0]) == (2.0, 1.0)


def test_a_fallback_finishes_what_a_kernel_cannot() -> None:
    seen: list[str] = []

    @kernel
    def give_up(x: Array) -> None:
        if x[0] < 3:
            raise RuntimeError("not yet")

    x, before, after = np.zeros(1), np.zeros(1), np.zeros(1)
    made = Tape(
        [
            partial(set_value, before, 7.0),
            WithFallback(partial(give_up, x), lambda: seen.append("finished")),
            partial(set_value, after, 8.0),
        ]
    )
    made()
    assert (seen, before[0], after[0]) == (["finished"], 7.0, 8.0)
    x[0] = 3.0
    made()
    assert seen == ["finished"]


def test_arguments_live_as_long_as_the_tape() -> None:
    out = np.zeros(4, np.float32)
    made = Tape(
        [partial(copy_values, np.arange(4.0), out), partial(begin_shard, np.zeros(8, np.int64), 1, 2, 3)]
    )
    gc.collect()
    np.full(4, 9.0)
    made()
    assert out.tolist() == [0, 1, 2, 3]


def test_without_machine_code_a_tape_calls_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tapes, "HAS_TAPES", False)
    x, y = arrays(2)
    made = Tape([partial(relu, x, y), partial(relu_gradient, y, y, x)])
    expected = np.maximum(x, 0)
    made()
    assert not is_native(made) and y.tobytes() == expected.tobytes() and made.total == 0


@compiled_only
def test_entries_are_run_from_where_one_says_and_stop_where_one_fails() -> None:
    """`_run_entries` is the loop of a tape, `_run_whole` that of a tape within one."""
    x, after = np.array([-1.0]), np.zeros(1)
    made = Tape([partial(set_value, after, 1.0), partial(refuse_negative, x), partial(set_value, after, 2.0)])
    if made.whole is None:
        pytest.skip("kernels are not compiled")
    words, address = made.whole
    length = int(words[tapes.LENGTH])
    assert tapes._run_entries(words, address, 0) == length and after[0] == 1.0
    with pytest.raises(RuntimeError, match="inner tape"):
        tapes._run_whole(words, address)
    assert tapes._run_entries(words, address, 2 * length) == words.size - 1 and after[0] == 2.0


@compiled_only
@pytest.mark.skipif(bool(config.DISABLE_JIT), reason="nothing is compiled")
def test_two_processes_compile_every_other_kernel_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tape runs as any other; a kernel that is called twice counts once."""
    met: list[str] = []
    compile_one = tapes._compiled

    def noting(function: Any, arguments: tuple[Any, ...]) -> Any:
        met.append(function.__name__)
        return compile_one(function, arguments)

    monkeypatch.setattr(tapes, "_compiled", noting)
    monkeypatch.setattr(tapes, "_codes", {})
    x, y, dx = arrays(3)
    expected = [y.copy(), dx.copy()]
    calls = [partial(relu, x, y), partial(relu, x, y), partial(relu_gradient, y, x, dx)]
    calls.append(partial(leaky_relu, x, 0.5, y))
    with compiling_as_second():
        made = Tape(calls)
    assert met == ["relu_gradient", "leaky_relu", "relu"]
    made()
    relu(x, expected[0])
    relu_gradient(expected[0], x, expected[1])
    leaky_relu(x, 0.5, expected[0])
    assert [y.tobytes(), dx.tobytes()] == [array.tobytes() for array in expected]
    met.clear()
    monkeypatch.setattr(tapes, "_codes", {})
    Tape(calls)
    assert met == ["relu", "leaky_relu", "relu_gradient"]
