"""Shared memory between real processes: workers killed or stopped inside a step, programs that end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cases import make_training, reference, run
from crews import CrewEngine, ManyCores
from faults import PHASES, PLACES
from test_ray_processes import read_line, start

if TYPE_CHECKING:
    from cluster.connect import Connection
    from cluster.crew import Crew

pytestmark = pytest.mark.ray

HERE = Path(__file__).parent


def segments() -> list[Path]:
    return list(Path("/dev/shm").glob("distnn-shared-*"))


@pytest.fixture
def crew(ray_cluster: Connection) -> Iterator[Crew]:
    from cluster.ray_crew import RayCrew

    crew = RayCrew(ray_cluster, threads=1)
    yield ManyCores(crew)
    crew.close()
    assert not segments()


def prepare_fault(crew: Crew, worker: int, place: str, *, rank: int, step: int, signal_number: int) -> None:
    """Let the process of `worker` send itself a signal at a place of a step."""
    from cluster.ray_import import ray

    folder = str(HERE)

    def install(_: Any) -> None:
        import os
        import sys

        sys.path.append(folder)
        from faults import strike

        fault = strike(place, rank=rank, step=step, blow=lambda: os.kill(os.getpid(), signal_number))
        fault.__enter__()
        sys.modules["faults"].kept = fault  # type: ignore[attr-defined]

    actor = crew.crew._actors[worker]  # type: ignore[attr-defined]
    ray.get(actor.__ray_call__.remote(install))


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
    prepare_fault(crew, 0, place, rank=0, step=3, signal_number=signal.SIGSTOP)
    began = time.monotonic()
    assert run(engine) == reference()
    assert time.monotonic() - began < 20
    assert sorted(engine.coordinator.assignment) == [1]
    assert not Path(f"/proc/{pid}").exists()
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


# Programs


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def wait_until_gone(pids: list[int], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not all(map(is_gone, pids)):
        assert time.monotonic() < deadline, f"{pids} still run"
        time.sleep(0.05)


def test_nothing_is_left_after_the_coordinator_is_killed() -> None:
    program = start("train_for_ever")
    try:
        _, *pids = read_line(program)
        program.kill()
        program.communicate(timeout=10)
        wait_until_gone([int(pid) for pid in pids])
        assert not segments()
    finally:
        program.kill()


def test_a_program_killed_while_its_memory_has_a_name_is_swept_by_the_next() -> None:
    code = (
        "import os, cluster.exchange.shared_memory as shared;"
        "from programs import *;"
        "shared.SharedSegment.forget_name = lambda self: os.kill(os.getpid(), 9);"
        "train_for_ever()"
    )
    path = os.pathsep.join([str(HERE.parent.parent), str(HERE)])
    environment = os.environ | {"PYTHONPATH": path}
    subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=tempfile.gettempdir(),
        timeout=60,
        capture_output=True,
    )
    assert len(segments()) == 1
    assert run(CrewEngine(_in_process(), 2, exchange="shared_memory")) == reference()
    assert not segments()


def _in_process() -> Crew:
    from crews import InProcessCrew

    return InProcessCrew()
