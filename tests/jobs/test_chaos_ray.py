"""A run over Ray whose workers and coordinator are killed, stopped and delayed again and again."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from jobs import journal
from jobs.chaos.blows import Kind
from jobs.chaos.campaign import Request, run_campaign
from jobs.chaos.injectors import Struck
from jobs.chaos.process import Place

pytestmark = pytest.mark.ray

KINDS = [Kind.KILL_WORKER, Kind.STOP_WORKER, Kind.DELAY_WORKER, Kind.KILL_COORDINATOR]


@pytest.mark.timeout(400)
def test_ten_blows_to_workers_and_coordinator_cost_no_byte(small_job: Path, tmp_path: Path) -> None:
    """One to three workers; a killed coordinator's run goes on with others, or in threads."""
    told: list[Struck] = []
    place = Place("ray", 3, None, deadline_s=1.5)
    sets = ("training.epochs=300", "training.batch_size=16")
    request = Request(str(small_job), 10, 2, tmp_path, place, sets, kinds=KINDS)
    result = run_campaign(request, lambda text: None, told.append)
    assert result.trouble == []
    assert len(told) == 10
    count = Counter(struck.kind for struck in told)
    assert count[Kind.KILL_WORKER] >= 2 and count[Kind.KILL_COORDINATOR] >= 2
    lost = [
        event
        for report in result.rounds
        for event in journal.read(report.run.events).records
        if event["kind"] == "worker-lost"
    ]
    assert len(lost) >= count[Kind.KILL_WORKER] + count[Kind.STOP_WORKER]
