"""How long a worker may hold up the others before it is treated as dead. No clock: durations are told.

At least the setting, and at least twenty of what a step usually takes, so that slow steps need no setting.
The first step of a task may compile, and has as long as loading.
"""

from __future__ import annotations

from collections import deque
from statistics import median

LOAD_DEADLINE_S = 300.0
"""For reading the data and compiling kernels, which happens once on a machine."""
MEDIAN_STEPS = 20
_REMEMBERED = 31


class Patience:
    """With the steps (or batches) of one task.

    Args:
        deadline_s: the setting.

    Attributes:
        has_begun: whether a step of the task has been committed.
    """

    def __init__(self, deadline_s: float) -> None:
        self.deadline_s = deadline_s
        self.has_begun = False
        self._durations: deque[float] = deque(maxlen=_REMEMBERED)

    def begin(self) -> None:
        """Another task: nothing is known of its steps."""
        self.has_begun = False
        self._durations.clear()

    def took(self, steps: int, seconds: float | None) -> None:
        """So many steps were committed in this time; None if workers were lost in it."""
        if steps:
            self.has_begun = True
            if seconds is not None:
                self._durations.append(seconds / steps)

    @property
    def seconds(self) -> float:
        """For a step that computes and no longer compiles."""
        usual = median(self._durations) if self._durations else 0.0
        return max(self.deadline_s, MEDIAN_STEPS * usual)

    @property
    def now_s(self) -> float:
        """For the step that comes next."""
        return self.seconds if self.has_begun else max(self.deadline_s, LOAD_DEADLINE_S)
