"""Losses over real processes: replacements that join, workers that wake too late, nodes that go and come."""

from __future__ import annotations

import gc
import os
import signal
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from cases import local_fingerprints, make_training
from crews import CrewEngine, FaultyCrew, ManyCores, Merciful
from faults import strike_in_process
from programs import train_until
from test_ray_processes import finish, start

if TYPE_CHECKING:
    from cluster.connect import Connection
    from cluster.ray_crew import RayCrew

pytestmark = [
    pytest.mark.ray,
    pytest.mark.filterwarnings("ignore:BatchNormalization takes the statistics of its shard"),
]

EXCHANGES = ["shared_memory", "hierarchical", "object_store"]


@pytest.fixture
def crew(ray_cluster: Connection, folder: Path) -> Iterator[RayCrew]:
    from cluster.ray_crew import RayCrew

    crew = RayCrew(ray_cluster, threads=1)
    yield crew
    pids = [info.pid for info in crew.workers.values()]
    crew.close()
    psutil.wait_procs([psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)], timeout=20)


def loaded(engine: CrewEngine) -> CrewEngine:
    training = make_training("rich")
    engine.load(training.task, training.data, training.model.training_state(0))
    return engine


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_a_killed_worker_is_replaced_while_the_training_goes_on(crew: RayCrew, exchange: str) -> None:
    engine = loaded(CrewEngine(ManyCores(crew), 3, exchange=exchange))
    found = engine.run_segment(5).fingerprints.tolist()
    victim = crew.workers[0]
    os.kill(victim.pid, signal.SIGKILL)
    found += train_until(engine, lambda: bool(engine.told("recovered")))
    assert sorted(engine.coordinator.assignment) == [1, 2]
    found += train_until(engine, lambda: bool(engine.told("worker-joined")))
    found += engine.run_segment(5).fingerprints.tolist()
    assert sorted(engine.coordinator.assignment) == [1, 2, 3]
    assert found == local_fingerprints(len(found))
    (lost,) = engine.told("worker-lost")
    assert (lost["pid"], lost["host"], lost["cause"]) == (victim.pid, victim.host, "died")
    (joined,) = engine.told("worker-joined")
    assert joined["pid"] == crew.workers[3].pid and joined["step"] > lost["step"]


def test_a_lost_generation_is_let_go_at_once(crew: RayCrew) -> None:
    """Without the garbage collector's help, which may come late: its memory would stay mapped till then."""
    engine = loaded(CrewEngine(ManyCores(crew), 2, exchange="shared_memory", wait_s=60.0))
    engine.run_segment(2)
    memory = weakref.ref(engine.exchange._generation.memory)  # type: ignore[attr-defined]
    gc.collect()
    gc.disable()
    try:
        os.kill(crew.workers[1].pid, signal.SIGKILL)
        engine.run_segment(5)
        assert len(engine.told("worker-lost")) == 1
        assert memory() is None
    finally:
        gc.enable()


def test_all_workers_killed_at_once_are_replaced(crew: RayCrew) -> None:
    engine = loaded(CrewEngine(ManyCores(crew), 2, exchange="shared_memory", wait_s=60.0))
    found = engine.run_segment(5).fingerprints.tolist()
    for info in list(crew.workers.values()):
        os.kill(info.pid, signal.SIGKILL)
    found += engine.run_segment(5).fingerprints.tolist()
    assert found == local_fingerprints(10)
    assert engine.told("waiting")[0]["have"] == 0
    assert set(engine.coordinator.assignment) <= {2, 3}


STRIKES = {
    "shared_memory": ("strike", {"place": "in the update", "rank": 1, "step": 4}),
    "hierarchical": ("strike_node", {"place": "adding", "step": 4}),
    "object_store": None,
}


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_a_stopped_worker_that_wakes_too_late_changes_nothing(crew: RayCrew, exchange: str) -> None:
    """It is given up while it is stopped, woken, and goes on where it was; nobody reads what it writes."""
    merciful = Merciful(crew)
    faulty = FaultyCrew(merciful)
    engine = CrewEngine(ManyCores(faulty), 2, deadline_s=1.0, exchange=exchange)
    crew.recruit(2)
    stopped = psutil.Process(crew.workers[1].pid)
    strike = STRIKES[exchange]
    if strike is None:
        faulty.hang_at(worker=1, step=4)
    else:
        strike_in_process(crew, 1, strike[0], signal.SIGSTOP, **strike[1])
    found = loaded(engine).run_segment(4).fingerprints.tolist()
    found += train_until(engine, lambda: bool(engine.told("recovered")))
    assert [one["cause"] for one in engine.told("worker-lost")] == ["silent"]
    assert stopped.is_running() and stopped.status() != psutil.STATUS_STOPPED
    found += train_until(engine, lambda: merciful.woken[1].outcome() is not None)
    found += engine.run_segment(5).fingerprints.tolist()
    assert found == local_fingerprints(len(found))
    stopped.kill()


@pytest.mark.timeout(240)
@pytest.mark.parametrize("exchange", ["auto"])
def test_a_node_may_be_lost_and_another_come(exchange: str) -> None:
    """Three raylets; the one with two of the four workers is killed, with all it has; then one is added."""
    # A node that has just come may have to ask for an object twice; Ray waits 10 s between.
    program = start("lose_and_gain_a_node", exchange, RAY_object_manager_pull_timeout_ms="1000")
    output, errors = finish(program, 200)
    said = [line for line in output.splitlines() if line.startswith(("nodes ", "lost ", "joined ", "same "))]
    assert said == ["nodes 1 1 2", "lost 2 computing 2", "joined 2", "same True"], output + errors
