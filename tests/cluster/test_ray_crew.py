"""Starting actors: what counts as a failure, who is waited for and how long."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from jobs.chaos.watch import wait_until

if TYPE_CHECKING:
    from cluster.connect import Connection
    from cluster.ray_crew import RayCrew

pytestmark = pytest.mark.ray


@pytest.fixture
def crew(ray_cluster: Connection) -> Iterator[RayCrew]:
    from cluster.ray_crew import RayCrew

    crew = RayCrew(ray_cluster, threads=1)
    yield crew
    crew.close()


@pytest.fixture
def free_cluster(ray_cluster: Connection) -> Connection:
    """One that is asked for CPUs, and whose two are free."""
    from cluster.ray_import import ray

    # Ray knows of those that were left some time after.
    assert wait_until(lambda: ray.available_resources().get("CPU", 0) >= 2, 30)
    return replace(ray_cluster, is_embedded=False)


@pytest.fixture
def full_cluster(free_cluster: Connection) -> Iterator[Connection]:
    """One whose two CPUs are another crew's."""
    from cluster.ray_crew import RayCrew

    other = RayCrew(free_cluster, threads=2)
    other.recruit(1)
    assert len(other.workers) == 1
    yield free_cluster
    other.close()


def test_workers_that_cannot_start_together_are_one_failed_start(crew: RayCrew) -> None:
    from cluster.ray_import import ray

    for rounds in (1, 2):
        crew.summon(2)
        for summoned in crew._coming.values():
            ray.kill(summoned.actor)
        while crew.coming:
            crew.arrivals(1.0)
        assert crew.failed_starts == rounds
    crew.recruit(1)
    assert crew.failed_starts == 0 and len(crew.workers) == 1


def test_a_full_cluster_is_waited_for_once(full_cluster: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every call of a model recruits: with as many workers as there is room for, none of them may idle."""
    from cluster import ray_crew

    monkeypatch.setattr(ray_crew, "_FULL_S", 0.2)
    crew = ray_crew.RayCrew(full_cluster, threads=1)
    waits: list[float] = []
    arrivals = crew.arrivals

    def noted(timeout_s: float = 0.0) -> list[int]:
        waits.append(timeout_s)
        return arrivals(timeout_s)

    monkeypatch.setattr(crew, "arrivals", noted)
    crew.recruit(1)
    assert sum(waits) > 0 and crew.coming == 1
    waits.clear()
    crew.recruit(1)
    assert waits == [0.0] and crew.coming == 1
    crew.close()


def test_a_start_that_hangs_on_the_last_free_cpus_is_a_failure(free_cluster: Connection) -> None:
    """It holds them itself: that the cluster is full is no excuse."""
    from cluster.ray_crew import RayCrew

    crew = RayCrew(free_cluster, threads=2, start_deadline_s=0.0)
    crew.summon(1)
    assert crew.arrivals() == []
    assert crew.failed_starts == 1 and crew.coming == 0
    assert "could be started: it did not answer within 0 s" in crew.shortage(1)
    crew.close()


def test_those_that_lack_room_stay_queued(full_cluster: Connection) -> None:
    """Not ended and summoned again for ever, nor counted as failures."""
    from cluster.ray_crew import RayCrew

    crew = RayCrew(full_cluster, threads=1, start_deadline_s=0.0)
    crew.summon(1)
    (before,) = crew._coming.values()
    for _ in range(3):
        assert crew.arrivals() == []
    assert [one.actor for one in crew._coming.values()] == [before.actor]
    assert crew.failed_starts == 0
    crew.close()
