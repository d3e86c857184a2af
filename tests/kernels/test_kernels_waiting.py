"""Barriers on words in shared memory, between threads and between processes."""

from __future__ import annotations

import mmap
import os
import threading
import time

import numpy as np
import pytest
from numba import config

from distnn.kernels import waiting
from distnn.kernels.waiting import ABORTED, ARRIVED, LINE, WAITING, arrive_and_await, await_words
from distnn.tensor import Array
from jobs.chaos.watch import wait_until


def make_words(workers: int) -> Array:
    return np.zeros((workers + 1) * LINE, np.int64)


def meet(words: Array, mine: int, workers: int, target: int) -> int:
    """The barrier as callers use it: again and again until something happens."""
    while (status := arrive_and_await(words, mine, workers, target, workers * LINE)) == WAITING:
        pass
    return int(status)


def test_a_barrier_of_one_is_passed_at_once() -> None:
    words = make_words(1)
    assert arrive_and_await(words, 0, 1, 1, LINE) == ARRIVED
    assert waiting.read_word(words, 0) == 1


def test_waiting_comes_back_soon_for_signals_and_deadlines() -> None:
    words = make_words(2)
    await_words(words, 1, 0, 2 * LINE)  # compiled now
    began = time.monotonic()
    assert await_words(words, 2, 1, 2 * LINE) == WAITING
    assert time.monotonic() - began < 5.0


@pytest.mark.skipif(config.DISABLE_JIT, reason="a plain Python loop has other costs")
def test_who_waits_for_long_hardly_computes() -> None:
    words = make_words(2)
    await_words(words, 1, 0, 2 * LINE)
    began, computed = time.monotonic(), time.thread_time()
    for _ in range(30):
        assert await_words(words, 2, 1, 2 * LINE) == WAITING
    assert time.thread_time() - computed < 0.12 * (time.monotonic() - began)


def test_words_may_run_ahead() -> None:
    words = make_words(3)
    words[: 3 * LINE : LINE] = 5, 7, 6
    assert await_words(words, 3, 5, 3 * LINE) == ARRIVED
    assert await_words(words, 3, 6, 3 * LINE) == WAITING


def test_abort_ends_the_waiting_even_if_all_have_arrived() -> None:
    words = make_words(2)
    waiting.write_word(words, 2 * LINE, 1)
    assert await_words(words, 2, 1, 2 * LINE) == ABORTED
    words[: 2 * LINE : LINE] = 1
    assert await_words(words, 2, 1, 2 * LINE) == ABORTED


def test_abort_ends_a_wait_that_has_begun() -> None:
    """The loads are in the loop: a word that another thread writes is seen."""
    words = make_words(2)
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(meet(words, 0, 2, 1)))
    thread.start()
    assert wait_until(lambda: words[0] == 1, 20)
    waiting.write_word(words, 2 * LINE, 1)
    thread.join(20)
    assert found == [ABORTED]


@pytest.mark.parametrize("workers", [2, 5])
def test_nobody_passes_before_all_have_arrived(workers: int) -> None:
    """Each thread writes its place and reads all the others' behind every barrier."""
    rounds = 40
    words, values = make_words(workers), np.zeros(workers * LINE, np.int64)
    wrong: list[str] = []

    def work(mine: int) -> None:
        for i in range(1, rounds + 1):
            values[mine * LINE] = i
            meet(words, mine, workers, 2 * i - 1)
            if not (values[::LINE] == i).all():
                wrong.append(f"worker {mine}, round {i}: {values[::LINE]}")
            meet(words, mine, workers, 2 * i)

    threads = [threading.Thread(target=work, args=(mine,)) for mine in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong and words[0] == 2 * rounds


@pytest.mark.parametrize("workers", [2, 6])
def test_processes_meet_and_see_what_was_written_before(workers: int) -> None:
    rounds, size = 50, 1000
    memory = mmap.mmap(-1, (workers + 1) * LINE * 8 + workers * size * 4)
    words = np.frombuffer(memory, np.int64, (workers + 1) * LINE)
    data = np.frombuffer(memory, np.float32, workers * size, words.nbytes).reshape(workers, size)

    def work(mine: int) -> bool:
        is_right = True
        for i in range(1, rounds + 1):
            data[mine] = i * (mine + 1)
            meet(words, mine, workers, 2 * i - 1)
            expected = i * np.arange(1, workers + 1, dtype=np.float32)[:, np.newaxis]
            is_right &= bool((data == expected).all())
            meet(words, mine, workers, 2 * i)
        return is_right

    meet(make_words(1), 0, 1, 1)  # compiled before the fork
    children = []
    for mine in range(1, workers):
        child = os.fork()
        if child == 0:
            os._exit(0 if work(mine) else 1)
        children.append(child)
    assert work(0)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * (workers - 1)


def test_pass_barrier_reaches_the_next_one_and_stays_there_if_others_do_not_come() -> None:
    alone, pair = make_words(1), make_words(2)
    for reached in (1, 2, 3):
        waiting.pass_barrier(alone, 0, 1, LINE)
        assert waiting.read_word(alone, 0) == reached
    with pytest.raises(RuntimeError, match="not everybody"):
        waiting.pass_barrier(pair, 0, 2, 2 * LINE)
    assert waiting.read_word(pair, 0) == 1
    pair[LINE] = 1
    assert await_words(pair, 2, waiting.read_word(pair, 0), 2 * LINE) == ARRIVED


def test_meet_often_counts_meetings_and_ends_where_nobody_waits() -> None:
    words, found = make_words(2), dict[int, int]()

    def meet_ten_times(mine: int) -> None:
        found[mine] = waiting.meet_often(words, mine, 2, 10)

    threads = [threading.Thread(target=meet_ten_times, args=(mine,)) for mine in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(0 <= met <= 10 for met in found.values())
    assert words[0] == words[LINE] == 10
    assert waiting.meet_often(words, 0, 2, 5) == 0, "nobody came"
    assert words[0] == 15
    assert waiting.meet_often(words, 1, 2, 5) == 0, "the other had left"
    assert words[LINE] == 15
    assert waiting.meet_often(make_words(1), 0, 1, 5) == 5
