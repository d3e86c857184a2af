"""`Exchange`: commits the steps of a segment with the workers of one generation.

The object store's exchange asks every worker at every step. Where workers share memory they run the whole
segment by themselves, and the exchange only watches and collects; hence a segment, not a step, is the unit.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from cluster.assignment import Assignment
from cluster.supervision import Loss
from distnn.tensor import Array
from distnn.updater import Updater


@dataclass
class Segment:
    """Steps to commit, and the fingerprints of those that have been committed.

    `committed` counts them; it survives the loss of workers, so that the next generation goes on there.
    `has_trouble`: the next step came to values that are not finite; the segment ends before it.
    `goal`: how many are to be committed before the coordinator looks up; all, unless it says otherwise.
    """

    first_step: int
    num_steps: int
    committed: int = 0
    has_trouble: bool = False
    goal: int = field(init=False)
    fingerprints: Array = field(init=False)

    def __post_init__(self) -> None:
        self.fingerprints = np.zeros(self.num_steps, np.uint64)
        self.goal = self.num_steps

    @property
    def left(self) -> int:
        """Steps to commit for now; none once the next one has trouble."""
        return 0 if self.has_trouble else self.goal - self.committed

    @property
    def is_over(self) -> bool:
        return self.committed == self.num_steps or self.has_trouble

    @property
    def step(self) -> int:
        """The step that comes next."""
        return self.first_step + self.committed

    def take(self, fingerprint: int | None) -> None:
        """The next step has been committed; or, without a fingerprint, it has trouble."""
        if fingerprint is None:
            self.has_trouble = True
        else:
            self.commit(np.array([fingerprint], np.uint64))

    def commit(self, fingerprints: Array) -> None:
        """The next steps have been committed."""
        self.fingerprints[self.committed : self.committed + len(fingerprints)] = fingerprints
        self.committed += len(fingerprints)


class WorkersLost(Exception):  # noqa: N818  (an event that the coordinator handles)
    """Workers of the generation died or fell silent; what was committed before stays."""

    def __init__(self, losses: Sequence[Loss]) -> None:
        super().__init__(list(losses))
        self.losses = tuple(losses)


class Exchange(ABC):
    """Sums the workers' gradients, has them applied, and spreads the new weights."""

    @abstractmethod
    def begin(self, updater: Updater) -> None:
        """Work on another task; `updater` owns its committed state, before and after every `run`."""

    @abstractmethod
    def join(self, assignment: Assignment) -> None:
        """The workers of the next generation, and their shards; they hold the task already."""

    @abstractmethod
    def prepare(self) -> None:
        """Steps come next: raise now, before anything is computed, what would stand in their way.

        Raises:
            EngineError: the workers cannot exchange anything in this way.
        """

    @abstractmethod
    def run(self, segment: Segment) -> None:
        """Commit steps until the segment has reached its goal, or trouble.

        Raises:
            WorkersLost: the generation is over; the updater holds the newest committed state.
            UserCodeError: the user's code raised in a worker.
            KeyboardInterrupt: as ever; the last committed state is whole.
        """
