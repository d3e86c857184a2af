"""From incidents to states: a table; and a run directory that tells them at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from distnn.recording import Plan
from jobs import journal
from jobs.lifecycle import changes_after
from jobs.listing import status_lines
from jobs.recorder import RunRecorder
from jobs.rundir import RunDir
from jobs.status import State, Status, read_status

LOST = {"worker": 1, "pid": 7, "host": "a", "cause": "died", "detail": "killed", "phase": "while it waited"}
SILENT = {**LOST, "cause": "silent", "detail": "10 s"}
WAITS = {"for": "2 workers", "have": 1}


@pytest.mark.parametrize(
    ("kind", "facts", "expected"),
    [
        ("engine-ready", {"engine": "RayEngine", "workers": 3}, (State.RUNNING, "", 3, 0)),
        ("engine-ready", {"engine": "LocalEngine"}, (State.RUNNING, "", 2, 0)),
        (
            "worker-lost",
            LOST,
            (State.RECOVERING, "worker 1 (pid 7 on a) died while it waited (killed)", 2, 1),
        ),
        (
            "worker-lost",
            SILENT,
            (State.RECOVERING, "worker 1 (pid 7 on a) was silent for 10 s while it waited", 2, 1),
        ),
        ("recovered", {"standstill_s": 0.1, "workers": 1}, (State.RUNNING, "", 1, 0)),
        ("waiting", WAITS, (State.WAITING, "for 2 workers (1 there)", 2, 0)),
        ("waiting", {**WAITS, "why": "no room"}, (State.WAITING, "for 2 workers (1 there): no room", 2, 0)),
        ("worker-joined", {"worker": 4, "pid": 8, "host": "a", "workers": 4}, (State.STARTING, "m", 4, 0)),
        ("worker-left", {"worker": 4, "reason": "scaled", "workers": 1}, (State.STARTING, "m", 1, 0)),
        ("scaled", {"to": 5}, (State.STARTING, "m", 2, 0)),
        ("nonfinite", {"policy": "stop", "workers": 9}, (State.STARTING, "m", 2, 0)),
    ],
)
def test_states_after_events_table(kind: str, facts: dict[str, Any], expected: tuple[Any, ...]) -> None:
    from dataclasses import replace

    status = Status(State.STARTING, message="m", workers=2)
    after = replace(status, **changes_after(status, kind, facts))
    assert (after.state, after.message, after.workers, after.losses) == expected


def test_no_state_in_which_a_run_lives_is_its_last() -> None:
    assert {state for state in State if state.is_terminal} == {State.SUCCEEDED, State.FAILED, State.STOPPED}


def test_a_change_of_state_is_in_the_status_at_once(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    recorder = RunRecorder(run)
    recorder.begin({}, Plan(1, 0, 4, 8, 30, 2))
    told = []
    for kind, facts in [
        ("engine-ready", {"engine": "RayEngine", "workers": 2}),
        ("worker-lost", LOST),
        ("waiting", WAITS),
        ("worker-lost", SILENT),
        ("recovered", {"standstill_s": 0.1, "workers": 1}),
    ]:
        status = read_status(run)
        assert status is not None
        told.append(status.state)
        recorder.on_event(kind, step=0, **facts)
    status = read_status(run)
    assert status is not None and (status.state, status.losses, status.workers) == (State.RUNNING, 2, 1)
    assert told == [State.STARTING, State.RUNNING, State.RECOVERING, State.WAITING, State.RECOVERING]
    assert "  workers   1 computing, 2 lost in this attempt" in status_lines(run)
    kinds = [record["kind"] for record in journal.read(run.events).records]
    assert kinds[-4:] == ["worker-lost", "waiting", "worker-lost", "recovered"]
    recorder.close()


def test_another_attempt_begins_without_losses(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    for _ in range(2):
        recorder = RunRecorder(run)
        recorder.begin({}, Plan(1, 0, 4, 8, 30, 2))
        status = read_status(run)
        assert status is not None and (status.state, status.losses) == (State.STARTING, 0)
        recorder.on_event("worker-lost", step=0, **LOST)
        recorder.close()
