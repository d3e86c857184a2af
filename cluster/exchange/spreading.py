"""Workers that have come to share a core though another is free move apart.

The system packs them now and then: Ray runs them at a low priority, and they wait for each other so briefly
that no core looks busy for long. Steps of 1 to 3 ms then take twice as long, to the end of the run. Nobody is
pinned: a worker that moves may be moved again, so that several runs share a machine as the system sees fit.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from functools import cache

from distnn.kernels.waiting import LINE
from distnn.tensor import Array

_CORE = 1
"""The word of a worker's line that says where it runs: the core's number and one, 0 while it is not known."""


@cache
def _libc_core() -> Callable[[], int] | None:
    try:
        function: Callable[[], int] = ctypes.CDLL(None).sched_getcpu
    except (OSError, AttributeError):
        return None
    return function


def current_core() -> int:
    """The core that runs this thread; -1 where the system does not tell."""
    function = _libc_core()
    return -1 if function is None else function()


class Spreading:
    """One worker among those of a node.

    Args:
        words: shared by them, a line for each; see `segment`.
        rank: of this worker.
        workers: how many there are.
    """

    def __init__(self, words: Array, rank: int, workers: int) -> None:
        self._words, self._rank, self._workers = words, rank, workers
        self._may_move = True

    def look(self) -> None:
        """Tell the core of this thread; leave it for a free one if a worker of a lower rank has it."""
        core = current_core()
        if core < 0 or not self._may_move:
            return
        self._words[LINE * self._rank + _CORE] = core + 1
        cores = [int(self._words[LINE * rank + _CORE]) - 1 for rank in range(self._workers)]
        if core not in cores[: self._rank]:
            return
        try:
            allowed = os.sched_getaffinity(0)
            if free := sorted(allowed.difference(cores)):
                self._move(free[self._rank % len(free)], allowed)
        except OSError:
            # A sandbox may forbid it.
            self._may_move = False

    def _move(self, core: int, allowed: set[int]) -> None:
        try:
            os.sched_setaffinity(0, {core})
        finally:
            os.sched_setaffinity(0, allowed)
        self._words[LINE * self._rank + _CORE] = core + 1
