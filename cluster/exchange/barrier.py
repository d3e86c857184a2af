"""The barrier at which the workers of a generation wait for each other, in memory that they share.

Each worker owns one growing word; it is past barrier n when everybody's word has reached n. Nothing is ever
set back: a generation ends by its abort word, once and for all.
"""

from __future__ import annotations

from functools import partial

from cluster.exchange.segment import SharedSegment
from distnn.kernels.tape import Tape, WithFallback
from distnn.kernels.waiting import ABORTED, ARRIVED, LINE, await_words, pass_barrier, read_word, write_word


class GenerationOver(Exception):  # noqa: N818  (an event: somebody could not go on)
    """The generation ends here; what was committed, the coordinator knows."""


class Barrier:
    """One worker's place at it.

    Attributes:
        call: `meet`, for a tape.
        waits: grows while this worker waits for others, so that it is not taken for a hung one.
    """

    def __init__(self, segment: SharedSegment, rank: int) -> None:
        self._words = segment.words
        self._abort = segment.layout.abort
        self._workers = segment.layout.workers
        self._rank = rank
        self.waits = 0
        native = partial(pass_barrier, self._words, rank, self._workers, self._abort)
        self.call = WithFallback(native, self._wait_on)
        self._tape = Tape([self.call])

    def meet(self) -> None:
        """Go on when everybody is here.

        Raises:
            GenerationOver: the generation has been ended.
        """
        self._tape()

    def _wait_on(self) -> None:
        """Wait where this worker has arrived, and be back in Python now and then, for signals."""
        reached = read_word(self._words, LINE * self._rank)
        while True:
            self.waits += 1
            status = await_words(self._words, self._workers, reached, self._abort)
            if status == ARRIVED:
                return
            if status == ABORTED:
                raise GenerationOver

    def leave(self) -> None:
        """End the generation: nobody gets past another barrier. May be called from any thread."""
        write_word(self._words, self._abort, 1)
