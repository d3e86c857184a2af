"""A thread that rescues saves beside the one that trains: neither harms what the other saves."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distnn.recording import Plan, Snapshot
from jobs import journal
from jobs.checkpoints import CheckpointStore
from jobs.recorder import RunRecorder
from jobs.rundir import RunDir
from jobs.status import State

PLAN = Plan(epochs=3, initial_epoch=0, steps_per_epoch=4, batch_size=8, samples=30, shards=2)
RECIPE: dict[str, Any] = {"seed": 7}


def snapshot_at(step: int) -> Snapshot:
    return Snapshot(step, {"weights/a": np.full(3, step, np.float32)}, {"step": step, "training": {}})


def recorded(recorder: RunRecorder, start: int, stop: int) -> None:
    recorder.on_steps(start, np.arange(start, stop, dtype=np.uint64) + 1000, {"loss": 1.0})


def trained_to_4(path: Path) -> RunRecorder:
    recorder = RunRecorder(RunDir(path))
    recorder.begin(RECIPE, PLAN)
    recorder.settle()
    recorded(recorder, 0, 4)
    return recorder


def begun_again(path: Path) -> Snapshot | None:
    """What a training would go on from; a checkpoint that is passed over is a warning, so an error here."""
    recorder = RunRecorder(RunDir(path))
    snapshot = recorder.begin(RECIPE, PLAN)
    recorder.close()
    return snapshot


class ToldLock:
    """A recorder's lock that tells when somebody has to wait for it."""

    def __init__(self, lock: Any, told: threading.Event) -> None:
        self._lock = lock
        self._told = told

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            self._told.set()
            self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def rescued_while(recorder: RunRecorder, train: Callable[[], None], is_late: bool = False) -> int | None:
    """A rescue at step 4, in the middle of which `train` begins and comes as far as it can.

    Args:
        recorder: at step 4.
        train: what the other thread does.
        is_late: it begins when the snapshot is marked, and not already when it is taken.
    """
    stuck_or_done, failures = threading.Event(), []

    def training() -> None:
        try:
            train()
        except BaseException as error:
            failures.append(error)
        finally:
            stuck_or_done.set()

    thread = threading.Thread(target=training)

    def begin_training() -> None:
        thread.start()
        assert stuck_or_done.wait(60)

    def taken() -> Snapshot:
        if not is_late:
            begin_training()
        return snapshot_at(4)

    def marked(store: CheckpointStore, snapshot: Snapshot, digest: str) -> Snapshot:
        if is_late and threading.current_thread() is not thread:
            begin_training()
        return mark(store, snapshot, digest)

    mark = CheckpointStore.marked
    recorder._attempt.lock = ToldLock(recorder._attempt.lock, stuck_or_done)  # type: ignore[assignment]
    recorder.offer(taken)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CheckpointStore, "marked", marked)
        step = recorder.rescue()
        thread.join()
    assert not failures
    return step


def test_nothing_is_rescued_of_a_step_behind_the_recorded_ones(tmp_path: Path) -> None:
    recorder = trained_to_4(tmp_path / "run")
    recorded(recorder, 4, 6)
    recorder.offer(lambda: snapshot_at(4))
    assert recorder.rescue() is None
    recorder.close()
    assert recorder.run.checkpoint_steps() == []


def test_a_rescued_step_that_has_a_checkpoint_is_told(tmp_path: Path) -> None:
    recorder = trained_to_4(tmp_path / "run")
    recorder.save_checkpoint(snapshot_at(4))
    recorder.offer(lambda: snapshot_at(4))
    assert recorder.rescue() == 4
    recorder.close()
    kinds = [record["kind"] for record in journal.read(recorder.run.events).records]
    assert kinds.count("checkpoint") == 1


def test_before_the_training_offers_something_nothing_is_rescued(tmp_path: Path) -> None:
    recorder = RunRecorder(RunDir(tmp_path / "run"))
    assert recorder.rescue() is None
    recorder.begin(RECIPE, PLAN)
    assert recorder.rescue() is None
    recorder.close()


def test_steps_recorded_meanwhile_are_not_in_the_mark_of_what_is_rescued(tmp_path: Path) -> None:
    recorder = trained_to_4(tmp_path / "run")
    assert rescued_while(recorder, lambda: recorded(recorder, 4, 6)) == 4
    recorder.close()
    assert recorder.run.checkpoint_steps() == [4]
    snapshot = begun_again(tmp_path / "run")
    assert snapshot is not None and snapshot.step == 4


@pytest.mark.parametrize("step", [4, 6])
def test_a_checkpoint_begun_meanwhile_waits_for_what_is_rescued(tmp_path: Path, step: int) -> None:
    recorder = trained_to_4(tmp_path / "run")

    def train() -> None:
        if step > 4:
            recorded(recorder, 4, step)
        recorder.save_checkpoint(snapshot_at(step))

    assert rescued_while(recorder, train, is_late=True) == 4
    recorder.close()
    assert recorder.run.checkpoint_steps() == sorted({4, step})
    snapshot = begun_again(tmp_path / "run")
    assert snapshot is not None and snapshot.step == step


def test_closing_waits_for_a_rescue_and_comes_between_no_more(tmp_path: Path) -> None:
    recorder = trained_to_4(tmp_path / "run")
    assert rescued_while(recorder, lambda: recorder.close(State.FAILED, "broken"), is_late=True) == 4
    assert recorder.rescue() is None
    records = journal.read(recorder.run.events).records
    assert [record["kind"] for record in records][-2:] == ["checkpoint", "failed"]
    snapshot = begun_again(tmp_path / "run")
    assert snapshot is not None and snapshot.step == 4
