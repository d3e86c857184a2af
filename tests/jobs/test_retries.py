"""`--retries` and `distnn stop`: runs that are started again, and runs that are asked to stop."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from job_samples import SMALL_JOB

from jobs import journal
from jobs.cli import cli
from jobs.errors import EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_REQUEST, EXIT_STOPPED
from jobs.recorder import open_recorder
from jobs.retries import crash_of
from jobs.rundir import RunDir
from jobs.status import State, is_being_written, read_status

ROOT = Path(__file__).parent.parent.parent
MODEL = """
import os, pathlib, signal
from distnn.layers import Dense
from distnn.models import Sequential
from distnn.updater import Updater

TRIES = pathlib.Path(__file__).with_name("tries")

def build():
    tries = len(TRIES.read_text()) if TRIES.exists() else 0
    TRIES.write_text("x" * (tries + 1))
    if tries < {deaths}:
        update, left = Updater.update, [12]
        def dying(updater, total):
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            return update(updater, total)
        Updater.update = dying
    {last}
    return Sequential([Dense(16, activation="relu"), Dense(10, activation="softmax")])
"""
LAYERS = SMALL_JOB[SMALL_JOB.index("layers = [") : SMALL_JOB.index("[training]")]


def spec_in(folder: Path, deaths: int = 0, last: str = "") -> Path:
    """A spec whose own code kills its process so often, or fails."""
    folder.mkdir()
    (folder / "own_model.py").write_text(MODEL.format(deaths=deaths, last=last))
    spec = folder / "small.toml"
    spec.write_text(SMALL_JOB.replace(LAYERS, 'factory = "own_model:build"\n'))
    return spec


def tries(spec: Path) -> int:
    return len(spec.with_name("tries").read_text())


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "jobs", *arguments]


def distnn(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), cwd=ROOT, capture_output=True, text=True, timeout=100)


def attempts(run: RunDir) -> list[str | None]:
    """What went before each attempt."""
    return [r.get("after") for r in journal.read(run.events).records if r["kind"] == "attempt"]


@contextmanager
def going(spec: Path, run: RunDir, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """`distnn run` for very long, in its third epoch."""
    long = ("--set", "training.epochs=1000000", "--run-dir", str(run.path))
    process = subprocess.Popen(
        command("run", str(spec), *long, *arguments), cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if line.startswith("Epoch 3/"):
                break
        yield process
    finally:
        for child in psutil.Process(process.pid).children() if process.poll() is None else []:
            child.kill()
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("code", "crash"),
    [
        (EXIT_DONE, ""),
        (EXIT_REQUEST, ""),
        (EXIT_STOPPED, ""),
        (EXIT_INTERRUPTED, ""),
        (EXIT_FAILED, ""),
        (-9, "the run's process was killed (SIGKILL)"),
        (-11, "the run's process was killed (SIGSEGV)"),
        (137, "the run's process ended with exit code 137"),
    ],
)
def test_what_is_a_crash(tmp_path: Path, code: int, crash: str) -> None:
    assert crash_of(code, RunDir(tmp_path / "nothing")) == crash


@pytest.mark.parametrize(("cause", "crash"), [("engine", "all died"), ("user-code", ""), ("storage", "")])
def test_a_failed_run_is_a_crash_if_its_engine_is_to_blame(tmp_path: Path, cause: str, crash: str) -> None:
    recorder = open_recorder(tmp_path / "run")
    recorder.close(State.FAILED, "all died", cause=cause)
    assert crash_of(EXIT_FAILED, recorder.run) == crash


@pytest.mark.slow
def test_a_run_whose_process_is_killed_is_started_again_to_the_same_bytes(tmp_path: Path) -> None:
    whole, broken = spec_in(tmp_path / "whole"), spec_in(tmp_path / "broken", deaths=2)
    unbroken, run = RunDir(tmp_path / "unbroken"), RunDir(tmp_path / "run")
    assert distnn("run", str(whole), "--run-dir", str(unbroken.path)).returncode == 0
    every = ("--set", "checkpoint.every_steps=5", "--set", "cluster.retries=3")
    done = distnn("run", str(broken), "--run-dir", str(run.path), *every, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["state"] == "SUCCEEDED"
    assert tries(broken) == 3
    killed = "the run's process was killed (SIGKILL)"
    assert f"distnn: {killed}: going on from the last checkpoint (2 of 3)" in done.stderr
    assert attempts(run) == [None, killed, killed]
    assert run.model.read_bytes() == unbroken.model.read_bytes()
    assert run.steps.read_bytes() == unbroken.steps.read_bytes()


@pytest.mark.slow
def test_retries_end_and_what_is_no_crash_is_not_tried_again(tmp_path: Path) -> None:
    dying = spec_in(tmp_path / "dying", deaths=9)
    done = distnn("run", str(dying), "--run-dir", str(tmp_path / "run"), "--retries", "1")
    assert done.returncode == EXIT_FAILED
    assert tries(dying) == 2
    assert done.stderr.endswith("was killed (SIGKILL), after 1 retries: go on with `distnn resume`\n")
    failing = spec_in(tmp_path / "failing", last="raise KeyError('own')")
    done = distnn("run", str(failing), "--run-dir", str(tmp_path / "other"), "--retries", "5")
    assert done.returncode == EXIT_FAILED, done.stderr
    assert tries(failing) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, EXIT_STOPPED), (signal.SIGINT, EXIT_INTERRUPTED)]
)
def test_a_stop_reaches_the_run_and_is_not_retried(
    tmp_path: Path, small_job: Path, number: signal.Signals, code: int
) -> None:
    run = RunDir(tmp_path / "run")
    with going(small_job, run, "--retries", "3") as process:
        process.send_signal(number)
        _, text = process.communicate(timeout=100)
    assert process.returncode == code, text
    assert text.count("stopped at step ") == 1
    status = read_status(run)
    assert status is not None and status.state is State.STOPPED
    assert run.checkpoint_steps()[-1] == status.step
    assert attempts(run) == [None]


@pytest.mark.slow
def test_a_stop_of_the_whole_tree_is_one_stop(tmp_path: Path, small_job: Path) -> None:
    """As Ray's job service stops a job: the same signal to the process and to all below it."""
    run = RunDir(tmp_path / "run")
    with going(small_job, run, "--retries", "3") as process:
        for one in (psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)):
            one.send_signal(signal.SIGTERM)
        _, text = process.communicate(timeout=100)
    assert process.returncode == EXIT_STOPPED, text
    status = read_status(run)
    assert status is not None and f"stopped at step {status.step} of " in text
    assert run.checkpoint_steps()[-1] == status.step


@pytest.mark.slow
def test_the_run_of_a_killed_supervisor_stops(tmp_path: Path, small_job: Path) -> None:
    run = RunDir(tmp_path / "run")
    with going(small_job, run, "--retries", "3") as process:
        (child,) = psutil.Process(process.pid).children()
        os.kill(process.pid, signal.SIGKILL)
        psutil.wait_procs([child], timeout=60)
        assert not child.is_running()
    status = read_status(run)
    assert status is not None and status.state is State.STOPPED
    assert run.checkpoint_steps()[-1] == status.step


@pytest.mark.slow
def test_stop_asks_through_the_directory(tmp_path: Path, small_job: Path) -> None:
    run = RunDir(tmp_path / "run")
    with going(small_job, run) as process:
        done = distnn("stop", str(run.path), "--json")
        _, text = process.communicate(timeout=100)
    assert process.returncode == EXIT_STOPPED, text
    facts = json.loads(done.stdout)
    assert facts == {"run": str(run.path), "state": "STOPPED", "step": facts["step"], "was_running": True}
    assert run.checkpoint_steps()[-1] == facts["step"]
    assert not run.stop_request.exists() and not is_being_written(run)
    again = distnn("stop", str(run.path))
    assert again.stdout == f"{run.path} is not running: STOPPED at step {facts['step']}\n"


def test_a_stop_that_nobody_obeys_in_time_is_told(tmp_path: Path) -> None:
    import click.testing

    recorder = open_recorder(tmp_path / "run")
    result = click.testing.CliRunner().invoke(cli, ["stop", str(tmp_path / "run"), "--timeout", "0"])
    assert result.exit_code == EXIT_FAILED
    assert "has not stopped in 0 s" in result.stderr and f"(process {os.getpid()} on " in result.stderr
    recorder._attempt.beat()
    assert recorder.should_stop()
    recorder.close(State.STOPPED)
    recorder = open_recorder(tmp_path / "run")
    recorder._attempt.beat()
    assert not recorder.should_stop(), "a request is for the attempt that it was made in"
    recorder.close()


def test_only_one_command_line_is_made_of_a_supervised_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import click.testing

    found: list[list[str]] = []

    def supervise(arguments: list[str], run: RunDir, retries: int, err: io.TextIOBase) -> int:
        found.append([*arguments, str(retries)])
        return 0

    monkeypatch.setattr("jobs.retries.supervise", supervise)
    spec = tmp_path / "small.toml"
    spec.write_text(SMALL_JOB)
    options = ["--retries", "4", "--set", "seed=5", "--set", "training.epochs=3", "--workers", "2", "--json"]
    place = ["--run-dir", str(tmp_path / "run")]
    result = click.testing.CliRunner().invoke(cli, ["run", str(spec), *options, *place])
    assert result.exit_code == 0, result.output
    (words,) = found
    assert words[0] == "run" and words[-3:] == ["--", str(spec), "4"]
    joined = " ".join(words[1:-3])
    for part in (
        "--set seed=5 --set training.epochs=3",
        "--workers 2",
        "--json",
        "--retries 0",
        " ".join(place),
    ):
        assert part in joined
