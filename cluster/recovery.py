"""How long a loss holds a training up, and what was tried meanwhile."""

from __future__ import annotations

import time
from collections.abc import Sequence

from cluster.supervision import Loss


class Recovery:
    """The time from the first loss to the next result, and the attempts at the work between."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._work = ""
        self._earlier: list[Sequence[Loss]] = []

    @property
    def is_under_way(self) -> bool:
        return self._since is not None

    def lost(self, loss: Loss) -> None:
        self._since = loss.noticed if self._since is None else min(self._since, loss.noticed)

    def attempt(self, work: str, losses: Sequence[Loss]) -> list[Sequence[Loss]]:
        """Remember losses at this work; returns those of the attempts at it before."""
        if work != self._work:
            self._work, self._earlier = work, []
        earlier = list(self._earlier)
        self._earlier.append(losses)
        return earlier

    def end(self) -> float:
        """The work is done; seconds that it took."""
        assert self._since is not None
        seconds, self._since = time.monotonic() - self._since, None
        self._work, self._earlier = "", []
        return seconds
