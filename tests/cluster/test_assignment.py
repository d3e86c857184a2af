"""Who computes what: tables, no processes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.assignment import assign, choose_active
from cluster.crew import WorkerInfo


def workers(*nodes: tuple[str, int]) -> list[WorkerInfo]:
    """One worker per (node, cores), numbered in order."""
    return [WorkerInfo(i, 100 + i, 0.0, node, node, node, cores) for i, (node, cores) in enumerate(nodes)]


@pytest.mark.parametrize(
    ("crew", "shards", "threads", "expected"),
    [
        (workers(("a", 8)), 4, 1, {0: (0, 4)}),
        (workers(("a", 8), ("a", 8)), 4, 1, {0: (0, 2), 1: (2, 4)}),
        (workers(("a", 8), ("a", 8), ("a", 8)), 4, 1, {0: (0, 2), 1: (2, 3), 2: (3, 4)}),
        (workers(*[("a", 8)] * 7), 4, 1, {0: (0, 1), 1: (1, 2), 2: (2, 3), 3: (3, 4)}),
        # a node computes with no more workers than its cores can serve
        (workers(*[("a", 2)] * 4), 4, 1, {0: (0, 2), 1: (2, 4)}),
        (workers(*[("a", 4)] * 4), 4, 2, {0: (0, 2), 1: (2, 4)}),
        (workers(("a", 1), ("a", 1)), 4, 4, {0: (0, 4)}),
        # the shards of a node lie next to each other
        (workers(("a", 2), ("b", 2), ("a", 2), ("b", 2)), 4, 1, {0: (0, 1), 2: (1, 2), 1: (2, 3), 3: (3, 4)}),
        (workers(("a", 1), ("a", 1), ("b", 1)), 6, 1, {0: (0, 3), 2: (3, 6)}),
        ([], 4, 1, {}),
    ],
)
def test_assign_table(
    crew: list[WorkerInfo], shards: int, threads: int, expected: dict[int, tuple[int, int]]
) -> None:
    assert assign(crew, shards, threads) == expected


def test_assign_goes_on_with_spares_and_survivors() -> None:
    crew = workers(*[("a", 2)] * 3)
    assert assign(crew, 4, 1) == {0: (0, 2), 1: (2, 4)}
    assert assign(crew[1:], 4, 1) == {1: (0, 2), 2: (2, 4)}
    assert assign(crew[2:], 4, 1) == {2: (0, 4)}


@given(
    nodes=st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 6)), min_size=1, max_size=12),
    shards=st.integers(1, 20),
    threads=st.integers(1, 8),
)
def test_assign_covers_every_shard_once(nodes: list[tuple[str, int]], shards: int, threads: int) -> None:
    crew = workers(*nodes)
    ranges = list(assign(crew, shards, threads).values())
    assert [shard for start, stop in ranges for shard in range(start, stop)] == list(range(shards))
    assert all(start < stop for start, stop in ranges)
    assert len(choose_active(crew, shards, threads)) <= min(len(crew), shards)
