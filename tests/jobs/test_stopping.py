"""Real processes that are stopped, killed and resumed: exit codes, and the same bytes in the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from job_samples import SMALL_JOB

from jobs.recorder import read_metrics
from jobs.rundir import RunDir
from jobs.status import State, read_status

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent
EPOCHS = 150


@contextmanager
def started(spec: Path, run: RunDir, epochs: int = EPOCHS) -> Iterator[subprocess.Popen[str]]:
    """`distnn run` in a process of its own, in its fifth epoch."""
    command = [sys.executable, "-m", "jobs", "run", str(spec), "--run-dir", str(run.path)]
    command += ["--set", f"training.epochs={epochs}", "--set", "checkpoint.every_steps=50"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None and process.stdout is not None
    try:
        for line in process.stderr:
            if line.startswith("Epoch 5/"):
                break
        yield process
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
        process.stdout.close()


def rest_of(process: subprocess.Popen[str]) -> tuple[int, str]:
    """The exit code, and what else came on standard error."""
    assert process.stderr is not None
    text = process.stderr.read()
    return process.wait(timeout=60), text


def distnn(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "jobs", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """The same training, never stopped."""
    folder = tmp_path_factory.mktemp("unbroken")
    (folder / "small.toml").write_text(SMALL_JOB)
    run = RunDir(folder / "run")
    done = distnn(
        "run", str(folder / "small.toml"), "--run-dir", str(run.path), "--set", f"training.epochs={EPOCHS}"
    )
    assert done.returncode == 0, done.stderr
    return run


def assert_resumes_to(run: RunDir, unbroken: RunDir) -> None:
    done = distnn("resume", str(run.path), "--backend", "threads", "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert run.model.read_bytes() == unbroken.model.read_bytes()
    assert run.steps.read_bytes() == unbroken.steps.read_bytes()
    epochs = [line["epoch"] for line in read_metrics(run) if line["kind"] == "epoch"]
    assert epochs == list(range(EPOCHS))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 3), (signal.SIGHUP, 3)])
def test_first_signal_stops_at_a_commit(
    small_job: Path, tmp_path: Path, unbroken: RunDir, number: signal.Signals, code: int
) -> None:
    run = RunDir(tmp_path / "run")
    with started(small_job, run) as process:
        process.send_signal(number)
        exit_code, text = rest_of(process)
    assert exit_code == code, text
    status = read_status(run)
    assert status is not None and status.state is State.STOPPED
    assert f"stopped at step {status.step} of {EPOCHS * 23}; go on with: distnn resume {run.path}" in text
    assert run.checkpoint_steps()[-1] == status.step
    assert "Traceback" not in text
    assert_resumes_to(run, unbroken)


def test_second_signal_stops_at_once(small_job: Path, tmp_path: Path, unbroken: RunDir) -> None:
    run = RunDir(tmp_path / "run")
    with started(small_job, run) as process:
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)
        exit_code, text = rest_of(process)
    assert exit_code == 130, text
    assert "Traceback" not in text
    assert_resumes_to(run, unbroken)


def test_killed_run_resumes_to_the_same_bytes(small_job: Path, tmp_path: Path, unbroken: RunDir) -> None:
    run = RunDir(tmp_path / "run")
    with started(small_job, run) as process:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert distnn("status", str(run.path)).stdout.splitlines()[0] == "run: INTERRUPTED"
    assert_resumes_to(run, unbroken)


def test_a_run_that_is_going_is_not_resumed(small_job: Path, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    with started(small_job, run, epochs=100_000) as process:
        done = distnn("resume", str(run.path))
        process.send_signal(signal.SIGINT)
        rest_of(process)
    assert done.returncode == 2
    assert "is being written by another process (process " in done.stderr
