"""Shared memory between real processes: workers killed or stopped inside a step, programs that end."""

from __future__ import annotations

import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from cases import make_training, reference, run
from crews import CrewEngine, ManyCores
from faults import PHASES, PLACES, strike_in_process

from jobs.chaos.watch import wait_until

if TYPE_CHECKING:
    from cluster.connect import Connection
    from cluster.crew import Crew

pytestmark = pytest.mark.ray

HERE = Path(__file__).parent


@pytest.fixture
def crew(ray_cluster: Connection, folder: Path) -> Iterator[Crew]:
    from cluster.ray_crew import RayCrew

    crew = RayCrew(ray_cluster, threads=1)
    yield ManyCores(crew)
    crew.close()


def prepare_fault(crew: Crew, worker: int, place: str, *, rank: int, step: int, signal_number: int) -> None:
    """Let the process of `worker` send itself a signal at a place of a step."""
    inner = crew.crew  # type: ignore[attr-defined]
    strike_in_process(inner, worker, "strike", signal_number, place=place, rank=rank, step=step)


@pytest.mark.filterwarnings("ignore:7 workers for 4 shards")
def test_same_bytes_with_1_2_3_and_7_workers(crew: Crew) -> None:
    for workers in (1, 2, 3, 7):
        engine = CrewEngine(crew, workers, exchange="shared_memory")
        assert run(engine) == reference(), f"{workers} workers"
        assert len(engine.coordinator.assignment) == min(workers, 4)


@pytest.mark.parametrize("place", PLACES)
def test_a_worker_killed_at_any_place_of_a_step_changes_no_byte(crew: Crew, place: str) -> None:
    engine = CrewEngine(crew, 3, exchange="shared_memory")
    crew.recruit(3)
    prepare_fault(crew, 1, place, rank=1, step=3, signal_number=signal.SIGKILL)
    assert run(engine) == reference()
    assert sorted(engine.coordinator.assignment) == [0, 2]


@pytest.mark.parametrize("place", ["computing", "in the update"])
def test_a_stopped_worker_is_killed_at_the_deadline(
    crew: Crew, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    engine = CrewEngine(crew, 2, deadline_s=1.0, exchange="shared_memory")
    crew.recruit(2)
    pid, host = crew.workers[0].pid, crew.workers[0].host
    stopped = psutil.Process(pid)
    prepare_fault(crew, 0, place, rank=0, step=3, signal_number=signal.SIGSTOP)
    began = time.monotonic()
    assert run(engine) == reference()
    assert time.monotonic() - began < 20
    assert sorted(engine.coordinator.assignment) == [1]
    _, alive = psutil.wait_procs([stopped], timeout=20)
    assert not alive
    (told,) = caplog.messages
    who = re.escape(f"step 3: worker 0 (pid {pid} on {host})")
    assert re.match(rf"{who} was silent for \d+ s {PHASES[place]}", told), told


def test_more_workers_than_cores_go_on(crew: Crew) -> None:
    """A step of eight workers on two cores is not much longer than their work: none spins for long."""
    engine = CrewEngine(crew, 8, exchange="shared_memory")
    training = make_training("plain", shards=8)
    engine.load(training.task, training.data, training.model.training_state(0))
    engine.run_segment(200)
    assert engine.state().step == 200 and len(engine.coordinator.assignment) == 8


def test_who_waits_for_a_slow_worker_is_asleep(crew: Crew) -> None:
    """One worker is stopped for a while, below the deadline: the other hardly computes meanwhile."""
    engine = CrewEngine(crew, 2, exchange="shared_memory")
    job = make_training("rich")
    engine.load(job.task, job.data, job.model.training_state(0))
    slow, other = (psutil.Process(crew.workers[number].pid) for number in (0, 1))
    shares: list[float] = []

    def measure() -> None:
        try:
            assert wait_until(lambda: slow.status() == psutil.STATUS_STOPPED, 60)
            began, before = time.monotonic(), other.cpu_times()
            time.sleep(2.0)
            after, seconds = other.cpu_times(), time.monotonic() - began
            shares.append((after.user - before.user + after.system - before.system) / seconds)
        finally:
            slow.resume()

    prepare_fault(crew, 0, "in the update", rank=0, step=3, signal_number=signal.SIGSTOP)
    watcher = threading.Thread(target=measure)
    watcher.start()
    found = engine.run_segment(10).fingerprints.tolist()
    watcher.join()
    assert tuple(found) == reference().fingerprints
    assert len(shares) == 1 and shares[0] < 0.3
    assert sorted(crew.workers) == [0, 1]
