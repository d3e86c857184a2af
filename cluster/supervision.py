"""What failed -> what to do. Pure: losses in, a decision out; no processes, no clock, no logging.

The coordinator asks after every attempt that lost workers. A step is a function of the committed weights, so
an attempt can be repeated by others without changing a byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from distnn.reduction import Range


class Action(Enum):
    """`is_terminal`: the run cannot go on."""

    RETRY = "retry"
    FAIL = "fail"

    @property
    def is_terminal(self) -> bool:
        return self is Action.FAIL


@dataclass(frozen=True)
class Loss:
    """A worker that did not answer an attempt.

    `shards`: what it was computing. `cause`: its process ended, or it was silent past the deadline. `detail`:
    why, or for how long. `process`: worker, pid and host. `phase`: of the step, `while it ...`.
    """

    worker: int
    shards: Range
    cause: Literal["died", "silent"]
    detail: str
    process: str = ""
    phase: str = ""

    def __str__(self) -> str:
        who = self.process or f"worker {self.worker}"
        phase = f" {self.phase}" if self.phase else ""
        if self.cause == "died":
            return f"{who} died{phase} ({self.detail})"
        return f"{who} was silent for {self.detail}{phase}"


@dataclass(frozen=True)
class Decision:
    """What to do, and why in a sentence for the log or the error."""

    action: Action
    reason: str


def decide(work: str, earlier: Sequence[Sequence[Loss]], now: Sequence[Loss], survivors: int) -> Decision:
    """Whether the others repeat `work` after losing workers.

    Args:
        work: what was being computed, such as `step 12`; for the sentence.
        earlier: the losses of the attempts at this same work before.
        now: the losses of the last attempt; not empty.
        survivors: workers left, spares included.
    """
    losses = " and ".join(map(str, now))
    deadly = _deadly_shard(earlier, now)
    if deadly is not None:
        others = next(loss for attempt in earlier for loss in attempt if _holds(loss, deadly))
        return Decision(
            Action.FAIL,
            f"{work}: two workers were lost while they computed shard {deadly}: {others}, then {losses}. "
            f"The shard itself may be the reason (memory, a crash in native code).{_hint(now)}",
        )
    if survivors == 0:
        return Decision(Action.FAIL, f"{work}: {losses}, and no worker is left.{_hint(now)}")
    noun = "worker goes" if survivors == 1 else "workers go"
    return Decision(Action.RETRY, f"{work}: {losses}; {survivors} {noun} on from the last committed state")


def _holds(loss: Loss, shard: int) -> bool:
    return loss.shards[0] <= shard < loss.shards[1]


def _deadly_shard(earlier: Sequence[Sequence[Loss]], now: Sequence[Loss]) -> int | None:
    """A shard that a worker lost now and one lost in an earlier attempt both had, if there is one."""
    for attempt in earlier:
        for before in attempt:
            for loss in now:
                shard = max(before.shards[0], loss.shards[0])
                if shard < min(before.shards[1], loss.shards[1]):
                    return shard
    return None


def _hint(losses: Sequence[Loss]) -> str:
    if any(loss.cause == "silent" for loss in losses):
        return " If a shard takes that long, raise the deadline (EngineOptions.deadline_s)."
    return ""
