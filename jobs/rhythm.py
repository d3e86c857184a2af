"""When to save a checkpoint. Pure: times and steps in, yes or no out."""

from __future__ import annotations

from dataclasses import dataclass

EPOCH_CHECKPOINT_S = 1.0
"""A checkpoint at the end of an epoch is left out if the last one is younger than this,"""

DEAR = 100.0
"""or younger than so many times the seconds that the last one kept a core busy."""


@dataclass(frozen=True)
class Rhythm:
    """When to save. `every_steps` takes the place of the clock; ends of epochs are saved either way."""

    every_seconds: float = 30.0
    every_steps: int | None = None
    keep: int = 3

    def next_step(self, step: int) -> int | None:
        """The first step after `step` that is saved for its number."""
        every = self.every_steps
        return None if every is None else (step // every + 1) * every

    def is_due(self, step: int, age_s: float) -> bool:
        """Whether to save within an epoch, the last try being `age_s` old."""
        if self.every_steps is not None:
            return step % self.every_steps == 0
        return age_s >= self.every_seconds

    def is_due_at_epoch_end(self, step: int, age_s: float, cost_s: float) -> bool:
        """The same at the end of an epoch; `cost_s`: how long the last checkpoint kept a core busy."""
        if self.every_steps is not None and step % self.every_steps == 0:
            return True
        return age_s >= max(EPOCH_CHECKPOINT_S, min(DEAR * cost_s, self.every_seconds))
