"""The errors that callers of distnn may want to tell apart.

Callers' mistakes are `ValueError`s; what a user's own code raised inside a worker is a `UserCodeError`.
Every one can be pickled, so that it crosses processes whole.
"""

from __future__ import annotations

from dataclasses import dataclass


class DataError(ValueError):
    """The data given cannot be trained on; the message names file, row and column where it can."""


class CheckpointError(ValueError):
    """A checkpoint or model file is damaged, foreign, or of another model."""


class RunDirectoryError(ValueError):
    """A run directory holds another run, or not what was expected in it."""


class EngineError(RuntimeError):
    """The machinery under a run (processes, cluster) failed; not the user's model or data."""


class ClusterUnreachableError(EngineError):
    """No Ray cluster answered at the address given."""


@dataclass(frozen=True)
class FaultPlace:
    """Where in a run a shard's computation failed."""

    worker: int
    step: int
    shard: int

    def __str__(self) -> str:
        return f"worker {self.worker}, step {self.step}, shard {self.shard}"


class UserCodeError(RuntimeError):
    """An exception raised by user code (a layer, a loss, a loader) while a shard was computed.

    Args:
        summary: `ExceptionType: message`, one line.
        place: worker, step and shard, if known.
        user_traceback: the traceback from the user's code on, as text; printed once.
    """

    def __init__(self, summary: str, place: FaultPlace | None, user_traceback: str) -> None:
        super().__init__(summary, place, user_traceback)
        self.summary = summary
        self.place = place
        self.user_traceback = user_traceback

    def __str__(self) -> str:
        where = f" in {self.place}" if self.place is not None else ""
        return f"{self.user_traceback.rstrip()}\nuser code failed{where}: {self.summary}"
