"""How far the workers' cores are: measured by meetings, and never more than a matter of time."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest
from cases import reference, run
from crews import CrewEngine, InProcessCrew

from cluster.exchange import distance as distances
from cluster.exchange.distance import Distance
from cluster.exchange.segment import SharedLayout, SharedSegment
from distnn.kernels.waiting import LINE

pytestmark = pytest.mark.usefixtures("folder")


@pytest.fixture
def segment() -> Iterator[SharedSegment]:
    made = SharedSegment.create(SharedLayout(2, 2, 1, 0, 1, 1, 1, 0, 1, 1), 1)
    yield made
    made.forget_name()


def test_workers_that_meet_end_at_the_same_word(segment: SharedSegment) -> None:
    two = [Distance(segment, rank) for rank in range(2)]
    with ThreadPoolExecutor(2) as threads:
        for _ in range(3):
            list(threads.map(Distance.measure, two))
            assert segment.meetings[0] == segment.meetings[LINE]
    assert segment.words.tolist() == [0] * len(segment.words), "a meeting commits nothing"


def test_a_worker_that_is_alone_goes_on_without_an_answer(segment: SharedSegment) -> None:
    alone, late = Distance(segment, 0), Distance(segment, 1)
    alone.is_far = late.is_far = True
    alone.measure()
    late.measure()
    assert alone.is_far and late.is_far, "nobody was met"
    assert segment.meetings[0] == segment.meetings[LINE]


@pytest.mark.parametrize(("nanoseconds", "is_far"), [(55, False), (120, False), (270, True)])
def test_cores_are_far_if_a_meeting_takes_long(
    segment: SharedSegment, monkeypatch: pytest.MonkeyPatch, nanoseconds: int, is_far: bool
) -> None:
    clock = count(0, nanoseconds * distances._MEETINGS * 1e-9)
    monkeypatch.setattr(distances, "arrive_and_await", lambda *_: distances.ARRIVED)
    monkeypatch.setattr(distances, "meet_often", lambda *_: distances._MEETINGS)
    monkeypatch.setattr(distances.time, "perf_counter", lambda: next(clock))
    one = Distance(segment, 0)
    one.measure()
    assert one.is_far == is_far


@pytest.mark.parametrize("kind", ["plain", "rich", "wide", "lamb"])
def test_same_bytes_however_they_travel(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every worker streams, or not, as it likes, and differently from call to call."""
    ways: set[bool] = set()
    answers = count()

    def measure(self: Distance) -> None:
        self.is_far = next(answers) % 3 != 0
        ways.add(self.is_far)

    monkeypatch.setattr(Distance, "measure", measure)
    monkeypatch.setattr("cluster.exchange.shared_steps._MEASURED_STEPS", 1)
    for workers in (2, 3):
        engine = CrewEngine(InProcessCrew(), workers, exchange="shared_memory")
        assert run(engine, kind) == reference(kind)
    assert ways == {True, False}
