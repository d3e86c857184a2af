"""What can be done to a run, and a seeded plan of when. Pure."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from enum import Enum

LONGEST_LATE_S = 0.4
"""A blow comes up to this long after its step: at any instant of a segment, not at its end."""


class Kind(Enum):
    """What is done, and to whom."""

    KILL_WORKER = "kill-worker"
    STOP_WORKER = "stop-worker"
    DELAY_WORKER = "delay-worker"
    KILL_COORDINATOR = "kill-coordinator"
    KILL_AT_START = "kill-at-start"
    KILL_IN_CHECKPOINT = "kill-in-checkpoint"
    DELAY_COORDINATOR = "delay-coordinator"
    FULL_DISK = "full-disk"
    KILL_NODE = "kill-node"

    @property
    def needs_workers(self) -> bool:
        """Whether its victim is a worker's process."""
        return self in (Kind.KILL_WORKER, Kind.STOP_WORKER, Kind.DELAY_WORKER, Kind.KILL_NODE)


MEANINGS = {
    Kind.KILL_WORKER: "SIGKILL of a worker",
    Kind.STOP_WORKER: "SIGSTOP of a worker past the deadline",
    Kind.DELAY_WORKER: "a worker stopped for less than the deadline",
    Kind.KILL_COORDINATOR: "SIGKILL of the coordinator, then resumed",
    Kind.KILL_AT_START: "SIGKILL of the coordinator, and of the next one while it starts",
    Kind.KILL_IN_CHECKPOINT: "SIGKILL of the coordinator while it writes a checkpoint",
    Kind.DELAY_COORDINATOR: "the coordinator stopped for a while",
    Kind.FULL_DISK: "no file can be written for a while",
    Kind.KILL_NODE: "SIGKILL of a node's Ray with all its workers",
}
OFFERED = tuple(kind for kind in Kind if kind is not Kind.KILL_NODE)
"""What can be done to any run. Nodes are killed only by whom they belong to (`benchmarks/chaos.py`)."""

_DECK = (
    *[Kind.KILL_WORKER] * 4,
    *[Kind.KILL_COORDINATOR] * 2,
    Kind.STOP_WORKER,
    Kind.DELAY_WORKER,
    Kind.FULL_DISK,
    Kind.KILL_IN_CHECKPOINT,
    Kind.KILL_AT_START,
    Kind.DELAY_COORDINATOR,
)
"""How often each comes among twelve; without workers, among those that are left."""


@dataclass(frozen=True)
class Blow:
    """One thing to do.

    Attributes:
        kind: what.
        at: when, as a share of the run's steps, 0 to 1.
        late_s: seconds after that step.
        victim: which of those there are, as a share, 0 to 1.
        length: of what lasts, as a share, 0 to 1.
    """

    kind: Kind
    at: float
    late_s: float
    victim: float
    length: float


def deal(kinds: Collection[Kind], count: int, rng: random.Random) -> list[Kind]:
    """So many kinds: shuffled decks, one after the other, each kind as often as it comes."""
    cards = [kind for kind in (*_DECK, Kind.KILL_NODE) if kind in kinds]
    found: list[Kind] = []
    while len(found) < count:
        found += rng.sample(cards, len(cards))
    return found[:count]


def spread(kinds: Sequence[Kind], rng: random.Random) -> list[Blow]:
    """A blow of each kind, in this order, at random instants of one run."""
    instants = sorted(rng.random() for _ in kinds)
    return [
        Blow(kind, at, LONGEST_LATE_S * rng.random(), rng.random(), rng.random())
        for kind, at in zip(kinds, instants, strict=True)
    ]


def instead(blow: Blow, possible: Sequence[Kind], rng: random.Random) -> Blow:
    """The same instant for another kind, as this one has no victim."""
    return replace(blow, kind=rng.choice(list(possible)))
