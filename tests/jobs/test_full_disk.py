"""A disk that takes nothing: the training goes on, says so, and is whole again when there is room."""

from __future__ import annotations

import errno
import io
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from crashes import dying_in_step, in_child, is_killed
from job_samples import SMALL_JOB

from distnn.callbacks import Callback
from distnn.errors import RunDirectoryError
from distnn.layers import Dense, Input
from distnn.models import Sequential
from distnn.models.fitting import FitArguments, fit_model
from jobs import appending, journal
from jobs.errors import EXIT_DONE, EXIT_FAILED
from jobs.recorder import RunRecorder, open_recorder, read_metrics
from jobs.rhythm import Rhythm
from jobs.rundir import RunDir
from jobs.runner import resume_run, run_spec
from jobs.status import State, read_status
from jobs.steplog import StepLog, read_steps

ROOT = Path(__file__).parent.parent.parent
X = np.linspace(-1, 1, 90, dtype=np.float32).reshape(30, 3)
Y = np.arange(30) % 3
STEPS = 4


class AtEpochs(Callback):
    """Does things at the beginnings of epochs."""

    def __init__(self, **work: Any) -> None:
        self.work = {int(name.removeprefix("e")): call for name, call in work.items()}

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.work.get(epoch, lambda: None)()

    def get_state(self) -> dict[str, Any]:
        return {"kept": True}


def train(place: Path, *callbacks: Callback) -> bytes:
    model = Sequential([Input((3,)), Dense(300, "tanh"), Dense(3, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    arguments = FitArguments(
        X,
        Y,
        epochs=6,
        batch_size=8,
        shards=2,
        seed=1,
        verbose=0,
        callbacks=list(callbacks),
        recorder=RunRecorder(RunDir(place), Rhythm(every_steps=STEPS)),
    )
    with model:
        fit_model(model, arguments)
    return RunDir(place).model.read_bytes()


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    place = tmp_path_factory.mktemp("unbroken") / "run"
    train(place, AtEpochs())
    return RunDir(place)


def events(run: RunDir, kind: str) -> list[dict[str, Any]]:
    return [record for record in journal.read(run.events).records if record["kind"] == kind]


def epochs_of(run: RunDir) -> list[int]:
    return [line["epoch"] for line in read_metrics(run) if line["kind"] == "epoch"]


def limit_files(size: int) -> None:
    """No file of this process may grow beyond `size` bytes; beyond, writing is EFBIG."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


@pytest.fixture
def limited() -> Iterator[None]:
    """Whatever limit a test sets is taken back."""
    yield
    limit_files(resource.RLIM_INFINITY)


@pytest.mark.usefixtures("limited")
@pytest.mark.filterwarnings("ignore:the checkpoint of step")
def test_a_checkpoint_that_finds_no_room_is_told_and_the_next_may_succeed(
    tmp_path: Path, unbroken: RunDir
) -> None:
    run = RunDir(tmp_path / "run")
    work = AtEpochs(e2=lambda: limit_files(4000), e4=lambda: limit_files(resource.RLIM_INFINITY))
    assert train(run.path, work) == unbroken.model.read_bytes()
    failed = events(run, "checkpoint-failed")  # that of the epoch before may be under way
    assert 12 in {event["step"] for event in failed} <= {8, 12, 16}
    assert "File too large; what was there before is untouched" in failed[0]["reason"]
    saved = [event["step"] for event in events(run, "checkpoint")]
    assert {4, 20, 24} <= set(saved) <= {4, 8, 16, 20, 24}
    assert [path.name for path in run.checkpoints.iterdir() if path.suffix == ".tmp"] == []
    for name in ("steps.bin", "model.safetensors", "recipe.json"):
        assert (run.path / name).read_bytes() == (unbroken.path / name).read_bytes()


@contextmanager
def failing_appends(number: int) -> Iterator[list[int]]:
    """The appends of all journals fail while the list that is given has something in it."""
    switch: list[int] = []
    write = os.write

    def refusing(descriptor: int, data: Any) -> int:
        if switch:
            raise OSError(number, os.strerror(number))
        return write(descriptor, data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(appending.os, "write", refusing)
        yield switch


@pytest.mark.filterwarnings("ignore:.*could not be written", "ignore:.*cannot be written")
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO], ids=errno.errorcode.get)
def test_lines_that_find_no_room_wait_in_memory(tmp_path: Path, unbroken: RunDir, number: int) -> None:
    run = RunDir(tmp_path / "run")
    with failing_appends(number) as switch:
        work = AtEpochs(e1=lambda: switch.append(1), e4=switch.clear)
        assert train(run.path, work) == unbroken.model.read_bytes()
    troubled = {event["file"] for event in events(run, "write-failed")}
    assert troubled == {"steps.bin", "metrics.jsonl", "events.jsonl"}
    assert {event["step"] for event in events(run, "checkpoint-failed")} >= {8, 12}
    assert epochs_of(run) == list(range(6))
    assert run.steps.read_bytes() == unbroken.steps.read_bytes()
    assert not journal.read(run.events).damaged


@pytest.mark.filterwarnings("ignore:.*could not be written", "ignore:.*cannot be written")
def test_too_much_to_wait_in_memory_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(appending, "MAX_WAITING_BYTES", 40)
    with failing_appends(errno.ENOSPC) as switch, pytest.raises(OSError, match="No space left"):
        train(tmp_path / "run", AtEpochs(e2=lambda: switch.append(1)))
    status = read_status(RunDir(tmp_path / "run"))
    assert status is not None and status.state is State.FAILED


@pytest.mark.usefixtures("limited")
@pytest.mark.filterwarnings("ignore:the checkpoint of step")
def test_no_room_at_the_end_fails_the_run_and_resume_succeeds_with_room(
    tmp_path: Path, unbroken: RunDir
) -> None:
    run = RunDir(tmp_path / "run")
    with pytest.raises(OSError, match="cannot write .* bytes: File too large"):
        train(run.path, AtEpochs(e4=lambda: limit_files(4000)))
    limit_files(resource.RLIM_INFINITY)
    status = read_status(run)
    assert status is not None and status.state is State.FAILED
    assert not run.model.exists()
    assert run.checkpoint_steps()[-1] in (12, 16), "the model is in the last good checkpoint"
    assert train(run.path, AtEpochs()) == unbroken.model.read_bytes()
    assert run.steps.read_bytes() == unbroken.steps.read_bytes()


@pytest.mark.parametrize("size", range(8))
def test_a_cut_is_of_what_waits_in_memory_too(tmp_path: Path, size: int) -> None:
    file = appending.AppendedFile(tmp_path / "file")
    file.append(b"abc")
    with failing_appends(errno.ENOSPC) as switch:
        switch.append(1)
        file.append(b"def")
        file.cut_at(size)
        trouble = file.take_trouble()
    assert (trouble is not None) == (size > 3), "there is trouble while something waits"
    assert file.path.read_bytes() == b"abc"[:size], "no zeros are put in"
    file.append(b"-")
    file.sync()
    file.close()
    assert file.path.read_bytes() == b"abcdef"[:size] + b"-"


def test_steps_that_are_restored_do_not_follow_those_that_found_no_room(tmp_path: Path) -> None:
    """As when what is computed again is not what was recorded, and the disk is full."""
    steps = StepLog(tmp_path / "steps.bin", 0)
    steps.write(0, np.arange(1, 4))
    with failing_appends(errno.ENOSPC) as switch:
        switch.append(1)
        steps.write(3, np.arange(4, 6))
        steps.cut_after(0)
        steps.write(0, np.arange(11, 13))
    steps.sync()
    assert list(read_steps(tmp_path / "steps.bin")) == [11, 12]
    assert steps.digest() == steps.digest_up_to(2)
    steps.close()


@pytest.mark.usefixtures("limited")
def test_the_command_says_what_to_do_and_goes_on(tmp_path: Path) -> None:
    spec, run, err = tmp_path / "small.toml", RunDir(tmp_path / "run"), io.StringIO()
    spec.write_text(SMALL_JOB)
    options = ("checkpoint.every_steps=10",)

    def killed() -> None:
        dying_in_step(25)
        run_spec(str(spec), overrides=options, run_dir=str(run.path), err=err)

    assert is_killed(in_child(killed))
    limit_files(4600)
    assert resume_run(run, err=err).exit_code == EXIT_FAILED
    said = err.getvalue().splitlines()
    assert [line for line in said if "checkpoint of step 30 could not be written" in line]
    assert said[-2].startswith("distnn: the run failed: ") and "File too large" in said[-2]
    assert said[-1] == f"go on with: distnn resume {run.path}"
    assert "Traceback" not in err.getvalue()
    assert [event["cause"] for event in events(run, "failed")] == ["storage"]
    limit_files(resource.RLIM_INFINITY)
    assert resume_run(run, err=err).exit_code == EXIT_DONE
    first, second, third = (event["step"] for event in events(run, "begin"))
    assert first == 0 and second == third in (10, 20)


def test_a_state_that_cannot_be_written_fails_the_run(tmp_path: Path) -> None:
    class Odd(AtEpochs):
        def get_state(self) -> dict[str, Any]:
            return {"words": np.array(["no number"])}

    with pytest.raises(ValueError, match="has dtype <U9: only numbers"):
        train(tmp_path / "run", Odd())


@pytest.mark.filterwarnings("ignore:.*could not be written")
def test_a_removed_run_directory_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "run"
    recorder = open_recorder(place)

    def remove() -> None:
        shutil.rmtree(place)
        recorder._attempt.beat()  # as the pulse does before long

    model = Sequential([Input((3,)), Dense(3, "softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    work = AtEpochs(e2=remove)
    with model, pytest.raises(RunDirectoryError, match="was removed or replaced while the run was going"):
        fit_model(model, FitArguments(X, Y, epochs=6, verbose=0, callbacks=[work], recorder=recorder))
    assert not place.exists()


def test_a_replaced_run_directory_is_left_to_its_new_writer(tmp_path: Path) -> None:
    first = open_recorder(tmp_path / "run")
    (tmp_path / "run").rename(tmp_path / "moved")
    second = open_recorder(tmp_path / "run")
    second.heartbeat.update(force=True, message="of the second")
    first._attempt.beat()
    first.close(State.FAILED, "replaced")
    status = read_status(RunDir(tmp_path / "run"))
    assert status is not None and status.message == "of the second"
    second.close()


READ_ONLY = """
import os, sys
from jobs.recorder import open_recorder
if os.getuid() == 0:
    os.setuid(65534)
try:
    open_recorder(sys.argv[1])
except ValueError as refusal:
    print(refusal)
"""


def test_a_read_only_run_directory_is_refused(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    open_recorder(run.path).close()
    for path in (run.path, run.checkpoints, run.logs, *run.path.glob("*.json*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    for parent in tmp_path.parents[:2]:
        parent.chmod(0o755)
    tmp_path.chmod(0o755)
    command = [sys.executable, "-c", READ_ONLY, str(run.path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{run.path}: cannot be written (Permission denied): ")
