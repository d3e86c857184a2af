"""Who compiles kernels before all others of its machine need them: two processes of each, for a new task."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cluster.crew import Crew


class Warming:
    """The machines of a crew on which a task's kernels are there."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._warm: set[str] = set()

    def begin(self) -> None:
        """With a task that no machine knows."""
        self._warm = set()

    def first_of_machines(self, workers: Iterable[int]) -> dict[str, int]:
        """The first worker of each machine."""
        return {self._crew.workers[w].machine: w for w in sorted(workers, reverse=True)}

    def turns(self, new: set[int]) -> Iterator[tuple[set[int], set[int]]]:
        """Groups of the `new` workers that warm up at the same time, and who of them begins at the end."""
        first = self.first_of_machines(new)
        seconds = self.first_of_machines(new - set(first.values()))
        leaders = {w for machine, w in first.items() if machine not in self._warm}
        partners = {w for machine, w in seconds.items() if machine not in self._warm}
        yield leaders | partners, partners
        yield new - leaders - partners, set()
        self._warm |= set(first)
