"""The run directory: resume from whole checkpoints, torn and foreign files, one writer at a time."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import threading
import time
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cluster.machine import machine_identity
from distnn.errors import RunDirectoryError
from distnn.recording import Plan, Snapshot
from jobs import journal, ownership
from jobs.checkpoints import CheckpointStore
from jobs.inspection import lost_epochs
from jobs.recorder import RunRecorder, open_recorder
from jobs.rhythm import Rhythm
from jobs.rundir import RunDir
from jobs.status import State, is_being_written, read_status
from jobs.steplog import read_steps

PLAN = Plan(epochs=3, initial_epoch=0, steps_per_epoch=4, batch_size=8, samples=30, shards=2)
RECIPE: dict[str, Any] = {"seed": 7, "model": {"layers": ["Dense"]}, "arithmetic": {"numpy": "2.4.6"}}


class FakeClock:
    """Time as a parameter."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def snapshot_at(step: int) -> Snapshot:
    return Snapshot(step, {"weights/a": np.full(3, step, np.float32)}, {"step": step, "training": {}})


def train(recorder: RunRecorder, start: int, stop: int, *, save_at: tuple[int, ...] = ()) -> None:
    """What the loop does from committed step `start` to `stop`, two steps a segment."""
    for step in range(start, stop, 2):
        recorder.on_steps(step, np.arange(step, step + 2, dtype=np.uint64) + 1000, {"loss": 1.0 / (step + 1)})
        done = step + 2
        if done % PLAN.steps_per_epoch == 0:
            recorder.on_epoch(done // PLAN.steps_per_epoch - 1, done, {"loss": 1.0 / done}, 0.1)
        if done in save_at:
            recorder.save_checkpoint(snapshot_at(done))


def begun(path: Path, recipe: dict[str, Any] = RECIPE, **rhythm: Any) -> tuple[RunRecorder, Snapshot | None]:
    recorder = RunRecorder(RunDir(path), Rhythm(**rhythm))
    snapshot = recorder.begin(recipe, PLAN)
    recorder.settle()
    return recorder, snapshot


@pytest.fixture
def interrupted(tmp_path: Path) -> Path:
    """A run of 12 steps that stopped after 10, with checkpoints at 4 and 8."""
    path = tmp_path / "run"
    recorder, snapshot = begun(path)
    assert snapshot is None
    train(recorder, 0, 10, save_at=(4, 8))
    recorder.close()
    return path


def test_finished_run_has_all_its_files(tmp_path: Path) -> None:
    path = tmp_path / "run"
    recorder, _ = begun(path)
    train(recorder, 0, 12, save_at=(12,))
    model = recorder.finish(snapshot_at(12))
    recorder.close()
    assert sorted(os.listdir(path)) == [
        "checkpoints",
        "digests.json",
        "events.jsonl",
        "logs",
        "metrics.jsonl",
        "model.safetensors",
        "recipe.json",
        "status.json",
        "steps.bin",
    ]
    assert model == path / "model.safetensors"
    assert list(read_steps(path / "steps.bin")) == [1000 + i for i in range(12)]
    status = read_status(RunDir(path))
    assert status is not None
    assert (status.state, status.step, status.total_steps) == (State.SUCCEEDED, 12, 12)
    assert [r["epoch"] for r in journal.read(path / "metrics.jsonl").records] == [0, 1, 2]
    assert set(json.loads((path / "digests.json").read_text())) == {
        "model.safetensors",
        "recipe.json",
        "steps.bin",
    }


def test_resume_goes_on_from_the_newest_checkpoint_and_cuts_the_rest(interrupted: Path) -> None:
    recorder, snapshot = begun(interrupted)
    assert snapshot is not None and snapshot.step == 8
    np.testing.assert_array_equal(snapshot.tensors["weights/a"], np.full(3, 8, np.float32))
    assert list(read_steps(interrupted / "steps.bin")) == [1000 + i for i in range(8)]
    assert [r["step"] for r in journal.read(interrupted / "metrics.jsonl").records] == [4, 8]
    assert recorder.attempt == 2
    train(recorder, 8, 12)
    recorder.finish(snapshot_at(12))
    recorder.close()
    assert [r["epoch"] for r in journal.read(interrupted / "metrics.jsonl").records] == [0, 1, 2]


def test_an_epoch_that_was_left_in_its_validation_has_one_line(interrupted: Path) -> None:
    recorder, _ = begun(interrupted)
    within = {"epoch": 2, "is_within_epoch": True, "epochs": [0, 1]}
    train(recorder, 8, 12)  # the validation ends while its beginning is being saved
    recorder.save_checkpoint(replace(snapshot_at(12), metadata={"step": 12, "training": within}))
    recorder.close()
    recorder, snapshot = begun(interrupted)
    assert snapshot is not None and snapshot.step == 12
    recorder.on_epoch(2, 12, {"loss": 0.1}, 0.1)
    recorder.finish(snapshot_at(12))
    assert [r["epoch"] for r in journal.read(interrupted / "metrics.jsonl").records] == [0, 1, 2]


def test_a_folder_in_a_checkpoints_place_is_none(interrupted: Path) -> None:
    (interrupted / "checkpoints" / "step-00000012.safetensors").mkdir()
    _, snapshot = begun(interrupted)
    assert snapshot is not None and snapshot.step == 8


def test_lost_epochs_are_named_in_ranges() -> None:
    snapshot = Snapshot(9, {}, {"training": {"epochs": list(range(9))}})
    lines = [journal.Line({"kind": "epoch", "epoch": epoch}, 0, 0) for epoch in (0, 3, 4)]
    assert lost_epochs(journal.Contents(tuple(lines), (), 0), snapshot) == "2-3, 6-9"
    assert lost_epochs(journal.Contents((), (), 0), None) == ""


def test_killed_before_it_has_a_recipe_a_run_takes_another(tmp_path: Path) -> None:
    recorder, _ = begun(tmp_path / "run")
    recorder.close()
    (tmp_path / "run" / "recipe.json").unlink()
    other = {**RECIPE, "seed": 8}  # none was given, and another is drawn
    recorder, _ = begun(tmp_path / "run", other)
    train(recorder, 0, 12)
    recorder.finish(snapshot_at(12))
    assert json.loads((tmp_path / "run" / "recipe.json").read_bytes())["seed"] == 8


def test_events_of_earlier_attempts_are_not_kept_while_the_run_goes_on(
    interrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[weakref.ref[journal.Contents]] = []
    repair = journal.Journal.repair

    def noted(file: journal.Journal) -> journal.Contents:
        contents = repair(file)
        found.append(weakref.ref(contents))
        return contents

    monkeypatch.setattr(journal.Journal, "repair", noted)
    recorder, snapshot = begun(interrupted)
    assert snapshot is not None and snapshot.step == 8
    gc.collect()
    assert [contents() for contents in found] == [None, None], "of the events and of the metrics"
    recorder.close()


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "foreign", "renamed"])
def test_damaged_checkpoint_is_named_and_the_one_before_used(interrupted: Path, damage: str) -> None:
    file = interrupted / "checkpoints" / "step-00000008.safetensors"
    data = file.read_bytes()
    if damage == "cut":
        file.write_bytes(data[:-5])
    elif damage == "flip":
        file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif damage == "empty":
        file.write_bytes(b"")
    elif damage == "renamed":
        file.write_bytes(file.with_name("step-00000004.safetensors").read_bytes())
    else:
        other, _ = begun(interrupted.parent / "other", {**RECIPE, "seed": 8})
        train(other, 0, 8, save_at=(8,))
        other.close()
        file.write_bytes((interrupted.parent / "other" / "checkpoints" / file.name).read_bytes())
    with pytest.warns(UserWarning, match=f"checkpoint {file.name} is not used"):
        recorder, snapshot = begun(interrupted)
    recorder.close()
    assert snapshot is not None and snapshot.step == 4
    notice = next(
        r for r in journal.read(interrupted / "events.jsonl").records if r["kind"] == "checkpoint-unusable"
    )
    assert notice["file"] == file.name
    assert notice["reason"]
    assert list(read_steps(interrupted / "steps.bin")) == [1000 + i for i in range(4)]


def test_without_a_whole_checkpoint_the_run_begins_again(interrupted: Path) -> None:
    for file in (interrupted / "checkpoints").iterdir():
        file.write_bytes(b"x")
    told = "there is no checkpoint left to go on from: the run begins again at step 0"
    with pytest.warns(UserWarning, match=told), pytest.warns(UserWarning, match="is damaged"):
        recorder, snapshot = begun(interrupted)
    train(recorder, 0, 12)
    recorder.finish(snapshot_at(12))
    recorder.close()
    assert snapshot is None
    assert [r["epoch"] for r in journal.read(interrupted / "metrics.jsonl").records] == [0, 1, 2]
    assert len(read_steps(interrupted / "steps.bin")) == 12


def test_checkpoint_beyond_the_recorded_steps_is_not_used(interrupted: Path) -> None:
    with (interrupted / "steps.bin").open("r+b") as file:
        file.truncate(7 * 8 + 3)
    with pytest.warns(UserWarning, match="recorded only up to 7"):
        recorder, snapshot = begun(interrupted)
    recorder.close()
    assert snapshot is not None and snapshot.step == 4


@pytest.mark.parametrize("name", ["events.jsonl", "metrics.jsonl"])
def test_torn_last_line_is_cut(interrupted: Path, name: str) -> None:
    whole = (interrupted / name).read_bytes()
    (interrupted / name).write_bytes(whole + b'{"kind":"epoch","ep')
    recorder, snapshot = begun(interrupted)
    recorder.close()
    assert snapshot is not None
    assert not journal.read(interrupted / name).damaged


def test_damaged_line_is_left_out_and_named(interrupted: Path) -> None:
    file = interrupted / "metrics.jsonl"
    file.write_bytes(file.read_bytes().replace(b'"epoch":0', b'"epoch":7', 1))
    recorder, _ = begun(interrupted)
    recorder.close()
    assert [r["epoch"] for r in journal.read(file).records] == [1]
    notices = [r for r in journal.read(interrupted / "events.jsonl").records if r["kind"] == "damaged-line"]
    assert [(r["file"], r["line"]) for r in notices] == [("metrics.jsonl", 1)]


def test_another_recipe_is_refused_with_the_difference(interrupted: Path) -> None:
    status = (interrupted / "status.json").read_bytes()
    recorder = RunRecorder(RunDir(interrupted))
    with pytest.raises(RunDirectoryError, match=r"holds another run \(seed: 7 -> 8\): give another"):
        recorder.begin({**RECIPE, "seed": 8}, PLAN)
    recorder.close()
    assert (interrupted / "status.json").read_bytes() == status
    assert len(read_steps(interrupted / "steps.bin")) == 10, "nothing was cut"


def test_another_machine_is_a_warning_only(interrupted: Path) -> None:
    with pytest.warns(UserWarning, match=r'numpy: "2.4.6" -> "2.5.0"'):
        recorder, snapshot = begun(interrupted, {**RECIPE, "arithmetic": {"numpy": "2.5.0"}})
    recorder.close()
    assert snapshot is not None and snapshot.step == 8


def test_a_second_writer_is_refused(interrupted: Path) -> None:
    recorder, _ = begun(interrupted)
    assert is_being_written(RunDir(interrupted))
    refusals: list[str] = []

    def second() -> None:
        with pytest.raises(RunDirectoryError) as caught:
            open_recorder(interrupted)
        refusals.append(str(caught.value))

    thread = threading.Thread(target=second)
    thread.start()
    thread.join()
    assert f"is being written by another process (process {os.getpid()} on" in refusals[0]
    recorder.close()
    assert not is_being_written(RunDir(interrupted))
    open_recorder(interrupted).close()


def test_a_killed_writer_frees_the_run(tmp_path: Path) -> None:
    path = tmp_path / "run"
    code = (
        "import sys, time; from jobs.recorder import open_recorder;"
        f"recorder = open_recorder({str(path)!r}); print('ready', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    assert is_being_written(RunDir(path))
    process.kill()
    process.wait()
    process.stdout.close()
    assert not is_being_written(RunDir(path))
    recorder = open_recorder(path)
    assert recorder.attempt == 2
    recorder.close()


def test_a_folder_with_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(RunDirectoryError, match=r"holds no run \(there is 'thesis.tex'\)"):
        open_recorder(tmp_path)
    assert os.listdir(tmp_path) == ["thesis.tex"]
    with pytest.raises(RunDirectoryError, match="is a file"):
        open_recorder(tmp_path / "thesis.tex")


def test_a_folder_that_cannot_be_made_is_refused() -> None:
    with pytest.raises(RunDirectoryError, match="cannot be made"):
        open_recorder("/proc/nowhere/run")


def test_incomplete_training_does_not_succeed(tmp_path: Path) -> None:
    recorder, _ = begun(tmp_path / "run")
    train(recorder, 0, 8)
    with pytest.raises(RunDirectoryError, match="ended at step 8 of 12"):
        recorder.finish(snapshot_at(8))
    recorder.close(State.FAILED, "not complete")
    status = read_status(RunDir(tmp_path / "run"))
    assert status is not None and status.state is State.FAILED
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_a_callback_may_end_the_training_before_the_plan(tmp_path: Path) -> None:
    recorder = open_recorder(tmp_path / "run")
    recorder.begin(RECIPE, PLAN)
    train(recorder, 0, 8)
    assert recorder.finish(snapshot_at(8)).is_file()
    status = read_status(RunDir(tmp_path / "run"))
    assert status is not None and status.state is State.SUCCEEDED
    assert status.message == "a callback ended it at step 8 of 12"


@pytest.mark.parametrize(
    ("error", "state", "message"),
    [
        (KeyboardInterrupt(), State.STOPPED, "KeyboardInterrupt"),
        (ValueError("the loss is\n  nan"), State.FAILED, "the loss is nan"),
    ],
)
def test_abandoned_run_says_why_and_is_free(
    tmp_path: Path, error: BaseException, state: State, message: str
) -> None:
    recorder, _ = begun(tmp_path / "run")
    recorder.abandon(error)
    recorder.abandon(RuntimeError("later"))
    status = read_status(RunDir(tmp_path / "run"))
    assert status is not None and (status.state, status.message) == (state, message)
    assert not is_being_written(RunDir(tmp_path / "run"))


def test_old_checkpoints_are_removed(tmp_path: Path) -> None:
    recorder, _ = begun(tmp_path / "run", keep=2)
    train(recorder, 0, 12, save_at=(2, 4, 6, 8, 10))
    recorder.close()
    assert RunDir(tmp_path / "run").checkpoint_steps() == [8, 10]


def test_failed_save_leaves_the_checkpoints_before(
    interrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder, _ = begun(interrupted)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    train(recorder, 8, 10)
    monkeypatch.setattr(os, "replace", full)
    recorder.save_checkpoint(snapshot_at(10))
    with pytest.warns(UserWarning, match="checkpoint of step 10 could not be written: .*No space left"):
        recorder.close()
    monkeypatch.undo()
    assert RunDir(interrupted).checkpoint_steps() == [4, 8]
    failed = [
        r for r in journal.read(interrupted / "events.jsonl").records if r["kind"] == "checkpoint-failed"
    ]
    assert [(r["step"], "No space left" in r["reason"]) for r in failed] == [(10, True)]
    recorder, snapshot = begun(interrupted)
    recorder.close()
    assert snapshot is not None and snapshot.step == 8


def test_checkpoints_come_by_the_clock(tmp_path: Path) -> None:
    clock = FakeClock()
    recorder = RunRecorder(RunDir(tmp_path / "run"), Rhythm(every_seconds=30.0), clock=clock)
    recorder.begin(RECIPE, PLAN)
    train(recorder, 0, 2)
    assert recorder.next_checkpoint_step(2) is None
    assert not recorder.wants_checkpoint(2, at_epoch_end=False)
    assert not recorder.wants_checkpoint(2, at_epoch_end=True), "an epoch of no time at all"
    clock.now += 1.5
    assert recorder.wants_checkpoint(2, at_epoch_end=True)
    clock.now += 30
    assert recorder.wants_checkpoint(2, at_epoch_end=False)
    recorder.save_checkpoint(snapshot_at(2))
    assert not recorder.wants_checkpoint(2, at_epoch_end=False)
    assert recorder.wants_checkpoint(12, at_epoch_end=True), "the last step always"
    recorder.close()


def test_checkpoints_come_by_steps(tmp_path: Path) -> None:
    recorder, _ = begun(tmp_path / "run", every_steps=5)
    assert [recorder.next_checkpoint_step(step) for step in (0, 4, 5, 6)] == [5, 5, 10, 10]
    assert recorder.wants_checkpoint(5, at_epoch_end=False)
    assert not recorder.wants_checkpoint(6, at_epoch_end=False)
    recorder.close()


def test_heartbeat_is_written_at_most_once_a_second(tmp_path: Path) -> None:
    recorder, _ = begun(tmp_path / "run")
    before = (tmp_path / "run" / "status.json").read_bytes()
    for step in range(4):
        recorder.on_steps(step, np.zeros(1, np.uint64), {"loss": 1.0})
    assert (tmp_path / "run" / "status.json").read_bytes() == before
    recorder.close(State.STOPPED, "asked to")
    status = read_status(RunDir(tmp_path / "run"))
    assert status is not None
    assert (status.state, status.step, status.message) == (State.STOPPED, 4, "asked to")
    assert abs(status.time - time.time()) < 60


def test_nan_in_the_logs_is_kept_as_text(tmp_path: Path) -> None:
    recorder, _ = begun(tmp_path / "run")
    recorder.on_steps(0, np.zeros(4, np.uint64), {"loss": float("nan")})
    recorder.on_epoch(0, 4, {"loss": float("nan"), "accuracy": 0.5}, 0.1)
    recorder.close(State.FAILED)
    assert journal.read(tmp_path / "run" / "metrics.jsonl").records[0]["logs"] == {
        "loss": "nan",
        "accuracy": 0.5,
    }
    json.loads((tmp_path / "run" / "status.json").read_text())


@pytest.mark.parametrize("record", [{}, {"a": 1}, {"check": "x", "b": [1.5, None]}, {"ü": "\n"}])
def test_journal_line_survives(tmp_path: Path, record: dict[str, Any]) -> None:
    record.pop("check", None)
    (tmp_path / "j").write_bytes(journal.encode(record) * 2)
    assert journal.read(tmp_path / "j").records == [record, record]


@pytest.mark.parametrize("cut", range(1, 12))
def test_journal_cut_anywhere_keeps_whole_lines(tmp_path: Path, cut: int) -> None:
    data = journal.encode({"a": 1}) + journal.encode({"b": 2})
    (tmp_path / "j").write_bytes(data[:-cut])
    contents = journal.read(tmp_path / "j")
    assert contents.records == [{"a": 1}]
    assert not contents.damaged


def leave_running(path: Path, **changes: Any) -> RunDir:
    """A run whose status says that it is going, on another machine or wherever `changes` say."""
    recorder, _ = begun(path)
    status = {**recorder.heartbeat.status.to_plain(), "host": "elsewhere", "machine": "another", **changes}
    recorder.close()
    run = RunDir(path)
    run.write_json(run.status, status)
    return run


def test_a_run_that_beats_on_another_machine_is_not_taken(tmp_path: Path) -> None:
    """Its lock does not reach this machine, its heartbeat does."""
    run = leave_running(tmp_path / "run")
    status, ended = json.loads(run.status.read_text()), threading.Event()

    def beat() -> None:
        while not ended.wait(0.05):
            run.write_json(run.status, {**status, "time": time.time()}, durable=False)

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        with pytest.raises(RunDirectoryError, match=r"being written by another process \(.* on elsewhere"):
            open_recorder(run.path)
    finally:
        ended.set()
        thread.join()


def test_a_run_that_has_died_on_another_machine_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ownership, "WATCH_S", 0.1)
    run = leave_running(tmp_path / "run")
    recorder = open_recorder(run.path)
    assert recorder.attempt == 2
    recorder.close()


def test_a_run_that_has_died_here_is_taken_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ownership, "WATCH_S", 1e6)
    run = leave_running(tmp_path / "run", machine=machine_identity())
    recorder = open_recorder(run.path)
    assert recorder.attempt == 2
    recorder.close()


def test_the_pulse_writes_the_status_whatever_the_training_does(tmp_path: Path) -> None:
    recorder, _ = begun(tmp_path / "run")
    first = read_status(recorder.run)
    assert first is not None
    beaten = threading.Event()
    recorder.heartbeat._written = float("-inf")  # as if the last one were old
    original = recorder.heartbeat.beat

    def beat() -> None:
        original()
        beaten.set()

    recorder.heartbeat.beat = beat  # type: ignore[method-assign]
    assert beaten.wait(60)
    status = read_status(recorder.run)
    assert status is not None and status.time > first.time and status.state is State.STARTING
    recorder.close()


def test_checkpoints_are_written_beside_the_training_one_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, go_on, begins = FakeClock(), threading.Event(), []
    save = CheckpointStore.save

    def slow(store: CheckpointStore, snapshot: Snapshot) -> Path:
        begins.append(snapshot.step)
        assert go_on.wait(60)
        return save(store, snapshot)

    monkeypatch.setattr(CheckpointStore, "save", slow)
    recorder = RunRecorder(RunDir(tmp_path / "run"), clock=clock)
    recorder.begin(RECIPE, PLAN)
    train(recorder, 0, 4, save_at=(4,))
    clock.now += 100
    assert not recorder.wants_checkpoint(5, at_epoch_end=False), "one is being written"
    assert not recorder.wants_checkpoint(8, at_epoch_end=True)
    assert recorder.wants_checkpoint(12, at_epoch_end=True), "the last one waits"
    train(recorder, 4, 8)
    assert recorder.run.checkpoint_steps() == []
    assert journal.read(recorder.run.events).records[-1]["kind"] == "begin"
    go_on.set()
    recorder.save_checkpoint(snapshot_at(8))
    recorder.close()
    assert begins == [4, 8] and recorder.run.checkpoint_steps() == [4, 8]
    kinds = [(r["kind"], r["step"]) for r in journal.read(recorder.run.events).records[-2:]]
    assert kinds == [("checkpoint", 4), ("checkpoint", 8)]


def test_a_checkpoint_rests_on_what_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    recorder, _ = begun(tmp_path / "run")
    names = {file.descriptor: file.path.name for file in recorder._attempt.files}
    fsync, replace = os.fsync, os.replace

    def noted(descriptor: int) -> None:
        calls.append(names.get(descriptor, "other"))
        fsync(descriptor)

    def renamed(source: Path, target: Path) -> None:
        calls.append(f"rename to {Path(target).name}")
        replace(source, target)

    train(recorder, 0, 4)
    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(os, "replace", renamed)
    recorder.save_checkpoint(snapshot_at(4))
    recorder._attempt.writer.wait()
    monkeypatch.undo()
    recorder.close()
    at = calls.index("rename to step-00000004.safetensors")
    assert {"steps.bin", "metrics.jsonl", "events.jsonl", "other"} <= set(calls[:at])


@pytest.mark.parametrize(
    ("rhythm", "step", "age_s", "cost_s", "is_due"),
    [
        (Rhythm(), 4, 0.5, 0.0, False),
        (Rhythm(), 4, 1.0, 0.0, True),
        (Rhythm(), 4, 10.0, 0.2, False),
        (Rhythm(), 4, 20.0, 0.2, True),
        (Rhythm(), 4, 30.0, 5.0, True),
        (Rhythm(every_steps=4), 8, 0.0, 5.0, True),
        (Rhythm(every_steps=4), 9, 0.0, 0.0, False),
    ],
)
def test_an_epochs_end_is_saved_unless_that_is_dear(
    rhythm: Rhythm, step: int, age_s: float, cost_s: float, is_due: bool
) -> None:
    assert rhythm.is_due_at_epoch_end(step, age_s, cost_s) is is_due


def test_what_a_killed_writer_left_is_swept(tmp_path: Path) -> None:
    recorder, _ = begun(tmp_path / "run")
    recorder.close()
    run = RunDir(tmp_path / "run")
    left = [run.checkpoints / ".step-00000004.safetensors.0a1b.tmp", run.path / ".status.json.tmp"]
    kept = run.checkpoints / "notes.tmp"
    for path in (*left, kept):
        path.write_bytes(b"half")
    recorder, _ = begun(tmp_path / "run")
    recorder.close()
    assert not any(path.exists() for path in left) and kept.exists()
