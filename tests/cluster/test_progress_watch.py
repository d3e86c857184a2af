"""Who is late, from the numbers that workers give: tables, no waiting (the deadline is 0)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import pytest
from crews import InProcessCrew

from cluster.crew import Request
from cluster.progress import Numbers, ProgressWatch


class Told(InProcessCrew):
    """Its workers give the numbers of a script, look by look; None: no answer."""

    def __init__(self, looks: list[list[Numbers | None]]) -> None:
        super().__init__()
        self.looks = iter(looks)

    def aside(self, requests: Mapping[int, Request], timeout_s: float) -> dict[int, Any]:
        assert {request.method for request in requests.values()} == {"progress"}
        return {worker: one for worker, one in enumerate(next(self.looks)) if one and worker in requests}


@pytest.mark.parametrize(
    ("first", "second", "late"),
    [
        ([(1, 0), (1, 0)], [(2, 0), (2, 0)], set()),
        ([(1, 0), (1, 0)], [(2, 0), (1, 0)], {1}),
        ([(1, 0), (1, 0)], [(2, 0), None], {1}),
        ([(1, 3), (1, 0)], [(1, 4), (1, 0)], {1}),
        ([(1, 3), (1, 0)], [(1, 4), (2, 0)], set()),
        ([(1, 3), (1, 5)], [(1, 4), (1, 6)], {0, 1}),
        ([(1, 3), (1, 5)], [(1, 4), None], {1}),
    ],
)
def test_late_table(first: list[Numbers | None], second: list[Numbers | None], late: set[int]) -> None:
    watch = ProgressWatch(Told([first, second]), [0, 1])
    assert watch.late([0, 1], 0.0) == {}
    assert set(watch.late([0, 1], 0.0)) == late


def test_an_answer_is_progress_for_those_that_waited() -> None:
    watch = ProgressWatch(Told([[(1, 0), (1, 0)], [(1, 1), None], [(1, 2), None]]), [0, 1])
    assert watch.late([0, 1], 0.0) == {}
    assert watch.late([0], 0.0) == {}
    assert set(watch.late([0], 0.0)) == {0}


def test_a_coordinator_that_was_away_blames_nobody() -> None:
    """Stopped or suspended itself, it comes back after the deadline and finds the numbers as they were."""
    watch = ProgressWatch(Told([[(1, 0)]] * 3), [0])
    assert watch.late([0], 1.0) == {}
    watch._looks._last -= 10.0
    watch._heard = {0: ((1, 0), time.monotonic() - 10.0)}
    assert watch.late([0], 1.0) == {}
    watch._heard = {0: ((1, 0), time.monotonic() - 10.0)}
    assert set(watch.late([0], 1.0)) == {0}, "from now on it counts"
