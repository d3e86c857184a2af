"""Starting actors: what counts as a failure, who is waited for and how long."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

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
