"""Which workers compute, and which shards each of them owns. Pure: no processes, no clock.

The bytes of a training do not depend on anything decided here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from cluster.crew import WorkerInfo
from distnn.reduction import Range, worker_ranges

Assignment = dict[int, Range]
"""The shards [start, stop) of each worker that computes; never empty ranges."""


def choose_active(workers: Iterable[WorkerInfo], shards: int, threads: int) -> list[int]:
    """The workers that compute, those of a node next to each other; the others are spares.

    A node computes with at most as many workers as its cores can serve: more would only wait for each
    other. Spares are ready to take over.

    Args:
        workers: all that are alive.
        shards: no more workers than these are useful.
        threads: cores that a shard uses.
    """
    busy: Counter[str] = Counter()
    chosen: list[WorkerInfo] = []
    for worker in sorted(workers, key=lambda info: info.number):
        room = max(1, worker.cores // max(1, threads))
        if busy[worker.node] < room and len(chosen) < shards:
            busy[worker.node] += 1
            chosen.append(worker)
    first_of_node: dict[str, int] = {}
    for worker in chosen:
        first_of_node.setdefault(worker.node, worker.number)
    chosen.sort(key=lambda info: (first_of_node[info.node], info.number))
    return [worker.number for worker in chosen]


def assign(workers: Iterable[WorkerInfo], shards: int, threads: int) -> Assignment:
    """Contiguous, near-equal runs of all the shards, one for each worker that computes."""
    active = choose_active(workers, shards, threads)
    if not active:
        return {}
    return dict(zip(active, worker_ranges(shards, len(active)), strict=True))


def choose_leavers(workers: Iterable[int], assignment: Assignment, wanted: int) -> list[int]:
    """Who goes when only `wanted` may stay: spares first, then the last of those that compute."""
    there = sorted(workers, key=lambda worker: (worker not in assignment, worker))
    return there[wanted:]
