"""Nothing is left in shared memory: whole programs that end, or are killed at any instant, and the next one.

Each program has a folder of its own in shared memory, so that nobody else's segments are seen here.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from cases import make_training, reference, run
from crews import CrewEngine, FaultyCrew, InProcessCrew, ManyCores
from test_ray_processes import read_line, start

from distnn.engine import EngineOptions, create_engine

if TYPE_CHECKING:
    from cluster.connect import Connection
    from cluster.crew import Crew

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:BatchNormalization takes the statistics of its shard"),
]

NAMED = ("while it is made", "before anybody maps it", "when one has mapped it", "when all have mapped it")
"""Instants at which a segment has a name."""


@contextmanager
def training(folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], list[psutil.Process]]]:
    """A program that trains on two workers; and the processes that it has begun."""
    program = start("train_in", str(folder), *arguments)
    try:
        word, *_ = read_line(program)
        assert word == "training"
        others = psutil.Process(program.pid).children(recursive=True)
        assert len(workers_of(others)) == 2
        yield program, others
    finally:
        program.kill()
        program.communicate(timeout=20)


def say(program: subprocess.Popen[str], line: str) -> None:
    assert program.stdin is not None
    print(line, file=program.stdin, flush=True)


def workers_of(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Some helpers of Ray outlive it for half a minute; they do not concern us."""
    return [process for process in processes if process.name().startswith("ray::Worker")]


def wait_until_gone(processes: list[psutil.Process]) -> None:
    """They end by themselves."""
    _, alive = psutil.wait_procs(processes, timeout=30)
    assert not alive


def mapping(folder: Path) -> list[int]:
    """Processes that hold memory of the folder, with or without a name."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(folder) in Path(f"/proc/{process.pid}/maps").read_text():
                found.append(process.pid)
        except OSError:
            continue
    return found


def is_swept_by_the_next(folder: Path) -> bool:
    assert run(CrewEngine(InProcessCrew(), 2, exchange="shared_memory")) == reference()
    return not list(folder.iterdir())


@pytest.mark.parametrize("instant", NAMED)
def test_a_coordinator_killed_while_the_memory_has_a_name(folder: Path, instant: str) -> None:
    with training(folder, instant) as (program, others):
        workers = workers_of(others)
        say(program, "go")
        program.wait(timeout=60)
        wait_until_gone(workers)
    assert program.returncode == -signal.SIGKILL
    assert len(list(folder.iterdir())) == 1
    assert not mapping(folder)
    assert is_swept_by_the_next(folder)


def test_a_coordinator_killed_in_the_middle_of_steps(folder: Path) -> None:
    with training(folder) as (program, others):
        workers = workers_of(others)
        assert len(mapping(folder)) == 3
        program.kill()
        wait_until_gone(workers)
    assert not list(folder.iterdir()) and not mapping(folder)


def test_workers_that_are_stopped_end_with_their_coordinator(folder: Path) -> None:
    with training(folder) as (program, others):
        workers = workers_of(others)
        for worker in workers:
            worker.suspend()
        program.kill()
        wait_until_gone(workers)
    assert not list(folder.iterdir()) and not mapping(folder)


@pytest.mark.parametrize("instant", ["when one has mapped it", ""])
def test_everything_killed_at_once(folder: Path, instant: str) -> None:
    with training(folder, instant, "everything") as (program, others):
        if instant:
            say(program, "go")
        else:
            for process in [*others, psutil.Process(program.pid)]:
                process.kill()
        program.wait(timeout=60)
        wait_until_gone(others)
    assert len(list(folder.iterdir())) == (1 if instant else 0)
    assert not mapping(folder)
    assert is_swept_by_the_next(folder)


def test_a_program_that_ends_leaves_nothing(folder: Path) -> None:
    with training(folder, "end") as (program, others):
        workers = workers_of(others)
        say(program, "go")
        assert program.wait(timeout=60) == 0
        wait_until_gone(workers)
    assert not list(folder.iterdir()) and not mapping(folder)


# Workers


@pytest.fixture
def crew(ray_cluster: Connection, folder: Path) -> Iterator[Crew]:
    from cluster.ray_crew import RayCrew

    crew = RayCrew(ray_cluster, threads=1)
    yield ManyCores(crew)
    pids = [info.pid for info in crew.workers.values()]
    crew.close()
    psutil.wait_procs([psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)], timeout=20)
    assert set(mapping(folder)) <= {os.getpid()}


def test_a_worker_killed_as_it_maps_the_memory(crew: Crew) -> None:
    faulty = FaultyCrew(crew).fail_when("attach", worker=1)
    engine = CrewEngine(faulty, 3, exchange="shared_memory")
    assert run(engine) == reference()
    assert sorted(engine.coordinator.assignment) == [0, 2]
    faulty.assert_all_fired()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_worker_killed_at_any_instant_changes_no_byte(crew: Crew, seed: int) -> None:
    steps = 3000
    job = make_training("rich")
    engine = CrewEngine(crew, 3, exchange="shared_memory")
    engine.load(job.task, job.data, job.model.training_state(0))
    engine.run_segment(1)
    victim = random.Random(seed).randrange(3)
    delay_s = random.Random(seed).uniform(0, 0.1)
    killer = threading.Timer(delay_s, os.kill, (crew.workers[victim].pid, signal.SIGKILL))
    killer.start()
    found = engine.run_segment(steps - 1).fingerprints.tolist()
    killer.join()
    local, same = create_engine("local", EngineOptions()), make_training("rich")
    local.load(same.task, same.data, same.model.training_state(0))
    assert found == local.run_segment(steps).fingerprints.tolist()[1:]
    assert victim not in engine.coordinator.assignment
