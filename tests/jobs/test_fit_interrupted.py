"""Ctrl-C in `model.fit(run_dir=...)`: a checkpoint of the last commit, and the same bytes in the end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_fit_run_dir import fit

from distnn.callbacks import Callback
from jobs.rundir import RunDir
from jobs.status import State, read_status

pytestmark = pytest.mark.filterwarnings("ignore:.*no .get_state.")


@pytest.fixture(autouse=True)
def _pythons_own_handler() -> Iterator[None]:
    """Whoever began the tests may have SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


class CtrlC(Callback):
    """Pressed in a batch; `times`: how often."""

    def __init__(self, batch: int, times: int = 1) -> None:
        super().__init__()
        self.batch, self.times = batch, times
        self.seen = -1

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.seen += 1
        if self.seen == self.batch:
            for _ in range(self.times):
                signal.raise_signal(signal.SIGINT)


def state_of(run: RunDir) -> tuple[State, int]:
    status = read_status(run)
    assert status is not None
    return status.state, status.step


@pytest.mark.parametrize("place", [{}, {"backend": "threads", "workers": 2}], ids=["local", "threads"])
def test_it_stops_at_a_commit_with_a_checkpoint(tmp_path: Path, place: dict[str, Any]) -> None:
    run, whole = RunDir(tmp_path / "run"), RunDir(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt, match="stopped at step 6 of 12"):
        fit(run.path, callbacks=[CtrlC(5)], **place)
    assert state_of(run) == (State.STOPPED, 6)
    assert run.checkpoint_steps()[-1] == 6
    fit(run.path)
    fit(whole.path)
    assert run.model.read_bytes() == whole.model.read_bytes()
    assert run.steps.read_bytes() == whole.steps.read_bytes()


def test_a_second_one_interrupts_at_once(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        fit(run.path, callbacks=[CtrlC(5, times=2)])
    assert state_of(run) == (State.STOPPED, 5)
    assert 5 not in run.checkpoint_steps()


def test_in_the_last_step_it_comes_after_the_end(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt, match="the training had finished"):
        fit(run.path, callbacks=[CtrlC(11)])
    assert state_of(run) == (State.SUCCEEDED, 12)


class Stuck(Callback):
    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        signal.raise_signal(signal.SIGINT)
        assert not threading.Event().wait(60)


def test_what_takes_long_is_interrupted_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distnn.interrupts.PATIENCE_S", 0.05)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "run", callbacks=[Stuck()])
    assert state_of(RunDir(tmp_path / "run"))[0] is State.STOPPED


def test_the_programs_own_handler_stays(tmp_path: Path) -> None:
    told: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: told.append(number))
    try:
        fit(tmp_path / "run", callbacks=[CtrlC(5)])
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    assert told == [signal.SIGINT]
    assert state_of(RunDir(tmp_path / "run")) == (State.SUCCEEDED, 12)
