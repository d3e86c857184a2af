"""Lets another thread have the last committed state while a call of the engine takes long.

A signal may come in the middle of a step of minutes, or of a validation. The thread that trains cannot look
up then; the state that the call began from is whole all the same, as a step writes into the other buffer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from distnn.recording import Snapshot


class Rescue:
    """What can be saved beside the thread that trains.

    Args:
        take: the snapshot of the engine's state, within the given epoch.
    """

    def __init__(self, take: Callable[[int], Snapshot]) -> None:
        self._take = take
        self._lock = threading.Lock()
        self._place: tuple[int, int] | None = None

    @contextmanager
    def possible(self, epoch: int, step: int, begins_anew: bool = True) -> Iterator[None]:
        """Inside, the state of committed `step` stays as it is, even if the next step is committed.

        Whoever takes a snapshot meanwhile is waited for.

        Args:
            epoch: the running one.
            step: the last committed one.
            begins_anew: whether a training that goes on from there does all that led here; else there is
                nothing to be had.
        """
        self._place = (epoch, step) if begins_anew else None
        try:
            yield
        finally:
            with self._lock:
                self._place = None

    def snapshot(self) -> Snapshot | None:
        """The last committed state; None while the thread that trains may change it, or has done so."""
        with self._lock:
            if self._place is None:
                return None
            epoch, step = self._place
            snapshot = self._take(epoch)
            return snapshot if snapshot.step == step else None
