"""Workers that share a core move apart, and are pinned nowhere."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest

from cluster.exchange import spreading
from cluster.exchange.spreading import Spreading, current_core
from distnn.kernels.waiting import LINE

WORKERS = 3


@pytest.fixture
def allowed() -> Iterator[set[int]]:
    """The cores of this thread, of which there are two at least; restored afterwards."""
    cores, restore = os.sched_getaffinity(0), os.sched_setaffinity
    if len(cores) < 2:
        pytest.skip("needs two cores")
    yield cores
    restore(0, cores)


def words_at(*cores: int) -> np.ndarray:
    words = np.zeros(LINE * (WORKERS + 1), np.int64)
    for rank, core in enumerate(cores):
        words[LINE * rank + 1] = core + 1
    return words


def stay_on(core: int, allowed: set[int]) -> None:
    os.sched_setaffinity(0, {core})
    os.sched_setaffinity(0, allowed)


def test_a_worker_leaves_a_core_that_a_lower_rank_has(allowed: set[int]) -> None:
    first, *others = sorted(allowed)
    stay_on(first, allowed)
    if current_core() != first:
        pytest.skip("the system moved this thread")
    words = words_at(first)
    Spreading(words, 1, WORKERS).look()
    assert words[LINE + 1] - 1 in others and words[1] == first + 1
    assert os.sched_getaffinity(0) == allowed


def test_nobody_moves_without_need_or_room(allowed: set[int], monkeypatch: pytest.MonkeyPatch) -> None:
    moves: list[object] = []
    monkeypatch.setattr(spreading, "current_core", lambda: min(allowed))
    monkeypatch.setattr(os, "sched_setaffinity", lambda _, cores: moves.append(cores))
    here, elsewhere = min(allowed), max(allowed)
    for rank, words in ((0, words_at(-1, here)), (1, words_at(elsewhere)), (1, words_at())):
        Spreading(words, rank, WORKERS).look()
        assert words[LINE * rank + 1] == here + 1
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {here, elsewhere})
    Spreading(words_at(here, here, elsewhere), 1, WORKERS).look()
    assert not moves


def test_where_the_system_forbids_it_it_is_tried_once(
    allowed: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[object] = []

    def refuse(_: int, cores: object) -> None:
        tries.append(cores)
        raise PermissionError(1, "not here")

    monkeypatch.setattr(spreading, "current_core", lambda: min(allowed))
    monkeypatch.setattr(os, "sched_setaffinity", refuse)
    worker = Spreading(words_at(min(allowed)), 1, WORKERS)
    worker.look()
    tried = len(tries)
    worker.look()
    assert tried and len(tries) == tried


def test_a_system_that_does_not_tell_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spreading, "_libc_core", lambda: None)
    words = words_at()
    Spreading(words, 1, WORKERS).look()
    assert current_core() == -1 and not words.any()
