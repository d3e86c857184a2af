"""`distnn run` on two Ray workers: what it shows and leaves when a worker is killed, or it is stopped."""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from jobs import journal
from jobs.chaos.watch import wait_until
from jobs.rundir import RunDir
from jobs.status import State, read_status

pytestmark = [pytest.mark.ray, pytest.mark.slow]

ROOT = Path(__file__).parent.parent.parent
PROGRAM = """
import pathlib, sys
from cluster.exchange import segment
segment.FOLDER = pathlib.Path(sys.argv.pop(1))
{more}
from jobs.cli import main
main()
"""
SHARES_OR_FAILS = """
import cluster.engine
from cluster.exchange.choice import make_exchange
cluster.engine.make_exchange = lambda name, *more: make_exchange("shared_memory", *more)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """Of shared memory, for this test alone."""
    path = Path(tempfile.mkdtemp(prefix="distnn-test-", dir="/dev/shm"))
    yield path
    left = list(path.iterdir())
    shutil.rmtree(path)
    assert not left


@contextmanager
def running(
    folder: Path, spec: Path, run: RunDir, *arguments: str, more: str = ""
) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", PROGRAM.format(more=more), str(folder), "run", str(spec)]
    command += ["--backend", "ray", "--run-dir", str(run.path), *arguments]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for_epoch(process: subprocess.Popen[str], epoch: int) -> list[str]:
    """What was shown before it."""
    shown: list[str] = []
    assert process.stderr is not None
    for line in process.stderr:
        shown.append(line.rstrip("\n"))
        if line.startswith(f"Epoch {epoch}/"):
            return shown
    raise AssertionError(shown)


def workers_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if child.name().startswith("ray::Worker")]


def warnings_in(lines: list[str]) -> list[str]:
    return [line.removeprefix("distnn: warning: ") for line in lines if line.startswith("distnn: warning: ")]


def events(run: RunDir, kind: str) -> list[str]:
    return [r["message"] for r in journal.read(run.events).records if r["kind"] == kind]


def test_a_killed_worker_is_one_line_one_event_and_no_byte(
    small_job: Path, tmp_path: Path, folder: Path
) -> None:
    epochs = ("--set", "training.epochs=60")
    run, unbroken = RunDir(tmp_path / "run"), RunDir(tmp_path / "unbroken")
    with running(folder, small_job, run, *epochs) as process:
        shown = wait_for_epoch(process, 6)
        workers = workers_of(process)
        workers[0].kill()
        output, rest = process.communicate(timeout=100)
        psutil.wait_procs(workers, timeout=20)
    shown += rest.splitlines()
    assert process.returncode == 0, shown
    (told,) = warnings_in(shown)
    who = rf"worker \d \(pid {workers[0].pid} on \S+\) died (while|when) it .+ \(.+\)"
    assert re.fullmatch(rf"step \d+: {who}; 1 worker goes on from the last committed state", told)
    assert events(run, "warning") == [told]
    lines = [line for line in shown[2:] if not line.startswith(("distnn: warning: ", "Epoch "))]
    assert all("val_accuracy" in line for line in lines) and len(lines) == 60
    assert output.startswith("val_accuracy")
    assert not any(worker.is_running() for worker in workers)
    command = [sys.executable, "-m", "jobs", "run", str(small_job), "--run-dir", str(unbroken.path), *epochs]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True, timeout=100)
    assert run.model.read_bytes() == unbroken.model.read_bytes()
    assert run.steps.read_bytes() == unbroken.steps.read_bytes()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 3)])
def test_a_signal_leaves_no_process_and_no_segment(
    small_job: Path, tmp_path: Path, folder: Path, number: signal.Signals, code: int
) -> None:
    run = RunDir(tmp_path / "run")
    with running(folder, small_job, run, "--set", "training.epochs=100000") as process:
        wait_for_epoch(process, 3)
        workers = workers_of(process)
        assert len(workers) == 2
        process.send_signal(number)
        _, rest = process.communicate(timeout=60)
        _, alive = psutil.wait_procs(workers, timeout=20)
    assert process.returncode == code, rest
    assert not alive
    status = read_status(run)
    assert status is not None and status.state is State.STOPPED
    assert run.checkpoint_steps()[-1] == status.step
    assert "Traceback" not in rest


def test_idle_workers_and_missing_room_are_told_once(small_job: Path, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    with running(
        tmp_path / "absent", small_job, run, "--workers", "3", "--set", "training.shards=2"
    ) as process:
        output, errors = process.communicate(timeout=100)
    assert process.returncode == 0, errors
    idle, room = warnings_in(errors.splitlines())
    assert idle.startswith("3 workers for 2 shards: 1 stays idle")
    assert room.startswith("this machine has no shared memory") and room.endswith("slower object store")
    assert events(run, "warning") == [idle, room]
    assert "UserWarning" not in errors


def test_shared_memory_that_must_be_and_is_not_fails_the_run_in_a_line(
    small_job: Path, tmp_path: Path
) -> None:
    run = RunDir(tmp_path / "run")
    with running(tmp_path / "absent", small_job, run, more=SHARES_OR_FAILS) as process:
        _, errors = process.communicate(timeout=100)
    assert process.returncode == 1, errors
    (line,) = errors.splitlines()[2:]
    where = f"({tmp_path / 'absent'}: No such file or directory)"
    assert line.startswith(f"distnn: the run failed: this machine has no shared memory {where}: mount one")
    assert line.endswith("or use exchange='object_store'")
    status = read_status(run)
    assert status is not None and status.state is State.FAILED
    assert not run.steps.stat().st_size


DIES = """
import os, signal
from cluster.engine import RayEngine
from jobs.checkpoints import CheckpointStore

def dying(owner, name, is_time):
    original = getattr(owner, name)
    def wrapped(*arguments, **named):
        if is_time(*arguments):
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments, **named)
    setattr(owner, name, wrapped)

place = {place!r}
if place == "start":
    dying(RayEngine, "load", lambda *arguments: True)
elif place == "step":
    # From another thread, so that it comes in the middle of a segment that workers run by themselves.
    import threading
    run_segment = RayEngine.run_segment
    def watched(engine, steps):
        if engine.state().step >= 30:
            threading.Timer(0.001, os.kill, (os.getpid(), signal.SIGKILL)).start()
            while True:
                run_segment(engine, steps)
        return run_segment(engine, steps)
    RayEngine.run_segment = watched
elif place == "validation":
    dying(RayEngine, "evaluate", lambda engine, *more: engine.state().step == 46)
elif place == "checkpoint":
    dying(os, "replace", lambda source, target: str(target).endswith("step-00000040.safetensors"))
"""


@pytest.mark.parametrize("place", ["start", "step", "validation", "checkpoint"])
def test_a_killed_coordinator_leaves_nothing_and_the_run_goes_on_elsewhere(
    small_job: Path, tmp_path: Path, folder: Path, place: str
) -> None:
    run, unbroken = RunDir(tmp_path / "run"), RunDir(tmp_path / "unbroken")
    options = ("--set", "training.epochs=4", "--set", "checkpoint.every_steps=10")
    with running(folder, small_job, run, *options, more=DIES.format(place=place)) as process:
        workers: dict[int, psutil.Process] = {}
        while process.poll() is None:
            with contextlib.suppress(psutil.Error):
                workers |= {worker.pid: worker for worker in workers_of(process)}
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.05)
        _, text = process.communicate()
        _, alive = psutil.wait_procs(list(workers.values()), timeout=20)
    assert process.returncode == -signal.SIGKILL, text
    assert not alive
    assert len(workers) == 2 or place == "start", "at the start they may not have been seen"
    command = [sys.executable, "-m", "jobs"]
    for arguments in (
        ["run", str(small_job), "--run-dir", str(unbroken.path), *options],
        ["resume", str(run.path), "--backend", "threads", "--workers", "3"],
    ):
        subprocess.run([*command, *arguments], cwd=ROOT, capture_output=True, check=True, timeout=100)
    assert run.model.read_bytes() == unbroken.model.read_bytes()
    assert run.steps.read_bytes() == unbroken.steps.read_bytes()


def test_a_live_run_is_scaled_down_and_up_and_changes_no_byte(
    small_job: Path, tmp_path: Path, folder: Path
) -> None:
    run, unbroken = RunDir(tmp_path / "run"), RunDir(tmp_path / "unbroken")
    with running(folder, small_job, run, "--set", "training.epochs=100000") as process:
        wait_for_epoch(process, 3)
        rest = read_on(process)
        first = workers_of(process)
        assert scaled(run, "1") == ["run goes on with 1 worker"]
        assert wait_until(lambda: [one.is_running() for one in first].count(True) == 1, 20)
        assert scaled(run, "5") == [
            "5 are more than the most that the run was begun with, 2: it takes 2",
            "run goes on with 2 workers",
        ]
        wait_for_event(run, "worker-joined")
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
    assert process.returncode == 3, rest
    status = read_status(run)
    assert status is not None and status.workers == 2
    kinds = [r["kind"] for r in journal.read(run.events).records]
    assert [kind for kind in kinds if kind in ("scaled", "worker-left", "worker-joined")] == [
        "scaled",
        "worker-left",
        "scaled",
        "worker-joined",
    ]
    epochs = ("--set", f"training.epochs={status.epoch + 1}")
    command = [sys.executable, "-m", "jobs", "run", str(small_job), "--run-dir", str(unbroken.path), *epochs]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True, timeout=100)
    found = run.steps.read_bytes()
    assert found and unbroken.steps.read_bytes().startswith(found)


def read_on(process: subprocess.Popen[str]) -> list[str]:
    """What it shows from now on; a program whose pipe is full would wait for ever."""
    lines: list[str] = []
    assert process.stderr is not None
    threading.Thread(target=lines.extend, args=(process.stderr,), daemon=True).start()
    return lines


def scaled(run: RunDir, workers: str) -> list[str]:
    """What `distnn scale` says."""
    command = [sys.executable, "-m", "jobs", "scale", str(run.path), workers]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.splitlines()


def wait_for_event(run: RunDir, kind: str, seconds: float = 60.0) -> None:
    def is_told() -> bool:
        return any(record["kind"] == kind for record in journal.read(run.events).records)

    assert wait_until(is_told, seconds)
