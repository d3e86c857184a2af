"""How far the cores of a node's workers are from each other: whether they share a cache, as of now.

A virtual machine's cores may change places on their host in the middle of a run, so it is measured again and
again. The answer decides how bytes travel, never what they are: each worker may take its own.
"""

from __future__ import annotations

import time

from cluster.exchange.segment import SharedSegment
from distnn.kernels.waiting import ARRIVED, LINE, arrive_and_await, meet_often

_MEETINGS = 100
_FAR_S = 150e-9
"""A meeting of two takes 50 to 80 ns by way of a common cache, 270 to 290 ns without one; every further
worker adds some."""
_MORE_S = 20e-9


class Distance:
    """One worker's view of it.

    Args:
        segment: what the workers share.
        rank: which of them this one is.

    Attributes:
        is_far: whether lines must travel between caches.
    """

    def __init__(self, segment: SharedSegment, rank: int) -> None:
        self._words = segment.meetings
        self._workers = segment.layout.workers
        self._rank = rank
        self.is_far = False

    def measure(self) -> None:
        """Meet the others, all of whom must do the same; without an answer the last one stays."""
        words, abort = self._words, LINE * self._workers
        target = int(words[LINE * self._rank]) + 1
        if arrive_and_await(words, self._rank, self._workers, target, abort) != ARRIVED:
            words[LINE * self._rank] += _MEETINGS
            return
        began = time.perf_counter()
        met = meet_often(words, self._rank, self._workers, _MEETINGS)
        meeting_s = (time.perf_counter() - began) / _MEETINGS
        if met == _MEETINGS:
            self.is_far = meeting_s > _FAR_S + _MORE_S * (self._workers - 2)
