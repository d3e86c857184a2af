"""The barrier at which the workers of a generation wait for each other, in memory that they share.

Each worker owns one growing word; it is past barrier n when everybody's word has reached n. Nothing is ever
set back: a generation ends by its abort word, once and for all.
"""

from __future__ import annotations

from cluster.exchange.segment import SharedSegment
from distnn.kernels.waiting import ABORTED, ARRIVED, LINE, arrive_and_await, read_word, write_word


class GenerationOver(Exception):  # noqa: N818  (an event: somebody could not go on)
    """The generation ends here; what was committed, the coordinator knows."""


class Barrier:
    """One worker's place at it.

    Attributes:
        waits: grows while this worker waits for others, so that it is not taken for a hung one.
    """

    def __init__(self, segment: SharedSegment, rank: int) -> None:
        self._words = segment.words
        self._abort = segment.layout.abort
        self._workers = segment.layout.workers
        self._rank = rank
        self._reached = read_word(segment.words, LINE * rank)
        self.waits = 0

    def meet(self) -> None:
        """Go on when everybody is here.

        Raises:
            GenerationOver: the generation has been ended.
        """
        self._reached += 1
        while True:
            status = arrive_and_await(self._words, self._rank, self._workers, self._reached, self._abort)
            if status == ARRIVED:
                return
            if status == ABORTED:
                raise GenerationOver
            self.waits += 1

    def leave(self) -> None:
        """End the generation: nobody gets past another barrier. May be called from any thread."""
        write_word(self._words, self._abort, 1)
