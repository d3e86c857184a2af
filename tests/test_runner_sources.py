"""The arrays that shards are gathered from: one copy for all the threads of a process."""

from __future__ import annotations

import threading
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import distnn.feeding
from distnn.data.arrays import ArrayData
from distnn.layers import Dense, Input
from distnn.models import Sequential
from distnn.sources import Sources
from distnn.tensor import Array

WIDTH, ROWS, BATCHES = 2_000, 64, 16


def _batches(repeats: int) -> Iterator[tuple[Array, Array]]:
    x = np.linspace(-1, 1, ROWS * WIDTH, dtype=np.float32).reshape(ROWS, WIDTH)
    for i in range(BATCHES * repeats):
        yield np.roll(x, i, axis=0), np.full(ROWS, i / BATCHES, np.float32)


def _trained(workers: int) -> list[bytes]:
    model = Sequential([Input((WIDTH,)), Dense(1)])
    model.compile("adam", "mse")
    place: dict[str, Any] = {"backend": "threads", "workers": workers, "shards": 4, "seed": 1, "verbose": 0}
    model.fit(_batches(2), epochs=2, steps_per_epoch=BATCHES, **place)
    model.close()
    return [w.tobytes() for w in model.get_weights()]


def _measured(workers: int) -> tuple[list[bytes], int]:
    """The weights of a training, and the most bytes that were allocated in it."""
    tracemalloc.start()
    try:
        return _trained(workers), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_threads_gather_from_one_copy_of_a_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distnn.feeding, "PULL_SECONDS", 1e9)  # as many in each window, whatever the load
    _trained(1)  # whatever stays in memory for good
    alone, expected = _measured(1)
    together, peak = _measured(4)
    window = BATCHES * ROWS * WIDTH * 4
    assert expected > window
    assert peak < expected + window
    assert together == alone


def test_rows_asked_for_in_many_threads_at_once_are_copied_once() -> None:
    x = np.ones((3_000, 100), np.float32)
    for _ in range(20):
        sources = Sources({"train": ArrayData((x,), cuts=(len(x),))})
        start = threading.Barrier(8)

        def ask(_: int, sources: Sources = sources, start: threading.Barrier = start) -> int:
            start.wait()
            return id(sources.rows("train", "x0"))

        with ThreadPoolExecutor(8) as pool:
            assert len(set(pool.map(ask, range(8)))) == 1


def test_other_batches_take_over_the_places_that_they_fit() -> None:
    def batches(samples: int, value: int, dtype: Any) -> ArrayData:
        return ArrayData((np.full((samples, 2), value, dtype),), cuts=(samples,))

    sources = Sources({"train": batches(8, 1, np.int32)})
    place = sources.rows("train", "x0")
    assert sources.set_batches("train", batches(16, 2, np.int16))
    assert sources.rows("train", "x0") is place
    assert place.tolist() == [[2, 2]] * 16
    assert not sources.set_batches("train", batches(17, 3, np.int32))
    assert sources.rows("train", "x0") is not place


def test_a_place_holds_every_dtype_that_lay_there() -> None:
    whole, fractions = np.int32([[2**31 - 1]]), np.float32([[0.5]])
    sources = Sources({"train": ArrayData((whole,), cuts=(1,))})
    sources.rows("train", "x0")
    assert not sources.set_batches("train", ArrayData((fractions,), cuts=(1,)))
    place = sources.rows("train", "x0")
    assert place[0] == 0.5
    assert sources.set_batches("train", ArrayData((whole,), cuts=(1,)))
    assert place[0] == 2**31 - 1
