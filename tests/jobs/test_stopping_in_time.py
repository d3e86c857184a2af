"""A stop is held to its time whatever the main thread is busy with, and costs no byte.

What takes long here is native code that would run for hours and that no signal interrupts: without the thread
that watches signals the process would not end within this test.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from job_samples import SMALL_JOB

from jobs import journal
from jobs.rundir import RunDir
from jobs.status import State, read_status

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent
PROGRAM = """
import hashlib, sys
def block():
    print("blocked", file=sys.stderr, flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", (1 << 31) - 1)

from distnn import checkpoint
from distnn.local_engine import LocalEngine
from distnn.training import Training
import jobs.runner

def before(owner, name, is_time):
    original = getattr(owner, name)
    def wrapped(*arguments, **named):
        if is_time(*arguments):
            block()
        return original(*arguments, **named)
    setattr(owner, name, wrapped)

where = sys.argv.pop(1)
Training._segment_size = lambda *arguments: 1  # as where steps are long
if where == "step":
    before(LocalEngine, "run_segment", lambda engine, steps: engine.state().step == 30)
elif where == "validation":
    before(LocalEngine, "evaluate", lambda engine, *more: engine.state().step == 46)
elif where == "load":
    before(LocalEngine, "load", lambda engine, *more: True)
elif where == "data":
    before(jobs.runner, "build_job", lambda *arguments: True)
elif where == "checkpoint":
    before(checkpoint, "write_atomically", lambda path, data: path.name == "step-00000030.safetensors")
from jobs.cli import main
main()
"""
EPOCHS = 4


@contextmanager
def blocked(where: str, spec: Path, run: RunDir, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """`distnn run`, at the place where it will be for hours."""
    command = [sys.executable, "-c", PROGRAM, where, "run", str(spec), "--run-dir", str(run.path)]
    command += ["--set", f"training.epochs={EPOCHS}", *arguments]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None and process.stdout is not None
    try:
        for line in process.stderr:
            if line == "blocked\n":
                break
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("spec") / "small.toml"
    path.write_text(SMALL_JOB)
    return path


@pytest.fixture(scope="module")
def unbroken(spec: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    run = RunDir(tmp_path_factory.mktemp("unbroken") / "run")
    distnn("run", str(spec), "--run-dir", str(run.path), "--set", f"training.epochs={EPOCHS}")
    return run


def distnn(*arguments: str) -> None:
    command = [sys.executable, "-m", "jobs", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr


def assert_resumes_to(run: RunDir, unbroken: RunDir, *begins_at: int) -> None:
    distnn("resume", str(run.path), "--backend", "threads", "--workers", "2")
    assert run.model.read_bytes() == unbroken.model.read_bytes()
    assert run.steps.read_bytes() == unbroken.steps.read_bytes()
    begins = [r["step"] for r in journal.read(run.events).records if r["kind"] == "begin"]
    assert begins[-1] in begins_at


@pytest.mark.parametrize(
    ("where", "number", "code", "step", "arguments"),
    [
        ("step", signal.SIGTERM, 3, 30, []),
        ("step", signal.SIGINT, 130, 30, ["--backend", "threads", "--workers", "2"]),
        ("validation", signal.SIGTERM, 3, 46, []),
    ],
)
def test_a_long_call_of_the_engine_is_left_with_what_was_committed_before_it(
    spec: Path,
    tmp_path: Path,
    unbroken: RunDir,
    where: str,
    number: signal.Signals,
    code: int,
    step: int,
    arguments: list[str],
) -> None:
    run = RunDir(tmp_path / "run")
    with blocked(where, spec, run, *arguments) as process:
        process.send_signal(number)
        _, text = process.communicate(timeout=100)
    assert process.returncode == code, text
    assert f"stopped at step {step}; go on with: distnn resume {run.path}" in text
    assert "Traceback" not in text
    status = read_status(run)
    assert status is not None and (status.state, status.step) == (State.STOPPED, step)
    assert run.checkpoint_steps()[-1] == step
    assert_resumes_to(run, unbroken, step)


def test_a_checkpoint_that_is_being_written_for_long_is_left(
    spec: Path, tmp_path: Path, unbroken: RunDir
) -> None:
    run = RunDir(tmp_path / "run")
    with blocked("checkpoint", spec, run, "--set", "checkpoint.every_steps=10") as process:
        process.send_signal(signal.SIGTERM)
        _, text = process.communicate(timeout=100)
    assert process.returncode == 3, text
    assert "stopped " in text and "Traceback" not in text
    assert_resumes_to(run, unbroken, 20, 23)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_loading_is_left_with_nothing_begun(spec: Path, tmp_path: Path, number: signal.Signals) -> None:
    run = RunDir(tmp_path / "run")
    with blocked("data", spec, run) as process:
        process.send_signal(number)
        _, text = process.communicate(timeout=100)
    assert process.returncode == (3 if number is signal.SIGTERM else 130), text
    assert text == "stopped at once\n"
    assert not run.path.exists()


def test_an_engine_that_gets_ready_is_left(spec: Path, tmp_path: Path, unbroken: RunDir) -> None:
    """As where kernels are compiled, or workers waited for."""
    run = RunDir(tmp_path / "run")
    with blocked("load", spec, run) as process:
        process.send_signal(signal.SIGTERM)
        _, text = process.communicate(timeout=100)
    assert process.returncode == 3, text
    assert f"stopped at once; go on with: distnn resume {run.path}" in text
    status = read_status(run)
    assert status is not None and status.state is State.STOPPED
    assert_resumes_to(run, unbroken, 0)


def test_a_second_signal_does_not_wait_for_native_code(spec: Path, tmp_path: Path, unbroken: RunDir) -> None:
    run = RunDir(tmp_path / "run")
    with blocked("step", spec, run) as process:
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert process.stderr.readline() == "\n"
        assert process.stderr.readline().startswith("stopping after the step under way (once more:")
        process.send_signal(signal.SIGINT)
        _, text = process.communicate(timeout=100)
    assert process.returncode == 130
    assert text.startswith("stopped at once; go on with: ")
    assert_resumes_to(run, unbroken, 0, 23)
