"""What failed -> what to do. Pure: losses in, a decision out; no processes, no clock, no logging.

The coordinator asks after every attempt that lost workers. A step is a function of the committed weights, so
an attempt can be repeated by others without changing a byte: the shards of the lost go to those that are
left, at once, and replacements are started beside. Only who is missing is decided by `missing`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal

from distnn.reduction import Range

MAX_ATTEMPTS = 10
"""At the same work, each of which lost workers: beyond that it is the work that kills them."""
MAX_FAILED_STARTS = 3
"""Rounds of workers in a row that could not be started: beyond that nobody waits for the next one."""
_LONGEST_PAUSE_S = 60.0


class Action(Enum):
    """RETRY: those that are left repeat the work. WAIT: for replacements, then repeat it. FAIL: give up."""

    RETRY = "retry"
    WAIT = "wait"
    FAIL = "fail"

    @property
    def is_terminal(self) -> bool:
        """Whether the run cannot go on."""
        return self is Action.FAIL


@dataclass(frozen=True)
class Loss:
    """A worker that did not answer an attempt.

    `shards`: what it was computing; none if it did something else. `cause`: its process ended, or it was
    silent past the deadline. `detail`: why, or for how long. `pid`, `host`: its process, if known. `phase`:
    of the step, `while it ...`. `noticed`: when, by the monotonic clock.
    """

    worker: int
    shards: Range
    cause: Literal["died", "silent"]
    detail: str
    pid: int = 0
    host: str = ""
    phase: str = ""
    noticed: float = field(default=0.0, compare=False)

    def facts(self) -> dict[str, Any]:
        """What an incident tells of it."""
        return {
            "worker": self.worker,
            "pid": self.pid,
            "host": self.host,
            "cause": self.cause,
            "detail": self.detail,
            "phase": self.phase,
        }

    def __str__(self) -> str:
        process = f" (pid {self.pid} on {self.host})" if self.host else ""
        who = f"worker {self.worker}{process}"
        phase = f" {self.phase}" if self.phase else ""
        if self.cause == "died":
            return f"{who} died{phase} ({self.detail})"
        return f"{who} was silent for {self.detail}{phase}"


@dataclass(frozen=True)
class Decision:
    """What to do, and why in a sentence for the log or the error."""

    action: Action
    reason: str


def decide(
    work: str,
    earlier: Sequence[Sequence[Loss]],
    now: Sequence[Loss],
    survivors: int,
    minimum: int = 1,
    onward: str = "from the last committed state",
) -> Decision:
    """Whether the others repeat `work` after losing workers.

    Args:
        work: what was being computed, such as `step 12`; for the sentence.
        earlier: the losses of the attempts at this same work before.
        now: the losses of the last attempt; not empty.
        survivors: workers left, spares included.
        minimum: workers without which nothing goes on, at least 1.
        onward: where or with what those that are left `go on`; for the sentence.
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
    if len(earlier) + 1 >= MAX_ATTEMPTS:
        return Decision(
            Action.FAIL,
            f"{work}: {losses}; each of {len(earlier) + 1} attempts at it lost workers, so it is not tried "
            f"again.{_hint(now)}",
        )
    if survivors < minimum:
        left = f"{survivors} of at least {minimum} workers left" if survivors else "no worker is left"
        return Decision(Action.WAIT, f"{work}: {losses}, and {left}")
    noun = "worker goes" if survivors == 1 else "workers go"
    return Decision(Action.RETRY, f"{work}: {losses}; {survivors} {noun} on {onward}")


def missing(wanted: int, there: int, coming: int) -> int:
    """How many workers to start."""
    return max(0, wanted - there - coming)


def pause_s(failed_starts: int) -> float:
    """How long to leave it after so many starts in a row that came to nothing."""
    return 0.0 if failed_starts == 0 else min(_LONGEST_PAUSE_S, 2.0 ** (failed_starts - 1))


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
        return " If a shard takes that long, raise the deadline (cluster.deadline_seconds, --deadline)."
    return ""
