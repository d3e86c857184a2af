"""`Crew`: processes that run a `Worker` each. What the coordinator and the exchanges know of the cluster.

`RayCrew` is the one that trains; tests have one without processes. A worker that fails is an outcome, not an
exception, so that the coordinator sees all that happened to an attempt.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from distnn.errors import FaultPlace


@dataclass(frozen=True)
class WorkerInfo:
    """A worker process. Numbers are never used again; `cores` are those it may use, shared with its node.

    `started` (seconds, as psutil has it) tells the process from a later one with the same pid. `node` is the
    crew's: what shares memory and cores. `machine` is where the pid means something (`cluster.machine`).
    """

    number: int
    pid: int
    started: float
    node: str
    machine: str
    host: str
    cores: int

    def facts(self) -> dict[str, Any]:
        """What an incident tells of it."""
        found = {"worker": self.number, "pid": self.pid, "host": self.host}
        return {**found, "machine": self.machine, "started": self.started}

    def __str__(self) -> str:
        return f"worker {self.number} (pid {self.pid} on {self.host})"


@dataclass(frozen=True)
class Request:
    """A call of a `Worker`'s method. Arguments may be what `Crew.share` returned."""

    method: str
    args: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Failure:
    """An exception raised in a worker while it computed, made ready to travel.

    `user_traceback`: from the user's code on; empty if none of it was involved, then `error` is the
    exception itself where it can be pickled, and `traceback` the whole story.
    """

    summary: str
    user_traceback: str
    traceback: str
    error: Exception | None
    place: FaultPlace | None = None


@dataclass(frozen=True)
class Answer:
    value: Any


@dataclass(frozen=True)
class Failed:
    failure: Failure


@dataclass(frozen=True)
class Died:
    """`at`: when that was noticed, by the monotonic clock."""

    reason: str
    at: float = field(default_factory=time.monotonic, compare=False)


@dataclass(frozen=True)
class Silent:
    """`at`: when it was given up, by the monotonic clock."""

    seconds: float
    at: float = field(default_factory=time.monotonic, compare=False)


Outcome = Answer | Failed | Died | Silent


class Watch(ABC):
    """Looks after a call in which workers wait for each other, while it runs."""

    @abstractmethod
    def release(self) -> None:
        """A worker was lost: let the others answer."""

    @abstractmethod
    def late(self, workers: Iterable[int], deadline_s: float) -> dict[int, float]:
        """Those of `workers` that have held up the others for `deadline_s` or longer, and how long."""


class Call(ABC):
    """A request that nobody waits for."""

    @abstractmethod
    def outcome(self) -> Outcome | None:
        """How it ended; None while it runs."""


class Crew(ABC):
    """Worker processes, by number."""

    @property
    @abstractmethod
    def workers(self) -> Mapping[int, WorkerInfo]:
        """Those that have come and are not known to be dead."""

    @property
    @abstractmethod
    def here(self) -> str:
        """The node of this process, the coordinator's."""

    @abstractmethod
    def summon(self, count: int) -> None:
        """Start so many more workers, beside whatever goes on; they come when there is room for them."""

    @property
    @abstractmethod
    def coming(self) -> int:
        """How many have been summoned and have not come yet."""

    @property
    @abstractmethod
    def failed_starts(self) -> int:
        """How many times in a row some of those summoned could not be started, since the last one that came.

        Those that were summoned together count once: what ends them, such as a node's death, is one thing.
        """

    @abstractmethod
    def arrivals(self, timeout_s: float = 0.0) -> list[int]:
        """Those who have come since the last call, or come first within this time; `workers` has them now."""

    @abstractmethod
    def recall(self, count: int) -> None:
        """End so many of those on their way."""

    @abstractmethod
    def recruit(self, count: int) -> None:
        """Have `count` workers: summon, and wait for as many as there is room for now."""

    @abstractmethod
    def shortage(self, wanted: int) -> str:
        """A sentence on why there are fewer than `wanted`."""

    @abstractmethod
    def share(self, value: Any) -> Any:
        """A handle for `Request.args`: sent to each node at most once, read there without a copy."""

    @abstractmethod
    def ask(
        self, requests: Mapping[int, Request], deadline_s: float, watch: Watch | None = None
    ) -> dict[int, Outcome]:
        """Send every request and wait until each worker has answered, failed, died or been silent.

        A worker is silent if it neither answers nor finishes a shard for `deadline_s`; or if `watch` says so.
        """

    @abstractmethod
    def call(self, worker: int, request: Request) -> Call:
        """Send a request that is done after those sent before; nobody waits."""

    @abstractmethod
    def aside(self, requests: Mapping[int, Request], timeout_s: float) -> dict[int, Any]:
        """Ask workers beside what they are busy with; what those answer that do so in time.

        With a timeout of 0 they are only told.
        """

    @abstractmethod
    def dismiss(self, worker: int) -> None:
        """End a worker at once, whatever it is doing."""

    @abstractmethod
    def close(self) -> None:
        """End all workers. Calling it twice is fine."""
