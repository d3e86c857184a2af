"""Data on its way to the workers: each data set is sent once, and found again by its digest."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

from cluster.crew import Crew
from distnn.data.arrays import ArrayData

KEPT_BYTES = 256 * 1024 * 1024
"""Data sets of earlier tasks are kept up to this size, in case they come again."""


class SharedData:
    """Handles of the data sets that a crew's workers can read."""

    def __init__(self, crew: Crew, kept_bytes: int = KEPT_BYTES) -> None:
        self._crew = crew
        self._kept_bytes = kept_bytes
        self._handles: OrderedDict[str, tuple[Any, int]] = OrderedDict()

    def handles(self, data: Iterable[ArrayData]) -> list[Any]:
        """A handle for each data set; those that were shared before are not shared again."""
        digests = []
        for one in data:
            digest = one.digest()
            if digest not in self._handles:
                self._handles[digest] = (self._crew.share(one), one.num_bytes)
            self._handles.move_to_end(digest)
            digests.append(digest)
        self._forget(keep=set(digests))
        return [self._handles[digest][0] for digest in digests]

    def _forget(self, keep: set[str]) -> None:
        """Drop the oldest data sets beyond the size that is kept."""
        spare = sum(size for digest, (_, size) in self._handles.items() if digest not in keep)
        for digest in [digest for digest in self._handles if digest not in keep]:
            if spare <= self._kept_bytes:
                return
            spare -= self._handles.pop(digest)[1]
