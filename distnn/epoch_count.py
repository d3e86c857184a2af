"""`EpochCount`: what the running epoch's sums mean, by the samples that count in them.

Steps that were skipped count as steps, but their samples are in no loss and no metric.
"""

from __future__ import annotations

import math

from distnn.batching import Batching
from distnn.feeding import Feed
from distnn.objective import Objective
from distnn.recording import Plan, TrainingState


class EpochCount:
    """Counts the samples of one epoch after the other.

    Args:
        objective: makes logs of sums.
        plan: where epochs begin and end.
        batching: of arrays.
        feed: of batches that are pulled; None for arrays.

    Attributes:
        skipped: samples of the epoch's steps that were skipped.
    """

    def __init__(self, objective: Objective, plan: Plan, batching: Batching, feed: Feed | None) -> None:
        self.skipped = 0
        self._objective = objective
        self._plan = plan
        self._batching = batching
        self._feed = feed

    def logs(self, epoch: int, state: TrainingState) -> dict[str, float]:
        """Losses and metrics of the epoch so far, skipped steps left out; NaN if there is nothing else."""
        samples = -self.skipped
        if state.step > self._plan.begin_of(epoch):
            samples += self._done(state.step)
        logs = self._objective.means(state.sums, samples)
        return logs if samples else dict.fromkeys(logs, math.nan)

    def is_all_skipped(self, epoch: int) -> bool:
        """Whether not one step of the epoch is left; of pulled batches nobody knows how many there are."""
        return self._feed is None and self.skipped == self._done(self._plan.end_of(epoch))

    def _done(self, step: int) -> int:
        """Samples of the epoch that the steps up to `step` (at least one) have seen."""
        if self._feed is not None:
            return self._feed.samples(step)
        within = (step - 1) % self._plan.steps_per_epoch + 1
        batching = self._batching
        _, last_stop = batching.batch_bounds(step - 1)
        full_passes = (within - 1) * batching.batch_size // batching.whole_pass
        return full_passes * batching.samples + last_stop
